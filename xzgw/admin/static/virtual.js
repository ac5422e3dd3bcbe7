// A table body of any length of which only the rows in sight exist.

import { h } from "./dom.js";

const SPARE = 6; // rows beyond each edge

export class VirtualRows {
  #scroller;
  #height;
  #make;
  #fill;
  #items = [];
  #rows = new Map(); // by key
  #above;
  #below;
  #planned = false;
  #resizing = new ResizeObserver(() => this.plan());

  /**
   * @param {Element} scroller what scrolls
   * @param {number} height of a row, px
   * @param {number} columns
   * @param {function} make a new row, an element
   * @param {function} fill(row, item) puts an item into a row
   */
  constructor(scroller, height, columns, make, fill) {
    this.#scroller = scroller;
    this.#height = height;
    this.#make = make;
    this.#fill = fill;
    this.#above = spacer(columns);
    this.#below = spacer(columns);
    this.body = h("tbody", {}, this.#above, this.#below);
    scroller.addEventListener("scroll", () => this.plan(), { passive: true });
    this.#resizing.observe(scroller);
  }

  /** Show these: objects with a `key`. */
  show(items) {
    this.#items = items;
    this.#draw();
  }

  /** Draw with the next frame. */
  plan() {
    if (this.#planned) return;
    this.#planned = true;
    requestAnimationFrame(() => {
      this.#planned = false;
      this.#draw();
    });
  }

  close() {
    this.#resizing.disconnect();
  }

  #draw() {
    const { scrollTop, clientHeight } = this.#scroller;
    const count = this.#items.length;
    const last = Math.ceil((scrollTop + clientHeight) / this.#height) + SPARE;
    const end = Math.min(count, last);
    const start = Math.max(0, Math.min(Math.floor(scrollTop / this.#height) - SPARE, end));
    const shown = this.#items.slice(start, end);
    this.#above.style.height = `${start * this.#height}px`;
    this.#below.style.height = `${(count - end) * this.#height}px`;
    this.#place(shown, start);
  }

  /** Rows that stay in sight stay the elements that they are, and so keep the focus. */
  #place(shown, start) {
    const keys = new Set(shown.map((item) => item.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let previous = this.#above;
    shown.forEach((item, i) => {
      let row = this.#rows.get(item.key);
      if (!row) {
        row = this.#make(item);
        this.#rows.set(item.key, row);
      }
      this.#fill(row, item);
      row.setAttribute("aria-rowindex", start + i + 2); // the head is the first
      if (previous.nextSibling !== row) previous.after(row);
      previous = row;
    });
  }
}

function spacer(columns) {
  return h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns }));
}
