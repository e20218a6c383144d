// JSON that people write. Browsers seldom say where a mistake is, so it is looked for here.

const SPACE = /[ \t\n\r]*/y;
const TEXT = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const WORD = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/y;

/** A mistake; `at` is its index in the text. */
export class JsonError extends Error {
  constructor(advice, text, at) {
    const lines = text.slice(0, at).split("\n");
    super(`Line ${lines.length}, column ${lines.at(-1).length + 1}: ${advice}.`);
    this.at = at;
  }
}

/** The value of a JSON text. */
export function parsed(text) {
  const end = valueEnd(text, 0);
  if (end < text.length) throw new JsonError("the value ends before this", text, end);
  return JSON.parse(text);
}

const after = (pattern, text, at) => ((pattern.lastIndex = at), pattern.test(text) ? pattern.lastIndex : at);
const skipSpace = (text, at) => after(SPACE, text, at);

/** Where a value ends, with the space before and after it. */
function valueEnd(text, at) {
  const start = skipSpace(text, at);
  if (text[start] === "{") return partsEnd(text, start, "}", memberEnd);
  if (text[start] === "[") return partsEnd(text, start, "]", valueEnd);
  const end = Math.max(after(TEXT, text, start), after(WORD, text, start));
  if (end === start) throw new JsonError("write a number, true, false, null, or a text in double quotes", text, start);
  return skipSpace(text, end);
}

function partsEnd(text, start, close, partEnd) {
  let at = skipSpace(text, start + 1);
  if (text[at] === close) return skipSpace(text, at + 1);
  at = partEnd(text, at);
  while (text[at] === ",") at = partEnd(text, at + 1);
  if (text[at] !== close) throw new JsonError(`write , or ${close} here`, text, at);
  return skipSpace(text, at + 1);
}

function memberEnd(text, at) {
  const start = skipSpace(text, at), end = after(TEXT, text, start), colon = skipSpace(text, end);
  if (end === start) throw new JsonError("write a name in double quotes here", text, start);
  if (text[colon] !== ":") throw new JsonError("write : here, between the name and its value", text, colon);
  return valueEnd(text, colon + 1);
}
