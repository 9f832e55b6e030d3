// Plays several takes of one piece of speech side by side on the same head. All data is in the page.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const stillness = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5], MOUTH = "mouth opening", TALLEST = 1.24;
  const channels = data.head.channels, audio = $("audio"), heads = [];
  let scene = null, frame = 0, turn = 0, shown = [], plotted = [];

  // Takes.
  const takes = () => scene.takes.map((take, number) => ({ ...take, number })).filter(({ number }) => shown[number]);
  function unpack(one) {
    if (one.unpacked) return;
    for (const take of one.takes) {
      take.still = viewerSteps(take.motion);
      take.drawn = take.weights ? viewerSteps(take.weights) : null;
      take.opening = new Float32Array(viewerBytes(take.mouth_opening_mm));
      if (take.life) {
        take.group = take.life.motion && viewerSteps(take.life.motion);
        take.turns = take.life.turn && new Float32Array(viewerBytes(take.life.turn));
      }
    }
    one.unpacked = true;
  }
  const alive = () => $("life").checked;
  function value(take, c, t) {
    const place = alive() && take.group ? take.life.columns.indexOf(c) : -1;
    return place < 0 ? take.still[t * channels.length + c] : take.group[t * take.life.columns.length + place];
  }
  const curve = (take, c) => Float32Array.from({ length: scene.frames }, (_, t) => value(take, c, t));

  // Drawing.
  const renderer = new THREE.WebGLRenderer({ canvas: $("canvas"), antialias: true, alpha: true, preserveDrawingBuffer: true });
  renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
  renderer.setScissorTest(true);
  const camera = new THREE.PerspectiveCamera(20, 1, 0.3, 4);
  let columns = 1, rows = 1, cell = 0, tall = 0;

  function layout() {
    const width = $("stage").clientWidth, count = Math.max(takes().length, 1);
    columns = Math.max(1, Math.min(count, Math.floor(width / 150)));
    columns = Math.ceil(count / Math.ceil(count / columns));
    rows = Math.ceil(count / columns);
    cell = width / columns;
    tall = Math.round(Math.min(cell * TALLEST, Math.max(240, innerHeight * (width < 640 ? 0.52 : 0.62))));
    renderer.setSize(width, rows * tall, false);
    $("canvas").style.height = rows * tall + "px";
    const { top, bottom, centre, width: wide, depth } = viewerHead.frame, half = Math.tan((camera.fov * Math.PI) / 360);
    camera.aspect = cell / tall;
    const away = Math.max(top - bottom, wide / camera.aspect) / 2 / half + 0.08;
    camera.position.set(centre, (top + bottom) / 2, depth + away);
    camera.updateProjectionMatrix();
    $("labels").replaceChildren(...takes().map(({ label, number }, place) => {
      const element = tag(label, number);
      element.style.left = ((place % columns) + 0.5) * cell + "px";
      element.style.top = (Math.floor(place / columns) + 1) * tall + "px";
      return element;
    }));
    draw(frame);
  }

  function tag(text, number) {
    const element = document.createElement("span"), dot = document.createElement("i");
    dot.className = `take-${number % 8}`;
    element.append(dot, text);
    return element;
  }

  const weights = new Float32Array(Math.max(viewerHead.targets, channels.length));
  function pose(take, at) {
    const first = Math.min(Math.floor(at), scene.frames - 1), next = Math.min(first + 1, scene.frames - 1), part = at - first;
    const mix = (values, width, c) => (1 - part) * values[first * width + c] + part * values[next * width + c];
    const source = take.drawn ?? take.still, width = viewerHead.targets;
    for (let c = 0; c < width; c++) weights[c] = mix(source, width, c);
    if (alive() && take.group && !take.drawn)
      take.life.columns.forEach((c, place) => { weights[c] = mix(take.group, take.life.columns.length, place); });
    return alive() && take.turns ? [0, 1, 2].map((axis) => mix(take.turns, 3, axis)) : [0, 0, 0];
  }

  function draw(at) {
    frame = at;
    renderer.setClearColor(0, 0);
    takes().forEach((take, place) => {
      const { world, neck, geometry } = (heads[place] ??= viewerHead.make());
      const [yaw, pitch, roll] = pose(take, at), { position, normal } = geometry.attributes;
      viewerHead.deform(weights, position.array, normal.array);
      position.needsUpdate = normal.needsUpdate = true;
      neck.rotation.set(pitch, yaw + turn, roll);
      const x = (place % columns) * cell, y = (rows - 1 - Math.floor(place / columns)) * tall;
      renderer.setViewport(x, y, cell, tall);
      renderer.setScissor(x, y, cell, tall);
      renderer.render(world, camera);
    });
    $("scrub").value = Math.round(at);
    const seconds = (value) => (value / scene.frame_rate).toFixed(2);
    $("clock").textContent = `${seconds(at)} / ${seconds(scene.frames)} s`;
    $("scrub").setAttribute("aria-valuetext", `${seconds(at)} seconds, frame ${Math.round(at) + 1} of ${scene.frames}`);
    viewerPlots.show(at);
  }

  // Time. Frame f is centred half a frame after its number.
  function seek(at) {
    const clamped = Math.max(0, Math.min(scene.frames - 1, at));
    audio.currentTime = (clamped + 0.5) / scene.frame_rate;
    draw(clamped);
  }
  const step = (frames) => { audio.pause(); seek(Math.round(frame) + frames); };
  function toggle() {
    if (!audio.paused) { audio.pause(); return; }
    if (audio.ended || frame >= scene.frames - 1.5) audio.currentTime = 0;
    audio.play();
  }
  function tick() {
    if (!audio.paused) {
      const at = Math.max(0, Math.min(audio.currentTime * scene.frame_rate - 0.5, scene.frames - 1));
      const next = stillness ? Math.floor(at / 5) * 5 : at;
      if (next !== frame) draw(next);
    }
    requestAnimationFrame(tick);
  }
  function setSpeed(speed) {
    $("speed").value = String(speed);
    audio.playbackRate = speed;
  }

  // Choosing.
  function choose(number) {
    scene = data.scenes[number];
    unpack(scene);
    audio.pause();
    audio.src = scene.audio;
    setSpeed(Number($("speed").value));
    shown = scene.takes.map(() => true);
    document.querySelectorAll("#scenes button").forEach((button, i) => button.setAttribute("aria-pressed", i === number));
    $("note").textContent = scene.note;
    $("legend").replaceChildren(...scene.takes.map((take, i) => {
      const line = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        if (shown.filter(Boolean).length === 1 && !box.checked) { box.checked = true; return; } // one stays
        shown[i] = box.checked;
        plots();
        layout();
      });
      line.append(box, tag(take.label, i));
      return line;
    }));
    $("scrub").max = scene.frames - 1;
    frame = 0;
    plotted = [MOUTH, ...mostDifferent(5)];
    plots();
    layout();
    seek(0);
  }

  // The channels in which the takes differ most, but for blinks and gaze; of a left and right twin one says enough.
  function mostDifferent(count) {
    const lively = new Set(scene.takes.flatMap((take) => take.life?.columns ?? []));
    const spread = channels.map((name, c) => {
      if (lively.has(c)) return { name, range: 0 };
      const means = scene.takes.map((take) => curve(take, c).reduce((a, b) => a + b, 0) / scene.frames);
      const moved = scene.takes.length > 1 ? 0 : Math.max(...curve(scene.takes[0], c).map(Math.abs));
      return { name, range: Math.max(...means) - Math.min(...means) + moved };
    }).sort((a, b) => b.range - a.range);
    const seen = new Set();
    return spread.filter(({ name, range }) => {
      const stem = name.replace(/(Left|Right)$/, "");
      return range > 0.01 && !seen.has(stem) && seen.add(stem);
    }).slice(0, count).map(({ name }) => name);
  }

  function plots() {
    viewerPlots.clear();
    for (const name of plotted) {
      const curves = takes().map((take) =>
        ({ take: take.number, values: name === MOUTH ? take.opening : curve(take, channels.indexOf(name)) }));
      const drop = name === MOUTH ? null : () => { plotted = plotted.filter((other) => other !== name); plots(); $("channel").focus(); };
      viewerPlots.add(name, name === MOUTH ? "mm" : "", curves, drop, (share) => { audio.pause(); seek(share * (scene.frames - 1)); });
    }
    viewerPlots.show(frame);
  }

  // Controls.
  audio.addEventListener("play", () => { $("play").textContent = "Pause"; });
  audio.addEventListener("pause", () => { $("play").textContent = "Play"; });
  audio.addEventListener("ended", () => { if ($("loop").checked) { audio.currentTime = 0; audio.play(); } });
  $("play").addEventListener("click", toggle);
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("scrub").addEventListener("input", () => seek(Number($("scrub").value)));
  $("speed").append(...SPEEDS.map((speed) => new Option(`${speed}×`, speed, speed === 1, speed === 1)));
  $("speed").addEventListener("change", () => setSpeed(Number($("speed").value)));
  $("mute").addEventListener("change", () => { audio.muted = $("mute").checked; });
  $("wireframe").addEventListener("change", () => {
    for (const material of viewerHead.materials) material.wireframe = $("wireframe").checked;
    draw(frame);
  });
  $("life").checked = !stillness;
  $("life").addEventListener("change", () => { plots(); draw(frame); });
  $("life").disabled = !data.scenes.some((one) => one.takes.some((take) => take.life));
  $("front").addEventListener("click", () => turnTo(0));
  $("channel").append(new Option("choose", ""), ...channels.map((name) => new Option(name, name)));
  $("channel").addEventListener("change", () => {
    const name = $("channel").value;
    if (name) plotted = [MOUTH, name, ...plotted.slice(1).filter((other) => other !== name)];
    $("channel").value = "";
    plots();
  });
  function turnTo(radians) {
    turn = Math.max(-1.4, Math.min(1.4, radians));
    draw(frame);
  }
  $("canvas").addEventListener("pointerdown", (event) => $("canvas").setPointerCapture(event.pointerId));
  $("canvas").addEventListener("pointermove", (event) => { if (event.buttons) turnTo(turn + event.movementX / 150); });
  $("canvas").addEventListener("dblclick", () => turnTo(0));
  addEventListener("resize", layout);

  const press = (id) => () => $(id).click();
  const faster = (by) => () => {
    const place = SPEEDS.indexOf(Number($("speed").value)) + by;
    setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, place))]);
  };
  const KEYS = {
    " ": toggle, k: toggle, l: press("loop"), m: press("mute"), w: press("wireframe"), b: press("life"),
    ",": faster(-1), ".": faster(1), "[": () => turnTo(turn - 0.15), "]": () => turnTo(turn + 0.15), f: press("front"),
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-scene.frames), End: () => step(scene.frames),
  };
  addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("select, input[type=range]") && !/^[a-z]$/.test(key)) return; // they use these keys themselves
    if (target.matches("select")) return;
    if (key === " " && target.matches("button, input, summary")) return;
    const number = Number(key) - 1;
    if (event.shiftKey && (key === "ArrowLeft" || key === "ArrowRight")) step(key === "ArrowLeft" ? -10 : 10);
    else if (KEYS[key]) KEYS[key]();
    else if (number >= 0 && number < data.scenes.length) choose(number);
    else return;
    event.preventDefault();
  });

  $("scenes").append(...data.scenes.map((one, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = one.title;
    button.addEventListener("click", () => choose(i));
    return button;
  }));
  $("scenes").hidden = data.scenes.length < 2;
  $("still").hidden = !stillness;
  viewerHead.whenReady(() => draw(frame));
  choose(0);
  tick();
  window.viewer = { seek, choose, playing: () => !audio.paused, frame: () => frame, turn: () => turn };
})();
