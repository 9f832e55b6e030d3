// Curves of channels over time: one line a take, the time now, the values now; a press or a drag in a plot seeks.
"use strict";
const viewerPlots = ((list) => {
  const WIDTH = 300, HEIGHT = 100;
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3", "9 3 2 3"];
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // One figure; curves are { take, values }, `drop` removes it, `seek` goes to a share of the length.
  function plot(caption, unit, curves, drop, seek) {
    let low = 0, high = 1e-3;
    for (const { values } of curves) for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
    const x = (t, length) => (t / Math.max(length - 1, 1)) * WIDTH, y = (value) => 96 - ((value - low) / (high - low)) * 90;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(svg("line", { class: "zero", x1: 0, x2: WIDTH, y1: y(0), y2: y(0), "vector-effect": "non-scaling-stroke" }));
    for (const { take, values } of curves) {
      const points = Array.from(values, (value, t) => `${x(t, values.length).toFixed(1)},${y(value).toFixed(1)}`);
      picture.append(svg("polyline", {
        points: points.join(" "), class: `take-${take % 8}`, "stroke-dasharray": DASHES[take % 8], "vector-effect": "non-scaling-stroke",
      }));
    }
    const now = svg("line", { class: "now", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
    picture.append(now);
    const share = (event) => {
      const box = picture.getBoundingClientRect();
      seek(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
    };
    picture.addEventListener("pointerdown", (event) => { picture.setPointerCapture(event.pointerId); share(event); });
    picture.addEventListener("pointermove", (event) => { if (event.buttons) share(event); });
    const figure = document.createElement("figure"), text = document.createElement("figcaption");
    const name = document.createElement("span"), readings = document.createElement("span");
    name.textContent = `${caption}, ${low.toFixed(2)} to ${high.toFixed(2)}${unit && " " + unit}`;
    readings.className = "readings";
    text.append(name);
    if (drop) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "\u00d7";
      button.title = "Remove";
      button.setAttribute("aria-label", `Remove the plot of ${caption}`);
      button.addEventListener("click", drop);
      text.append(button);
    }
    text.append(readings);
    figure.append(picture, text);
    const values = curves.map(({ take, values }) => {
      const one = document.createElement("span");
      one.className = `take-${take % 8}`;
      readings.append(one);
      return { one, values };
    });
    figure.show = (at) => {
      const length = curves.length ? curves[0].values.length : 1, place = x(at, length);
      now.setAttribute("x1", place);
      now.setAttribute("x2", place);
      for (const { one, values: curve } of values) one.textContent = curve[Math.min(Math.round(at), curve.length - 1)].toFixed(2);
    };
    return figure;
  }

  return {
    clear: () => list.replaceChildren(),
    add: (...words) => list.append(plot(...words)),
    show: (at) => { for (const figure of list.children) figure.show(at); },
  };
})(document.getElementById("plots"));
