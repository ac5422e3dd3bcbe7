// One device: how it does, and all that can be done with it.

import { AlertPanel } from "./alert_panel.js";
import { devicePath } from "./api.js";
import { DiagnosisPanel } from "./checklist.js";
import { counterRows, COUNTERS, factRows, qualityText } from "./device_facts.js";
import { badge, fill, h, notify, panel, say, sureButton } from "./dom.js";
import { EventList } from "./event_list.js";
import { tone } from "./format.js";
import { t, word } from "./i18n.js";
import { SessionPlots } from "./session_plots.js";
import { Sheet } from "./sheet.js";
import { every } from "./signal.js";
import { ToolsPanel } from "./tools_panel.js";
import { TRACE_PATH, TracePanel } from "./trace_panel.js";

const EVERY = 1000; // ms
const LATEST = 50; // events

export class DeviceView {
  #visit;
  #id;
  #name = h("h1");
  #state = h("span", { id: "device-state" });
  #disconnect = sureButton(t("disconnect"), t("disconnect_sure"), () => this.#cutOff(),
    { id: "disconnect", class: "danger" });
  #missing = h("p", { class: "notice warn", hidden: true }, t("not_connected"));
  #error = h("p", { class: "error", role: "alert" });
  #endSession = h("button", { id: "end-session", type: "button", onclick: () => this.#end() },
    t("end_session"));
  #diagnosis = new DiagnosisPanel();
  #facts = new Sheet();
  #counters = new Sheet(COUNTERS.map((name) => t(name)));
  #quality = h("p", { id: "quality" });
  #plots = new SessionPlots();
  #tools;
  #events;
  #stop;
  #known = ""; // which connection's tools are shown

  constructor(visit, id) {
    this.#visit = visit;
    this.#id = id;
    this.#tools = new ToolsPanel(visit.api, id);
    const mine = (event) => event.client_id === id || event.caller === id;
    this.#events = new EventList(visit.feed, { most: LATEST, wants: mine, device: false });
    say(this.#name, nameOf(id));
    this.element = h("div", { class: "device" },
      h("div", { class: "head" }, this.#name, this.#state,
        h("span", { class: "actions" }, this.#endSession, this.#disconnect)),
      this.#missing, this.#error, this.#diagnosis.element,
      panel(t("audio"), { id: "audio" }, this.#quality, this.#plots.element,
        h("div", { class: "scroll" }, this.#counters.element)),
      h("div", { class: "columns" },
        h("div", {}, panel(t("facts"), { id: "facts" }, this.#facts.element), ...this.#actions()),
        h("div", {}, this.#tools.element)),
      panel(t("device_events"), { id: "device-events" }, this.#events.element));
  }

  shown() {
    this.#stop = every(EVERY, () => this.#look());
  }

  close() {
    this.#stop?.();
    this.#stop = null;
    this.#plots.close();
    this.#events.close();
  }

  #actions() {
    const { api, paths } = this.#visit;
    const trace = paths.includes(TRACE_PATH) ? [new TracePanel(api, this.#id).element] : [];
    return [new AlertPanel(api, this.#id).element, ...trace];
  }

  async #look() {
    let device = null;
    let trouble = "";
    try {
      device = await this.#visit.api.get(devicePath(this.#id));
    } catch (error) {
      if (error.status !== 404) trouble = error.message;
    }
    if (this.#stop === null) return; // the view was closed meanwhile
    say(this.#error, trouble);
    if (!trouble) this.#draw(device);
  }

  #draw(device) {
    const state = device?.state ?? "gone";
    if (this.#state.dataset.state !== state) {
      this.#state.dataset.state = state;
      fill(this.#state, badge(word("state", state), tone(state)));
    }
    this.#missing.hidden = device !== null;
    this.#disconnect.disabled = device === null;
    this.#endSession.disabled = device === null || state === "idle";
    this.#diagnosis.show(device?.diagnosis);
    this.#facts.show(factRows(this.#id, device));
    const rows = counterRows(device?.udp);
    this.#counters.element.hidden = rows.length === 0;
    this.#counters.show(rows);
    say(this.#quality, rows.length ? qualityText(device.quality) : t("no_audio"));
    this.#plots.add(device);
    const known = device && `${device.mqtt.connected_since} ${JSON.stringify(device.tools)}`;
    if (known && known !== this.#known) {
      this.#known = known;
      this.#tools.load();
    }
  }

  async #end() {
    await this.#act("/session", "session_ended");
  }

  async #cutOff() {
    await this.#act("", "disconnected");
  }

  async #act(rest, done) {
    try {
      await this.#visit.api.delete(devicePath(this.#id, rest));
      notify(t(done));
    } catch (error) {
      notify(error.message, "bad");
    }
  }
}

function nameOf(id) {
  const mac = id.split("@@@")[1];
  return mac ? mac.replaceAll("_", ":").toLowerCase() : id;
}
