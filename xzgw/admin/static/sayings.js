// Sentences of the gateway's, which come in English and as data, in the page's language.

import { duration } from "./format.js";
import { language, put } from "./i18n.js";
import { CHINESE } from "./sayings_zh.js";

const TEXTS = { zh: CHINESE };

/**
 * A sentence in the language in use; in English if not all that it is made of is known here.
 * @param {string} sentence in English
 * @param {{id: string, values: object}[]} parts the texts in it, and the values in those
 */
export function said(sentence, parts = []) {
  const texts = TEXTS[language()];
  const known = texts && parts.length && parts.every(({ id }) => Object.hasOwn(texts, id));
  return known ? parts.map(({ id, values }) => put(texts[id], shown(values))).join("") : sentence;
}

function shown(values) {
  const spans = Object.entries(values).filter(([name]) => name.endsWith("seconds"));
  return { ...values, ...Object.fromEntries(spans.map(([name, value]) => [name, duration(value)])) };
}
