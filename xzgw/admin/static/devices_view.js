// All devices: searched, filtered, and as many rows as are in sight.

import { badge, fill, h, say } from "./dom.js";
import { duration, NOTHING, number, percent, since, tone } from "./format.js";
import { t, word } from "./i18n.js";
import { MOST } from "./roster.js";
import { said } from "./sayings.js";
import { share } from "./stats.js";
import { VirtualRows } from "./virtual.js";

const ROW = 36; // px, as in the style sheet
const STATES = ["idle", "dialing", "live", "in_call", "problem"];
const COLUMNS = ["state", "device", "group", "address", "session", "server", "loss", "quality",
  "talk_today", "problem"];
const MAC_START = /^[0-9a-f]{2}(:[0-9a-f]{0,2}){1,5}$/;

export class DevicesView {
  #roster;
  #memory;
  #rows;
  #scroller = h("div", { id: "device-list", class: "scroll list", tabindex: "0" });
  #table = h("table", { class: "devices" });
  #count = h("span", { id: "device-count", class: "dim", role: "status" });
  #note = h("p", { class: "dim" });
  #empty = h("p", { class: "empty" });
  #planned = false;
  #ends;

  constructor({ roster, stats, memory }) {
    this.#roster = roster;
    this.#memory = memory;
    const heads = COLUMNS.map((name) => h("th", { scope: "col", class: name }, t(name)));
    this.#rows = new VirtualRows(this.#scroller, ROW, COLUMNS.length, newRow, fillRow);
    this.#table.append(h("thead", {}, h("tr", {}, ...heads)), this.#rows.body);
    this.#scroller.append(this.#table);
    this.#scroller.setAttribute("aria-label", t("devices"));
    this.element = h("div", { class: "devices-view" }, h("h1", { class: "unseen" }, t("devices")),
      h("section", { class: "panel" }, this.#controls(), this.#note, this.#scroller, this.#empty));
    this.#ends = [
      roster.changed.on(() => this.#planDraw()),
      stats.changed.on(() => this.#rows.plan()), // times go on
    ];
  }

  shown() {
    this.#draw();
  }

  close() {
    this.#ends.forEach((end) => end());
    this.#rows.close();
  }

  #planDraw() {
    if (this.#planned) return;
    this.#planned = true;
    requestAnimationFrame(() => {
      this.#planned = false;
      this.#draw();
    });
  }

  #controls() {
    const memory = this.#memory;
    const search = h("input", {
      id: "search",
      type: "search",
      placeholder: t("search_hint"),
      "aria-label": t("search"),
      value: memory.search ?? "",
      oninput: () => {
        memory.search = search.value;
        this.#scroller.scrollTop = 0;
        this.#draw();
      },
    });
    const options = STATES.map((state) =>
      h("option", { value: state, selected: memory.state === state }, word("state", state)));
    const states = h("select", {
      id: "state",
      "aria-label": t("state"),
      onchange: () => {
        memory.state = states.value;
        this.#draw();
      },
    }, h("option", { value: "" }, t("any_state")), ...options);
    return h("div", { class: "controls" }, search, states, this.#count);
  }

  #draw() {
    const { devices, total } = this.#roster;
    const wanted = normal(this.#memory.search ?? "");
    this.#roster.narrow(MAC_START.test(wanted) ? wanted : "");
    const found = matching(devices, wanted, this.#memory.state);
    this.#rows.show(found);
    this.#table.setAttribute("aria-rowcount", found.length + 1);
    say(this.#count, t("shown_of", { shown: number(found.length), total: number(devices.size) }));
    const held = number(devices.size);
    say(this.#note, total > MOST ? t("only_first", { total: number(total), held }) : "");
    say(this.#empty, found.length ? "" : t(devices.size ? "none_found" : "no_devices"));
  }
}

/** MACs are written with `:`, `-` and `_`, and any of them finds any of them. */
function normal(text) {
  return text.trim().toLowerCase().replace(/[-_]/g, ":");
}

/** The devices to show, in order of client id, each with its key. */
function matching(devices, wanted, state) {
  const found = [];
  for (const [key, device] of devices) {
    device.searched ??= normal(`${key} ${device.mac} ${device.group}`);
    const right = state === "problem" ? device.diagnosis?.cause : !state || device.state === state;
    if (right && device.searched.includes(wanted)) found.push({ key, device });
  }
  return found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

function newRow({ key }) {
  const open = () => (location.hash = `#/devices/${encodeURIComponent(key)}`);
  const link = h("a", { href: `#/devices/${encodeURIComponent(key)}`, title: key });
  const inside = { device: link, problem: h("span", {}) };
  const cells = COLUMNS.map((name) => h("td", { class: name }, inside[name]));
  return h("tr", { onclick: open }, ...cells);
}

function fillRow(row, { key, device }) {
  const [state, name, group, address, session, server, loss, quality, talk, problem] = row.children;
  if (state.dataset.state !== device.state) {
    state.dataset.state = device.state;
    fill(state, badge(word("state", device.state), tone(device.state)));
  }
  say(name.firstChild, device.mac || key);
  say(group, device.group);
  say(address, device.mqtt.address);
  say(session, device.session ? since(device.session.since) : NOTHING);
  say(server, device.session ? host(device.session.server) : NOTHING);
  const up = device.udp?.up;
  say(loss, up?.packets ? percent(share(up.lost, up.packets)) : NOTHING);
  say(quality, device.quality ? number(device.quality.score, 1) : NOTHING);
  say(talk, device.talk_seconds_today ? duration(device.talk_seconds_today) : NOTHING);
  const cause = device.diagnosis?.cause;
  say(problem.firstChild, cause ? word("cause", cause) : "");
  problem.title = cause ? said(device.diagnosis.sentence, device.diagnosis.parts) : "";
}

function host(server) {
  return /^\w+:\/\/([^/]*)/.exec(server)?.[1] ?? server;
}
