// How the gateway does: live figures, what needs attention, chat servers, the latest events.

import { ServersPanel } from "./servers.js";
import { fill, h, panel, say } from "./dom.js";
import { EventList } from "./event_list.js";
import { number, percent } from "./format.js";
import { t } from "./i18n.js";
import { said } from "./sayings.js";
import { every } from "./signal.js";
import { Sparkline } from "./sparkline.js";

const LOOK_AT_CONFIG = 30000; // ms
const LATEST = 15; // events
const PERCENT_OVER = 15; // samples

export class OverviewView {
  #visit;
  #tiles;
  #attention = h("ul", { class: "attention" });
  #attentionPanel;
  #config = null;
  #servers;
  #events;
  #ends;

  constructor(visit) {
    this.#visit = visit;
    this.#tiles = {
      devices: new Tile("connections"),
      sessions: new Tile("sessions"),
      frames: new Tile("frames"),
      loss: new Tile("loss"),
    };
    this.#servers = new ServersPanel(visit);
    this.#events = new EventList(visit.feed, { most: LATEST });
    this.#attentionPanel = panel(t("attention"), { id: "attention", hidden: true }, this.#attention);
    this.element = h("div", { class: "overview" },
      h("h1", { class: "unseen" }, t("overview")),
      h("div", { class: "tiles" }, ...Object.values(this.#tiles).map((tile) => tile.element)),
      this.#attentionPanel,
      this.#servers.element,
      panel(t("recent_events"), { id: "recent" }, this.#events.element,
        h("p", { class: "more" }, h("a", { href: "#/events" }, t("all_events")))));
    this.#ends = [
      visit.stats.changed.on(() => this.#draw()),
      every(LOOK_AT_CONFIG, () => this.#readConfig()),
    ];
    this.#draw();
  }

  close() {
    this.#ends.forEach((end) => end());
    this.#servers.close();
    this.#events.close();
  }

  async #readConfig() {
    try {
      this.#config = await this.#visit.api.get("v1/config");
      this.#draw();
    } catch (error) {
      this.#config = null; // the look at the whole tells of a gateway that does not answer
    }
  }

  #draw() {
    const { status, history } = this.#visit.stats;
    if (status === null) return;
    const { devices, sessions, frames, loss } = this.#tiles;
    const line = (name) => history.map((sample) => sample[name]);
    devices.show(number(status.devices), line("devices"), most(status, "max_connections"));
    sessions.show(number(status.sessions), line("sessions"), most(status, "max_sessions"));
    frames.show(number(line("frames").at(-1)), line("frames"));
    loss.show(percent(mean(line("loss").slice(-PERCENT_OVER))), line("loss"));
    this.#warn(status);
  }

  #warn(status) {
    const lines = all(status.troubles, status.trouble_parts);
    lines.push(...all(this.#config?.warnings ?? [], this.#config?.warning_parts));
    const refused = Object.entries(status.refused).filter(([, count]) => count > 0);
    lines.push(...refused.map(([name, count]) => t("limit_reached", { name, count: number(count) })));
    const problems = this.#config?.not_taken?.problems ?? [];
    lines.push(...problems.map((why) => t("config_not_taken", { why })));
    const names = this.#config?.needs_restart ?? [];
    if (names.length) lines.push(t("config_needs_restart", { names: names.join(", ") }));
    this.#attentionPanel.hidden = lines.length === 0;
    const shown = [...this.#attention.children].map((item) => item.textContent);
    if (shown.join("\n") === lines.join("\n")) return;
    fill(this.#attention, ...lines.map((line) => h("li", {}, line)));
  }
}

/** A figure, and how it went. */
class Tile {
  #value = h("span", { class: "value" });
  #note = h("span", { class: "note" });
  #line;

  constructor(name) {
    this.#line = new Sparkline(`${t(name)}, ${t("last_minutes")}`);
    this.element = h("div", { class: "tile", id: `tile-${name}` },
      h("span", { class: "name" }, t(name)),
      h("span", { class: "figure" }, this.#value, this.#note), this.#line.element);
  }

  show(value, line, note = "") {
    say(this.#value, value);
    say(this.#note, note);
    this.#line.draw(line);
  }
}

/** Sentences in the page's language; what they are made of comes in the same order. */
function all(sentences, parts = []) {
  return sentences.map((sentence, i) => said(sentence, parts[i]));
}

function most(status, name) {
  const value = status.limits[name]?.value;
  return value ? t("of_most", { most: number(value) }) : "";
}

function mean(values) {
  const known = values.filter((value) => value != null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}
