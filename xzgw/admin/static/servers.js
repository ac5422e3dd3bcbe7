// The chat servers, and whether they get sessions.

import { badge, fill, h, notify, panel } from "./dom.js";
import { number, tone } from "./format.js";
import { t, word } from "./i18n.js";
import { every } from "./signal.js";

const EVERY = 5000; // ms
const TELLING = new Set(["backend_up", "backend_down", "session_start", "session_end"]);

export class ServersPanel {
  #api;
  #body = h("tbody");
  #shown = "";
  #ends;
  #timer = null;

  constructor({ api, feed }) {
    this.#api = api;
    const head = ["state", "server", "groups", "weight", "sessions", "failures", "last_error"];
    const titles = head.map((name) => h("th", { scope: "col", class: name }, t(name)));
    this.element = panel(t("servers"), { id: "servers" },
      h("div", { class: "scroll" }, h("table", { class: "servers" },
        h("thead", {}, h("tr", {}, ...titles, h("th", { scope: "col" }))), this.#body)));
    this.#ends = [
      every(EVERY, () => this.#look()),
      feed.happened.on(({ kind }) => TELLING.has(kind) && this.#soon()),
    ];
  }

  close() {
    clearTimeout(this.#timer);
    this.#ends.forEach((end) => end());
  }

  #soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#look();
    }, 500);
  }

  async #look() {
    try {
      const { backends } = await this.#api.get("v1/backends");
      this.#draw(backends);
    } catch (error) {
      // The look at the whole tells of a gateway that does not answer.
    }
  }

  #draw(servers) {
    const shown = JSON.stringify(servers);
    if (shown === this.#shown) return; // a button that has the focus keeps it
    this.#shown = shown;
    const rows = servers.map((server) => this.#row(server));
    const none = h("tr", {}, h("td", { colspan: 8, class: "empty" }, t("no_servers")));
    fill(this.#body, ...(rows.length ? rows : [none]));
  }

  #row(server) {
    const cell = (name, text) => h("td", { class: name, "data-name": t(name) }, text);
    return h("tr", { "data-state": server.state },
      h("td", { class: "state" }, badge(word("state", server.state), tone(server.state))),
      h("td", { class: "server mono", title: server.url }, server.url),
      cell("groups", server.groups.join(", ")),
      cell("weight", number(server.weight)),
      cell("sessions", number(server.sessions)),
      cell("failures", number(server.failures)),
      cell("last_error", server.last_error ?? ""),
      h("td", { class: "action" }, this.#button(server)));
  }

  #button({ url: name, state }) {
    const verb = state === "draining" ? "resume" : "drain";
    const act = async () => {
      try {
        await this.#api.post(`v1/backends/${verb}`, { url: name });
        notify(t(verb === "drain" ? "server_drained" : "server_resumed", { name }));
      } catch (error) {
        notify(error.message, "bad");
      }
      await this.#look();
    };
    const label = t(verb === "drain" ? "drain_name" : "resume_name", { name });
    return h("button", { type: "button", "aria-label": label, onclick: act }, t(verb));
  }
}
