// The page's language.

import { Signal } from "./signal.js";
import { TEXTS } from "./texts.js";

export const LANGUAGES = { en: "English", zh: "中文" };
const COLUMN = { en: 0, zh: 1 };

/** Told when another language is chosen. */
export const languageChanged = new Signal();

let current = (navigator.language ?? "en").toLowerCase().startsWith("zh") ? "zh" : "en";

export function language() {
  return current;
}

export function choose(name) {
  current = name;
  tell();
  languageChanged.tell();
}

/** A text in the language in use, with these values in it. */
export function t(key, values = {}) {
  return put(TEXTS[key][COLUMN[current]], values);
}

/** A text with `{name}` replaced by the value of that name. */
export function put(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The text for a word of the gateway's, or the word itself where there is none. */
export function word(prefix, name) {
  const key = `${prefix}_${name}`;
  return Object.hasOwn(TEXTS, key) ? t(key) : String(name);
}

/** Let the document say what language it is in. */
export function tell() {
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
}
