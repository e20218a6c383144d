// JSON that people write and read.

/** A JSON text as it is, as its numbers may have more digits than a browser keeps; raises where it is none. */
export const checked = text => (JSON.parse(text), text);

const IS_JSON = /^[[{]\n (?! )/; // as the server writes what is no text: with an indent of one
const NUMBERS = /\[\n([^"[\]{}]+)\]/g; // a list of them, or of other short values
const ROW = /^ ( *)("(?:[^"\\]|\\.)*": )?(.*?),?$/; // a line of a list or an object: its indent, key and value
const plain = text => text.replace(/\\(["\\nt])/g, (_, it) => ({ n: "\n", t: "\t" })[it] ?? it);
const wordsOf = value => (/^[[{]$/.test(value) ? "" : plain(value.replace(/^"|"$/g, "")));

/** What the server wrote as JSON, with the texts in it as one reads them. */
export const unescaped = (text = "") => (IS_JSON.test(text) ? plain(text) : text);

/** The same in rows, without the signs of JSON; and the words of a stream, with the space around them, as one text. */
export function readable(json) {
  if (!IS_JSON.test(json)) return json;
  const text = json.replace(NUMBERS, (_, list) => `[${list.trim().replace(/\s+/g, " ")}]`);
  const rows = text.split("\n").map(line => ROW.exec(line)).filter(row => row && !/^[\]}]$/.test(row[3]));
  const words = rows.map(([, , , value]) => wordsOf(value));
  const isStream = rows.every(([, , key, value]) => !key && value[0] === '"') && words.some(it => it !== it.trim());
  return (isStream ? words.join("") : rows.map(inRow).join("\n").replace(/^( *• )\n +/gm, "$1")) || text;
}

function inRow([, indent, key, value]) {
  const name = key ? `${wordsOf(key.slice(0, -2))}: ` : "• ";
  return (indent + indent + name + wordsOf(value)).replaceAll("\n", `\n${indent}${indent}`);
}
