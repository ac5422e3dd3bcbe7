// A form made from a JSON schema, and the object that it was filled in with.

import { field, h } from "./dom.js";
import { t } from "./i18n.js";

/** What was typed into a field cannot be its value. */
export class FormError extends Error {}

export class SchemaForm {
  #parts;

  /** Take a tool's `inputSchema`, whatever the device made of it. */
  constructor(schema) {
    const properties = isObject(schema?.properties) ? schema.properties : {};
    const required = new Set(Array.isArray(schema?.required) ? schema.required : []);
    this.#parts = Object.entries(properties).map(([name, each]) =>
      newPart(name, isObject(each) ? each : {}, required.has(name)));
    this.elements = this.#parts.map((part) => part.element);
  }

  /** The arguments; raises FormError. Optional fields that are empty are left out. */
  value() {
    const found = [];
    for (const { name, read } of this.#parts) {
      const value = read();
      if (value !== undefined) found.push([name, value]);
    }
    return Object.fromEntries(found);
  }
}

function newPart(name, schema, required) {
  const { input, read, hint = null } = newInput(name, schema, required);
  input.name = name;
  input.required = required && !(input instanceof HTMLInputElement && input.type === "text");
  const notes = [hint, required ? null : t("optional"), text(schema.description)];
  return { name, read, element: field(name, input, notes.filter(Boolean).join(" · ") || null) };
}

function newInput(name, schema, required) {
  if (Array.isArray(schema.enum)) return choice(schema.enum, schema.default, required);
  switch (typeOf(schema)) {
    case "boolean":
      return choice([true, false], schema.default, required);
    case "integer":
    case "number":
      return numeric(schema);
    case "string":
      return line(schema, required);
  }
  return json(name, schema);
}

function choice(values, preset, required) {
  const options = values.map((value, i) =>
    h("option", { value: i, selected: value === preset }, text(value) ?? JSON.stringify(value)));
  const none = required ? [] : [h("option", { value: "", selected: preset === undefined }, t("left_out"))];
  const input = h("select", {}, ...none, ...options);
  return { input, read: () => (input.value === "" ? undefined : values[Number(input.value)]) };
}

function numeric({ type, minimum, maximum, multipleOf, default: preset }) {
  const whole = type === "integer" || type?.includes?.("integer");
  const input = h("input", {
    type: "number",
    min: finite(minimum),
    max: finite(maximum),
    step: finite(multipleOf) ?? (whole ? 1 : "any"),
    value: finite(preset),
  });
  const [least, most] = [finite(minimum), finite(maximum)];
  const hint = least === null && most === null ? null : `${least ?? ""} … ${most ?? ""}`;
  return { input, hint, read: () => (input.value === "" ? undefined : input.valueAsNumber) };
}

function line({ default: preset, maxLength }, required) {
  const input = h("input", { type: "text", value: text(preset), maxlength: finite(maxLength) });
  return { input, read: () => (input.value === "" && !required ? undefined : input.value) };
}

function json(name, { default: preset }) {
  const input = h("textarea", { rows: 3, spellcheck: "false" },
    preset === undefined ? null : JSON.stringify(preset));
  const read = () => {
    if (input.value.trim() === "") return undefined;
    try {
      return JSON.parse(input.value);
    } catch (error) {
      throw new FormError(t("not_json", { name, why: error.message }));
    }
  };
  return { input, read, hint: t("as_json") };
}

function typeOf({ type }) {
  return Array.isArray(type) ? type.find((each) => each !== "null") : type;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function finite(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function text(value) {
  return typeof value === "string" ? value : null;
}
