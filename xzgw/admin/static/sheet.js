// A small table that is shown anew every second: texts change in place, so that one can select them.

import { fill, h, say } from "./dom.js";

export class Sheet {
  #body = h("tbody");
  #cells = [];
  #names = null;

  /** Take titles of columns; none for no head. */
  constructor(titles = []) {
    const heads = titles.map((title) => h("th", { scope: "col" }, title));
    this.element = h("table", { class: titles.length ? "sheet" : "sheet facts" },
      heads.length ? h("thead", {}, h("tr", {}, h("td"), ...heads)) : null, this.#body);
  }

  /** Show rows: a name and its values, all texts; those whose values are all empty are left out. */
  show(rows) {
    const shown = rows.filter(([, ...values]) => values.some((value) => value != null && value !== ""));
    const names = shown.map(([name]) => name).join("\n");
    if (names !== this.#names) {
      this.#names = names;
      this.#cells = shown.map(([, ...values]) => values.map(() => h("td")));
      fill(this.#body, ...shown.map(([name], i) =>
        h("tr", {}, h("th", { scope: "row" }, name), ...this.#cells[i])));
    }
    shown.forEach(([, ...values], i) => values.forEach((value, j) => say(this.#cells[i][j], value)));
  }
}
