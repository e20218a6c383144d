// Helpers for the document, and words. What comes from a run is set as text, never as markup.

export const find = id => document.getElementById(id);
const target = it => (typeof it === "string" ? find(it) : it);

/** A new element: `element("p.soft", { title: "..." }, "text", child)`. */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = Object.assign(document.createElement(name), properties);
  made.classList.add(...classes);
  made.append(...children.map(child => (typeof child === "string" ? printable(child) : child)));
  return made;
}

/** Set the properties of an element, or of that with an id, that differ: to write the others takes time. */
export function set(it, properties) {
  it = target(it);
  for (let [name, value] of Object.entries(properties)) {
    if (name === "textContent") value = printable(value);
    if (it[name] !== value) it[name] = value;
  }
}

/** The same for an attribute; null or undefined removes it. */
export function mark(it, name, value) {
  it = target(it);
  if (value == null) it.removeAttribute(name);
  else if (it.getAttribute(name) !== String(value)) it.setAttribute(name, value);
}

/** Show a text, or hide its element where there is none. */
export const say = (it, text) => set(it, { textContent: text || "", hidden: !text });

/** A text whose marks of direction are seen, and do not act. */
export const printable = text => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, it => `\\u${it.charCodeAt().toString(16)}`);

/** Have a child for each item, in their order. Those that stay keep focus, scroll and all. */
export function list(parent, items, keyOf, make, update = () => {}) {
  parent = target(parent);
  const before = parent.kept ?? new Map();
  const wanted = new Map(items.map(item => [keyOf(item), item]));
  for (const [key, child] of before) if (!wanted.has(key)) child.remove();
  parent.kept = new Map();
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    const child = before.get(key) ?? make(item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    parent.kept.set(key, child);
    update(child, item);
  }
}

const grown = new Set(); // scrolled at once, as each measure takes a layout

/** Show the end of what has grown, unless the reader has scrolled up. */
export function follow(it) {
  it.onscroll ??= () => (it.isLeft = it.scrollHeight - it.scrollTop - it.clientHeight > 24);
  if (it.isLeft) return;
  grown.add(it);
  queueMicrotask(() => {
    for (const it of grown) it.scrollTop = it.scrollHeight;
    grown.clear();
  });
}

// Words and signs

/** What states look like without colour. */
export const MARKS = {
  running: "●", done: "✓", finished: "✓", restored: "↺", waiting: "…", paused: "?", failed: "✕",
  stopped: "■", stopping: "■", interrupted: "■",
};

export const sign = () => element("i.sign", { ariaHidden: "true" });

export function setSign(made, state) {
  mark(made, "data-state", state);
  set(made, { textContent: MARKS[state] ?? "", title: state });
}

export const counted = count => count.toLocaleString("en");
export const plural = (count, word) => `${counted(count)} ${word}${count === 1 ? "" : "s"}`;
export const joined = parts => parts.filter(Boolean).join(" · ");
export const asText = value => (typeof value === "string" ? value : JSON.stringify(value));

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(Math.max(seconds, 0) * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}
