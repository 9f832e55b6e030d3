// Plays several takes of one piece of speech side by side on the same head. All data is in the page.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fdf", "#999999"];
  const stillness = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function bytes(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out.buffer;
  }

  // The head: a neutral mesh and one sparse displacement per channel.
  const head = data.head;
  const neutral = new Float32Array(bytes(head.neutral));
  const faces = new Uint16Array(bytes(head.faces));
  const drawnFaces = new Uint16Array(bytes(head.drawn_faces));
  const parents = new Uint16Array(bytes(head.parents));
  const bulge = new Float32Array(bytes(head.bulge));
  const colours = new Uint8Array(bytes(head.colours));
  const channels = head.channels.map((c) => ({
    name: c.name, index: new Uint16Array(bytes(c.index)), delta: new Int16Array(bytes(c.delta)), scale: c.scale,
  }));
  const openness = new Float32Array(head.mouth_opening_mm); // millimetres of mouth opening per unit of each channel

  function deform(motion, frame, out, normals) {
    out.set(neutral); // the refining vertices behind are filled by refine()
    const width = channels.length, whole = Math.floor(frame), part = frame - whole;
    const last = motion.length / width - 1;
    const here = Math.min(whole, last) * width, next = Math.min(whole + 1, last) * width;
    for (let c = 0; c < width; c++) {
      const weight = (1 - part) * motion[here + c] + part * motion[next + c];
      if (Math.abs(weight) < 1e-4) continue;
      const { index, delta, scale } = channels[c], factor = weight * scale;
      for (let k = 0; k < index.length; k++) {
        const v = 3 * index[k];
        out[v] += factor * delta[3 * k];
        out[v + 1] += factor * delta[3 * k + 1];
        out[v + 2] += factor * delta[3 * k + 2];
      }
    }
    smoothNormals(out, normals);
    refine(out, normals);
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

  const renderer = new THREE.WebGLRenderer({ canvas: $("canvas"), antialias: true, alpha: true, preserveDrawingBuffer: true });
  renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
  renderer.setScissorTest(true);
  const camera = new THREE.PerspectiveCamera(22, 1, 0.01, 10);
  camera.position.set(...head.camera.position);
  camera.lookAt(new THREE.Vector3(...head.camera.target));

  function makeHead() {
    const scene = new THREE.Scene();
    scene.add(new THREE.HemisphereLight(0xffffff, 0x9a8f88, 1.25));
    const key = new THREE.DirectionalLight(0xfff1e0, 2.1);
    key.position.set(0.6, 0.7, 1.2);
    const fill = new THREE.DirectionalLight(0xdfe8ff, 0.7);
    fill.position.set(-1, 0.1, 0.7);
    scene.add(key, fill);
    const geometry = new THREE.BufferGeometry();
    const size = neutral.length + (3 * parents.length) / 2;
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(size), 3));
    geometry.setAttribute("normal", new THREE.BufferAttribute(new Float32Array(size), 3));
    geometry.setAttribute("color", new THREE.BufferAttribute(colours, 3, true));
    geometry.setIndex(new THREE.BufferAttribute(drawnFaces, 1));
    const material = new THREE.MeshStandardMaterial({ vertexColors: true, roughness: 0.62, metalness: 0 });
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false;
    scene.add(mesh);
    return { scene, geometry, material };
  }

  const heads = [];
  const audio = $("audio");
  let scene = null, frame = -1;

  function choose(number) {
    scene = data.scenes[number];
    audio.pause();
    audio.src = scene.audio;
    audio.playbackRate = Number($("speed").value);
    scene.motions ??= scene.takes.map((take) => new Float32Array(bytes(take.motion)));
    while (heads.length < scene.takes.length) heads.push(makeHead());
    document.querySelectorAll("#scenes button").forEach((button, i) => button.setAttribute("aria-selected", i === number));
    $("note").textContent = scene.note;
    $("labels").replaceChildren(...scene.takes.map((take, i) => label("span", take.label, COLOURS[i % COLOURS.length])));
    $("legend").replaceChildren(...scene.takes.map((take, i) => label("span", take.label, COLOURS[i % COLOURS.length])));
    $("scrub").max = scene.frames - 1;
    plots();
    layout();
    seek(0);
  }

  function label(tag, text, colour) {
    const element = document.createElement(tag), dot = document.createElement("i");
    dot.style.background = colour;
    element.append(dot, text);
    return element;
  }

  let columns = 1, rows = 1, cell = 0;
  function layout() {
    const width = $("stage").clientWidth, count = scene.takes.length;
    columns = Math.max(1, Math.min(count, Math.floor(width / 160)));
    if (count > columns) columns = Math.ceil(count / Math.ceil(count / columns));
    rows = Math.ceil(count / columns);
    cell = width / columns;
    const height = Math.round(cell * 1.18);
    renderer.setSize(width, rows * height, false);
    $("canvas").style.height = rows * height + "px";
    camera.aspect = cell / height;
    camera.updateProjectionMatrix();
    [...$("labels").children].forEach((element, i) => {
      element.style.left = ((i % columns) + 0.5) * cell + "px";
      element.style.top = Math.floor(i / columns) * height + "px";
    });
    draw(Math.max(frame, 0));
  }

  function draw(at) {
    frame = at;
    const height = Math.round(cell * 1.18);
    scene.takes.forEach((take, i) => {
      const { scene: world, geometry } = heads[i];
      const { position, normal } = geometry.attributes;
      deform(scene.motions[i], at, position.array, normal.array);
      position.needsUpdate = normal.needsUpdate = true;
      const x = (i % columns) * cell, y = (rows - 1 - Math.floor(i / columns)) * height;
      renderer.setViewport(x, y, cell, height);
      renderer.setScissor(x, y, cell, height);
      renderer.render(world, camera);
    });
    $("scrub").value = Math.round(at);
    const seconds = at / scene.frame_rate;
    $("clock").textContent = `${seconds.toFixed(2)} s`;
    document.querySelectorAll("#plots line.now").forEach((line) => {
      const x = (at / Math.max(scene.frames - 1, 1)) * 300;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    });
  }

  function seek(at) {
    const clamped = Math.max(0, Math.min(scene.frames - 1, at));
    audio.currentTime = clamped / scene.frame_rate;
    draw(clamped);
  }

  function tick() {
    if (!audio.paused) {
      const at = Math.min(audio.currentTime * scene.frame_rate, scene.frames - 1);
      draw(stillness ? Math.floor(at / 5) * 5 : at);
    }
    requestAnimationFrame(tick);
  }

  function plot(caption, curves, unit) {
    const all = curves.flatMap((curve) => [...curve]);
    const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-3);
    const path = (curve) => [...curve].map((v, t) =>
      `${t ? "L" : "M"}${((t / Math.max(curve.length - 1, 1)) * 300).toFixed(1)},${(96 - ((v - low) / (high - low)) * 90).toFixed(1)}`).join("");
    const figure = document.createElement("figure");
    figure.innerHTML = `<svg viewBox="0 0 300 100" preserveAspectRatio="none" role="img">` + curves.map((curve, i) =>
      `<path d="${path(curve)}" fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="2" vector-effect="non-scaling-stroke"/>`).join("") +
      `<line class="now" y1="0" y2="100" stroke="currentColor" stroke-dasharray="3 3" vector-effect="non-scaling-stroke"/></svg><figcaption></figcaption>`;
    figure.querySelector("figcaption").textContent = `${caption}, ${low.toFixed(2)} to ${high.toFixed(2)} ${unit}`;
    figure.querySelector("svg").setAttribute("aria-label", caption);
    return figure;
  }

  const curve = (motion, c) => Float32Array.from({ length: motion.length / channels.length }, (_, t) => motion[t * channels.length + c]);
  function plots() {
    const width = channels.length, motions = scene.motions;
    const openings = motions.map((motion) => Float32Array.from({ length: motion.length / width }, (_, t) => {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += motion[t * width + c] * openness[c];
      return sum;
    }));
    const spread = channels.map((channel, c) => {
      const means = motions.map((motion) => curve(motion, c).reduce((a, b) => a + b, 0) / (motion.length / width));
      return { c, range: Math.max(...means) - Math.min(...means) };
    }).sort((a, b) => b.range - a.range);
    const seen = new Set(), top = [];
    for (const { c } of spread) {  // a left and right twin say the same thing
      const stem = channels[c].name.replace(/(Left|Right)$/, "");
      if (seen.has(stem)) continue;
      seen.add(stem);
      top.push(c);
      if (top.length === 5) break;
    }
    const chosen = $("channel").value === "" ? [] : [Number($("channel").value)];
    $("plots").replaceChildren(
      plot("mouth opening", openings, "mm"),
      ...[...chosen, ...top].map((c) => plot(channels[c].name, motions.map((motion) => curve(motion, c)), "")));
  }

  function toggle() {
    if (audio.paused) {
      if (frame >= scene.frames - 1.5) audio.currentTime = 0;
      audio.play();
    } else audio.pause();
  }
  audio.addEventListener("play", () => { $("play").textContent = "Pause"; $("play").setAttribute("aria-label", "Pause"); });
  audio.addEventListener("pause", () => { $("play").textContent = "Play"; $("play").setAttribute("aria-label", "Play"); });
  audio.addEventListener("ended", () => { if ($("loop").checked) { audio.currentTime = 0; audio.play(); } });
  $("play").addEventListener("click", toggle);
  $("scrub").addEventListener("input", () => seek(Number($("scrub").value)));
  $("speed").addEventListener("change", () => { audio.playbackRate = Number($("speed").value); });
  $("wireframe").addEventListener("change", () => {
    heads.forEach((one) => { one.material.wireframe = $("wireframe").checked; });
    draw(frame);
  });
  $("channel").append(new Option("choose", ""), ...channels.map((channel, c) => new Option(channel.name, c)));
  $("channel").addEventListener("change", plots);
  addEventListener("resize", layout);
  addEventListener("keydown", (event) => {
    if (event.target.matches("select, input")) return; // they use these keys themselves
    if (event.key === " " && !event.target.matches("button")) { event.preventDefault(); toggle(); }
    if (event.key === "ArrowRight") { audio.pause(); seek(Math.round(frame) + 1); }
    if (event.key === "ArrowLeft") { audio.pause(); seek(Math.round(frame) - 1); }
    const number = Number(event.key) - 1;
    if (number >= 0 && number < data.scenes.length) choose(number);
  });
  $("scenes").append(...data.scenes.map((one, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.textContent = one.title;
    button.addEventListener("click", () => choose(i));
    return button;
  }));
  $("scenes").hidden = data.scenes.length < 2;
  choose(0);
  tick();
  window.viewer = { seek, choose, playing: () => !audio.paused, frame: () => frame };
})();
