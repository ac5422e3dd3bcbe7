// A small line of how a number went, as SVG.

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 160;
const HEIGHT = 34;
const ROOM = 150; // samples that fill the width

export class Sparkline {
  #line;
  #area;

  constructor(label) {
    this.#area = shape("polygon", { class: "area" });
    this.#line = shape("polyline", { class: "line" });
    this.element = shape("svg", {
      class: "sparkline",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    });
    this.element.append(this.#area, this.#line);
  }

  /** Draw these samples, the newest at the right; null where there is none. */
  draw(values) {
    const shown = values.slice(-ROOM);
    const top = Math.max(1e-9, ...shown.filter((value) => value != null)) * 1.1;
    const points = [];
    shown.forEach((value, i) => {
      if (value == null) return;
      const x = WIDTH - ((shown.length - 1 - i) * WIDTH) / (ROOM - 1);
      points.push([x, HEIGHT - 1 - (value / top) * (HEIGHT - 3)]);
    });
    const path = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    this.#line.setAttribute("points", path);
    const ends = points.length ? `${points.at(-1)[0]},${HEIGHT} ${points[0][0]},${HEIGHT}` : "";
    this.#area.setAttribute("points", `${path} ${ends}`.trim());
  }
}

function shape(name, attributes) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
