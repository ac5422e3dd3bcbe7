// Recording one device for a while, and taking the record home.

import { devicePath } from "./api.js";
import { field, h, notify, panel, say } from "./dom.js";
import { clock, duration } from "./format.js";
import { t } from "./i18n.js";

export const TRACE_PATH = "/v1/devices/{client_id}/trace";
const SECONDS = 60;

export class TracePanel {
  #api;
  #path;
  #id;
  #state = h("p", { class: "dim", role: "status" });

  constructor(api, id) {
    this.#api = api;
    this.#id = id;
    this.#path = devicePath(id, "/trace");
    const seconds = h("input", {
      name: "seconds", type: "number", min: 1, max: 600, step: 1, value: SECONDS, required: true,
    });
    const audio = h("input", { name: "audio", type: "checkbox" });
    const start = (event) => {
      event.preventDefault();
      this.#start({ seconds: seconds.valueAsNumber, audio: audio.checked });
    };
    const button = (text, act) => h("button", { type: "button", onclick: act }, text);
    const rest = [
      button(t("trace_download", { form: "JSON" }), () => this.#fetch("", "jsonl")),
      button(t("trace_download", { form: "pcap" }), () => this.#fetch("?format=pcap", "pcap")),
      button(t("trace_forget"), () => this.#forget()),
    ];
    this.element = panel(t("trace"), { id: "trace" }, h("p", { class: "dim" }, t("trace_what")),
      h("form", { onsubmit: start },
        h("div", { class: "fields" }, field(t("trace_seconds"), seconds),
          h("label", { class: "tick" }, audio, t("trace_audio"))),
        h("div", { class: "row" }, h("button", { class: "primary" }, t("trace_start")), ...rest)),
      this.#state);
  }

  #start(wish) {
    return this.#tell(async () => {
      const { until } = await this.#api.post(this.#path, wish);
      say(this.#state, t("trace_until", { time: clock(until) }));
      return t("trace_started", { time: duration(wish.seconds) });
    });
  }

  #forget() {
    return this.#tell(async () => {
      await this.#api.delete(this.#path);
      say(this.#state, "");
      return t("trace_forgotten");
    });
  }

  #fetch(query, ending) {
    return this.#tell(async () => {
      const url = URL.createObjectURL(await this.#api.download(this.#path + query));
      const name = `${this.#id.replace(/[^\w.-]+/g, "_")}.${ending}`;
      h("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      return null;
    });
  }

  async #tell(act) {
    try {
      const done = await act();
      if (done) notify(done);
    } catch (error) {
      notify(error.message, "bad");
    }
  }
}
