// All events that the page remembers, by kind.

import { h, panel } from "./dom.js";
import { EventList } from "./event_list.js";
import { t, word } from "./i18n.js";

const MOST = 300; // rows
const KINDS = [
  "connect", "disconnect", "session_start", "session_end", "call", "backend_up", "backend_down",
  "refused", "diagnosis",
];

export class EventsView {
  #list;

  constructor({ feed, memory }) {
    const options = KINDS.map((kind) =>
      h("option", { value: kind, selected: memory.kind === kind }, word("kind", kind)));
    const choice = h("select", {
      id: "kind",
      "aria-label": t("kinds"),
      onchange: () => {
        memory.kind = choice.value;
        this.#list.draw();
      },
    }, h("option", { value: "" }, t("any_kind")), ...options);
    const wants = ({ kind }) => !memory.kind || kind === memory.kind;
    this.#list = new EventList(feed, { most: MOST, wants });
    this.element = h("div", {}, h("h1", { class: "unseen" }, t("events")),
      panel(t("events"), { id: "events" }, h("div", { class: "controls" }, choice), this.#list.element));
  }

  close() {
    this.#list.close();
  }
}
