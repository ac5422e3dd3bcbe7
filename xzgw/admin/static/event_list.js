// Events as a table, newest first.

import { badge, fill, h } from "./dom.js";
import { clock, duration, milliseconds } from "./format.js";
import { t, word } from "./i18n.js";
import { said } from "./sayings.js";

const PAUSE = 250; // ms between two drawings, however many events there are
const LONGEST = 400; // characters of what is not known here
const TONES = {
  connect: "ok",
  session_start: "ok",
  backend_up: "ok",
  call: "info",
  backend_down: "bad",
  refused: "bad",
  diagnosis: "warn",
  gap: "warn",
};

export class EventList {
  #feed;
  #most;
  #wants;
  #deviceColumn;
  #body = h("tbody");
  #timer = null;
  #end;

  /**
   * @param {Feed} feed
   * @param {object} options `most` events; `wants(event)` whether to show one; `device`: false
   *     leaves out whose event it is
   */
  constructor(feed, { most, wants = () => true, device = true }) {
    this.#feed = feed;
    this.#most = most;
    this.#wants = wants;
    this.#deviceColumn = device;
    const heads = ["time", "kinds", ...(device ? ["device"] : []), "details"];
    this.element = h("div", { class: "scroll" }, h("table", { class: "events" },
      h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, t(name))))), this.#body));
    this.#end = feed.changed.on(() => this.#plan());
    this.draw();
  }

  close() {
    clearTimeout(this.#timer);
    this.#end();
  }

  draw() {
    const shown = [];
    for (let i = this.#feed.events.length - 1; i >= 0 && shown.length < this.#most; i--) {
      const event = this.#feed.events[i];
      if (event.kind === "gap" || this.#wants(event)) shown.push(this.#row(event));
    }
    const none = h("tr", {}, h("td", { colspan: 4, class: "empty" }, t("no_events")));
    fill(this.#body, ...(shown.length ? shown : [none]));
  }

  #plan() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.draw();
    }, PAUSE);
  }

  #row(event) {
    const id = event.client_id ?? event.caller;
    return h("tr", { "data-kind": event.kind },
      h("td", { class: "time" }, clock(event.time)),
      h("td", {}, badge(word("kind", event.kind), TONES[event.kind])),
      this.#deviceColumn && h("td", { class: "mono" }, id ? deviceLink(id) : ""),
      h("td", { class: "details" }, details(event)));
  }
}

/** A link to a device's page that shows its MAC. */
export function deviceLink(clientId) {
  const mac = clientId.split("@@@")[1];
  const name = mac ? mac.replaceAll("_", ":").toLowerCase() : clientId;
  return h("a", { href: `#/devices/${encodeURIComponent(clientId)}`, title: clientId }, name);
}

function details(event) {
  const join = (...parts) => parts.filter(Boolean).join(" · ");
  switch (event.kind) {
    case "connect":
      return event.address;
    case "disconnect":
      return event.reason;
    case "session_start":
      return join(event.server, milliseconds(event.setup_seconds * 1000));
    case "session_end":
      return join(event.reason, duration(event.seconds), score(event.quality));
    case "call":
      return join(event.state, event.target_mac, event.reason);
    case "backend_up":
    case "backend_down":
      return join(event.server, event.reason);
    case "refused":
      return join(event.address, event.reason);
    case "diagnosis":
      return said(event.sentence, event.parts);
    case "gap":
      return "";
  }
  const { id, time, kind, client_id, ...rest } = event;
  return JSON.stringify(rest).slice(0, LONGEST);
}

function score(quality) {
  return quality ? `${t("quality")} ${quality.score}` : "";
}
