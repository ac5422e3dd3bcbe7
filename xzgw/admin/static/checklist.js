// What is wrong with a device, in one sentence, and the checklist behind it.

import { fill, h, panel, say } from "./dom.js";
import { t, word } from "./i18n.js";
import { said } from "./sayings.js";

const MARKS = { ok: "✓", waiting: "…", failed: "✗", none: "·" };

export class DiagnosisPanel {
  #title = h("strong", { role: "status" });
  #sentence = h("p", { id: "sentence" });
  #list = h("ol", { class: "checks" });
  #items = [];
  #verdict;

  constructor() {
    this.#verdict = h("div", { class: "verdict" }, this.#title, this.#sentence);
    this.element = panel(t("diagnosis"), { id: "diagnosis", hidden: true }, this.#verdict, this.#list);
  }

  /** Show a device's `diagnosis`; nothing without one. */
  show(diagnosis) {
    this.element.hidden = !diagnosis?.checks;
    if (this.element.hidden) return;
    const { cause, sentence, parts, checks } = diagnosis;
    this.#verdict.className = `verdict ${cause ? "bad" : "ok"}`;
    say(this.#title, cause ? word("cause", cause) : t("all_well"));
    say(this.#sentence, cause ? said(sentence, parts) : "");
    if (this.#items.length !== checks.length) {
      this.#items = checks.map(newItem);
      fill(this.#list, ...this.#items.map(({ element }) => element));
    }
    checks.forEach((check, i) => showItem(this.#items[i], check));
  }
}

function newItem() {
  const [mark, name, text] = [h("span", { class: "mark" }), h("b"), h("span", { class: "text" })];
  return { mark, name, text, element: h("li", {}, mark, name, text) };
}

function showItem(item, { name, state, text, parts }) {
  item.element.className = state;
  say(item.mark, MARKS[state] ?? "?");
  item.mark.setAttribute("aria-label", word("check", state));
  item.mark.setAttribute("role", "img");
  say(item.name, word("check", name));
  say(item.text, said(text, parts));
}
