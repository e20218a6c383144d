// JSON that people write. What browsers say of a mistake differs and often names no place, so it is looked for here.

const SPACE = /[ \t\n\r]*/y;
const TEXT = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const SIMPLE = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/y;

/** A mistake, and where in the text it is. */
export class JsonError extends Error {
  constructor(what, text, at) {
    const lines = text.slice(0, at).split("\n");
    super(`Line ${lines.length}, column ${lines.at(-1).length + 1}: ${what}`);
    this.at = at;
  }
}

/** The value of a JSON text. */
export function parsed(text) {
  const end = valueEnd(text, 0);
  if (end < text.length) throw new JsonError("the value has ended before this", text, end);
  return JSON.parse(text);
}

const skip = (pattern, text, at) => ((pattern.lastIndex = at), pattern.test(text) ? pattern.lastIndex : at);
const spaceEnd = (text, at) => skip(SPACE, text, at);

/** Where the value that begins here ends, with the space around it. */
function valueEnd(text, at) {
  const start = spaceEnd(text, at);
  if (text[start] === "{") return listEnd(text, start, "}", memberEnd);
  if (text[start] === "[") return listEnd(text, start, "]", valueEnd);
  const end = Math.max(skip(TEXT, text, start), skip(SIMPLE, text, start));
  if (end === start) throw new JsonError(advice(text.slice(start)), text, start);
  return spaceEnd(text, end);
}

function listEnd(text, start, close, partEnd) {
  let at = spaceEnd(text, start + 1);
  if (text[at] === close) return spaceEnd(text, at + 1);
  at = partEnd(text, at);
  while (text[at] === ",") at = partEnd(text, at + 1);
  if (text[at] !== close) throw new JsonError(`write , or ${close} here`, text, at);
  return spaceEnd(text, at + 1);
}

function memberEnd(text, at) {
  const start = spaceEnd(text, at), end = skip(TEXT, text, start);
  if (end === start) throw new JsonError('write a name in double quotes here, as in {"topic": "bees"}', text, start);
  const colon = spaceEnd(text, end);
  if (text[colon] !== ":") throw new JsonError("write : here, between a name and its value", text, colon);
  return valueEnd(text, colon + 1);
}

function advice(rest) {
  if (rest[0] === "'") return "write texts in double quotes";
  if (/^(True|False|None)\b/.test(rest)) return "write true, false or null, in small letters";
  if (rest[0] === '"') return "this text has no end, or holds a character that has to be escaped";
  return rest ? "write a value here: a text in double quotes, a number, true, false, null, a list or an object" : "the text ends too early";
}
