// A device's MCP tools: what each is, a form to call it, and what came of that.

import { devicePath } from "./api.js";
import { fill, h, panel, say } from "./dom.js";
import { milliseconds } from "./format.js";
import { t } from "./i18n.js";
import { FormError, SchemaForm } from "./schema_form.js";

const PATIENCE = 30; // s that a device has to answer
const MARGIN = 5; // s more for the answer's way
const MOST = 20000; // characters of a result

export class ToolsPanel {
  #api;
  #id;
  #note = h("p", { class: "dim" });
  #list = h("div", { class: "tools" });
  #shown = "";

  constructor(api, id) {
    this.#api = api;
    this.#id = id;
    this.element = panel(t("tools"), { id: "tools" }, this.#note, this.#list);
  }

  /** Ask for the tools, and show them if they are others than before. */
  async load() {
    try {
      const { tools } = await this.#api.get(devicePath(this.#id, "/tools"));
      say(this.#note, tools.length ? "" : t("tools_none"));
      const shown = JSON.stringify(tools);
      if (shown === this.#shown) return;
      this.#shown = shown;
      fill(this.#list, ...tools.map((tool) => this.#entry(tool)));
    } catch (error) {
      say(this.#note, error.message);
    }
  }

  #entry({ name, description, inputSchema }) {
    const entry = h("details", { class: "tool", "data-tool": name },
      h("summary", {}, h("code", {}, name)), h("p", { class: "description" }, description));
    const open = () => entry.append(this.#form(name, inputSchema));
    entry.addEventListener("toggle", open, { once: true });
    return entry;
  }

  #form(name, schema) {
    const form = new SchemaForm(schema);
    const button = h("button", { class: "primary" }, t("call"));
    const verdict = h("p", { class: "dim", role: "status" });
    const output = h("pre", { class: "result", hidden: true, tabindex: "0" });
    const call = async (event) => {
      event.preventDefault();
      button.disabled = true;
      say(verdict, t("calling"));
      const { tone, title, text } = await this.#call(name, form);
      say(verdict, title);
      say(output, text);
      output.className = `result ${tone}`;
      output.hidden = false;
      button.disabled = false;
    };
    return h("form", { onsubmit: call }, ...form.elements,
      h("div", { class: "row" }, button, verdict), output);
  }

  async #call(name, form) {
    const begun = performance.now();
    const took = () => ({ time: milliseconds(performance.now() - begun) });
    try {
      const path = devicePath(this.#id, `/tools/${encodeURIComponent(name)}?timeout=${PATIENCE}`);
      const { result } = await this.#api.post(path, form.value(), PATIENCE + MARGIN);
      const tone = result?.isError ? "bad" : "ok";
      return { tone, title: t("result_in", took()), text: readable(result).slice(0, MOST) };
    } catch (error) {
      const title = error instanceof FormError ? "" : t("failed_in", took());
      return { tone: "bad", title, text: error.message };
    }
  }
}

/** A result's texts, JSON in them laid out; all of it if it has another form. */
function readable(result) {
  const content = result?.content;
  if (!Array.isArray(content)) return JSON.stringify(result, null, 2);
  return content.map((item) => {
    if (typeof item?.text === "string") return laidOut(item.text);
    const size = JSON.stringify(item).length;
    return t("content_of", { type: item?.mimeType ?? item?.type, size });
  }).join("\n");
}

function laidOut(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch (error) {
    return text;
  }
}
