// Live plots of a session's two directions, by uPlot.

import { h, say } from "./dom.js";
import { clock } from "./format.js";
import { t } from "./i18n.js";

const HEIGHT = 150; // px
const LEAST = { packets: 20, loss: 5, jitter: 20 }; // what the vertical axis shows at least
const UNITS = { packets: "", loss: " %", jitter: " ms" };
const LEAST_TIME = 60; // s
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** One plot of uplink and downlink over time. */
export class Plot {
  #chart = null;
  #data = [[], [], []];
  #box = h("div", { class: "chart" });
  #now = { up: h("b", {}), down: h("b", {}) };
  #kind;
  #format;
  #resizing;
  #recolour = () => this.#build();

  /**
   * @param {string} kind a key of LEAST
   * @param {string} title
   * @param {function} format a value as text
   */
  constructor(kind, title, format) {
    this.#kind = kind;
    this.#format = format;
    const legend = ["up", "down"].map((way) =>
      h("span", { class: `legend ${way}` }, t(way), " ", this.#now[way]));
    this.element = h("figure", { class: "plot" },
      h("figcaption", {}, h("span", {}, title), h("span", { class: "legends" }, ...legend)), this.#box);
    this.#resizing = new ResizeObserver(() => this.#fit());
    this.#resizing.observe(this.#box);
    dark.addEventListener("change", this.#recolour);
  }

  /** Show samples: unix seconds, and up and down at each; null where there is none. */
  draw(times, up, down) {
    this.#data = [times, up, down];
    say(this.#now.up, this.#format(up.at(-1)));
    say(this.#now.down, this.#format(down.at(-1)));
    if (this.#chart === null) this.#build();
    else this.#chart.setData(this.#data);
  }

  close() {
    this.#resizing.disconnect();
    dark.removeEventListener("change", this.#recolour);
    this.#chart?.destroy();
    this.#chart = null;
  }

  #build() {
    this.#chart?.destroy();
    this.#chart = null;
    const width = this.#box.clientWidth;
    if (width > 0) this.#chart = new window.uPlot(this.#options(width), this.#data, this.#box);
  }

  #fit() {
    const width = this.#box.clientWidth;
    if (this.#chart === null) this.#build();
    else if (width > 0) this.#chart.setSize({ width, height: HEIGHT });
  }

  /** What the time axis shows: also without samples, which uPlot would take for the year 1970. */
  #span() {
    const [times] = this.#data;
    const end = times.at(-1) ?? Date.now() / 1000;
    return [Math.min(times[0] ?? end, end - LEAST_TIME), end];
  }

  #options(width) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--dim"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1, size: 4 },
      font: "11px system-ui, sans-serif",
    };
    const line = (name) => ({ stroke: colour(name), width: 1.5, points: { show: false } });
    const [least, unit] = [LEAST[this.#kind], UNITS[this.#kind]];
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 24, 0, 0],
      scales: {
        x: { range: () => this.#span() },
        y: { range: (_, low, high) => [0, Math.max(least, (high ?? 0) * 1.15)] },
      },
      axes: [
        { ...axis, size: 28, space: 90, values: (_, splits) => splits.map((at) => clock(at * 1000)) },
        { ...axis, size: 50, space: 28, values: (_, splits) => splits.map((at) => `${at}${unit}`) },
      ],
      series: [{}, line("--up"), line("--down")],
    };
  }
}
