// JSON that people write and read.

import { asText } from "./dom.js";

/** A JSON text as it is, as its numbers may have more digits than a browser keeps; raises where it is none. */
export const checked = text => (JSON.parse(text), text);

const IS_JSON = /^[[{]\n (?! )/; // as the server writes what is no text: with an indent of one

/** What the server wrote as JSON, with the texts in it as one reads them. */
export const unescaped = (text = "") =>
  IS_JSON.test(text) ? text.replace(/\\(["\\n])/g, (_, it) => (it === "n" ? "\n" : it)) : text;

/** A list or an object in rows, and the words of a stream, with the space around them, as one text. */
export function readable(text) {
  try {
    return IS_JSON.test(text) ? inRows(JSON.parse(text)) : text;
  } catch {
    return text; // it is cut
  }
}

function inRows(value) {
  if (!Array.isArray(value)) return Object.entries(value).map(([key, part]) => `${key}: ${asText(part)}`).join("\n");
  const isStream = value.every(part => typeof part === "string") && value.some(part => part !== part.trim());
  return isStream ? value.join("") : value.map(part => `• ${asText(part)}`).join("\n");
}
