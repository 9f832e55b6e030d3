// The head: unpacks the mesh, moves its vertices by the targets, and draws several of them on one canvas.
"use strict";
const viewerBytes = (text) => {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
};
const viewerSteps = ({ scale, steps }) => Float32Array.from(new Int16Array(viewerBytes(steps)), (step) => scale * step);

const viewerHead = ((head) => {
  const Index = head.wide ? Uint32Array : Uint16Array;
  const indices = (text) => new Index(viewerBytes(text));
  const neutral = new Float32Array(viewerBytes(head.neutral));
  const faces = indices(head.faces), parents = indices(head.parents), bulge = viewerSteps(head.bulge);
  const targets = head.targets.map((one) => ({
    index: indices(one.index), delta: new Int16Array(viewerBytes(one.steps)), scale: one.scale,
  }));
  const count = neutral.length / 3 + parents.length / 2;

  // Positions and normals of all vertices for the weights of one frame.
  function deform(weights, at, normals) {
    at.set(neutral);
    for (let t = 0; t < targets.length; t++) {
      if (Math.abs(weights[t]) < 1e-4) continue;
      const { index, delta, scale } = targets[t], factor = weights[t] * scale;
      for (let k = 0; k < index.length; k++) {
        const v = 3 * index[k];
        at[v] += factor * delta[3 * k];
        at[v + 1] += factor * delta[3 * k + 1];
        at[v + 2] += factor * delta[3 * k + 2];
      }
    }
    smoothNormals(at, normals);
    refine(at, normals);
  }

  // Normals of the rig's own vertices, weighted by the area of the faces around them.
  function smoothNormals(at, normals) {
    normals.fill(0);
    for (let f = 0; f < faces.length; f += 3) {
      const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
      const ux = at[b] - at[a], uy = at[b + 1] - at[a + 1], uz = at[b + 2] - at[a + 2];
      const vx = at[c] - at[a], vy = at[c + 1] - at[a + 1], vz = at[c + 2] - at[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      for (const v of [a, b, c]) { normals[v] += x; normals[v + 1] += y; normals[v + 2] += z; }
    }
    for (let v = 0; v < neutral.length; v += 3) {
      const length = Math.hypot(normals[v], normals[v + 1], normals[v + 2]) || 1;
      normals[v] /= length; normals[v + 1] /= length; normals[v + 2] /= length;
    }
  }

  // Refining vertices stand between their two parents, which come before them.
  function refine(at, normals) {
    const own = neutral.length;
    for (let k = 0, v = own; k < parents.length; k += 2, v += 3) {
      const a = 3 * parents[k], b = 3 * parents[k + 1];
      for (let i = 0; i < 3; i++) {
        at[v + i] = (at[a + i] + at[b + i]) / 2 + bulge[v - own + i];
        normals[v + i] = (normals[a + i] + normals[b + i]) / 2;
      }
    }
  }

  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const table = Float32Array.from({ length: 256 }, (_, value) => linear(value / 255));
  const colours = new THREE.BufferAttribute(
    Float32Array.from(new Uint8Array(viewerBytes(head.colours)), (value) => table[value]), 3);
  const uv = new THREE.BufferAttribute(new Float32Array(2 * count), 2);
  const surfaces = { skin: 0.62, eye: 0.08, teeth: 0.3, tongue: 0.45, mouth_lining: 0.8, eye_lining: 0.4 };
  // A head that has no lining shows its inside through the open mouth.
  const lined = head.materials.some((one) => one.name === "mouth_lining"), EYE_SETBACK_METRES = 0.0016;
  // Eyes count as farther off than they are: a strong squint presses the lower lid into the ball.
  const lidsFirst = (shader) => {
    shader.vertexShader = shader.vertexShader.replace("#include <project_vertex>", `#include <project_vertex>
      vec4 behind = projectionMatrix * (mvPosition - vec4(0.0, 0.0, ${EYE_SETBACK_METRES}, 0.0));
      gl_Position.z = behind.z / behind.w * gl_Position.w;`);
  };
  let redraw = () => {};
  const drawn = [];
  const materials = head.materials.map((one, number) => {
    for (const face of indices(one.faces)) drawn.push(face);
    const material = new THREE.MeshStandardMaterial({
      vertexColors: true, roughness: surfaces[one.name], metalness: 0, ...(lined ? {} : { side: THREE.DoubleSide }),
    });
    if (one.name === "eye") material.onBeforeCompile = lidsFirst;
    if (one.texture) {
      const places = new Float32Array(viewerBytes(one.uv));
      indices(one.vertices).forEach((vertex, k) => uv.setXY(vertex, places[2 * k], places[2 * k + 1]));
      const image = new Image(), texture = new THREE.Texture(image);
      texture.colorSpace = THREE.SRGBColorSpace;
      texture.flipY = false;
      texture.anisotropy = 4;
      image.onload = () => { texture.needsUpdate = true; redraw(); };
      image.src = one.texture;
      material.map = texture;
    }
    return material;
  });
  const order = new THREE.BufferAttribute(Index.from(drawn), 1);
  const groups = head.materials.map((one) => indices(one.faces).length);

  function make() {
    const geometry = new THREE.BufferGeometry();
    for (const name of ["position", "normal"])
      geometry.setAttribute(name, new THREE.BufferAttribute(new Float32Array(3 * count), 3));
    geometry.setAttribute("color", colours);
    geometry.setAttribute("uv", uv);
    geometry.setIndex(order);
    let start = 0;
    groups.forEach((length, number) => { geometry.addGroup(start, length, number); start += length; });
    const mesh = new THREE.Mesh(geometry, materials), neck = new THREE.Group(), world = new THREE.Scene();
    mesh.frustumCulled = false;
    mesh.position.set(...head.pivot.map((value) => -value));
    neck.position.set(...head.pivot);
    neck.rotation.order = "YXZ";
    neck.add(mesh);
    world.add(neck, new THREE.HemisphereLight(0xf6f7ff, 0x9a8074, 1.45));
    const lights = [[0xfff0e2, 2.35, 0.5, 0.55, 1.0], [0xdde6ff, 0.55, -0.8, 0.1, 0.65], [0xffffff, 1.2, -0.75, 0.35, -0.6]];
    for (const [colour, strength, ...at] of lights) {
      const light = new THREE.DirectionalLight(colour, strength);
      light.position.set(...at);
      world.add(light);
    }
    return { world, neck, geometry };
  }

  return {
    count, targets: targets.length, deform, make, materials, frame: head.frame,
    whenReady: (then) => { redraw = then; },
  };
})(JSON.parse(document.getElementById("data").textContent).head);
