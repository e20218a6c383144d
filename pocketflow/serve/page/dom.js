// Small helpers for the document, and how the page says things. All text goes through textContent.

export const find = id => document.getElementById(id);

/** A new element: `element("p.soft.small", {title: "..."}, "text", child)`. */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = Object.assign(document.createElement(name), properties);
  if (classes.length) made.className = classes.join(" ");
  made.append(...children);
  return made;
}

/** The same for a picture, where attributes are set. */
export function drawing(tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** Set properties that differ: writing what is there already would cost a layout, or move the cursor of a field. */
export function set(target, properties) {
  for (const [name, value] of Object.entries(properties)) if (target[name] !== value) target[name] = value;
}

/** Set an attribute that differs; null removes it. */
export function mark(target, name, value) {
  if (value === null) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** Show a text, or hide the element where there is none. */
export function say(target, text) {
  set(target, { textContent: text, hidden: !text });
}

/** Make the children of `parent` those of `items`, in their order. What stays is kept: focus, scroll and all. */
export function list(parent, items, keyOf, make, update) {
  const before = parent.kept ?? new Map();
  const kept = (parent.kept = new Map(items.map(item => [keyOf(item), item])));
  for (const [key, child] of before) if (!kept.has(key)) child.remove();
  let place = parent.firstElementChild;
  for (const [key, item] of kept) {
    const child = before.get(key) ?? make(item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    kept.set(key, child);
    update(child, item);
  }
}

/** Run `write`, and stay at the end of what scrolls if it was there: who scrolled up reads on undisturbed. */
export function following(scroller, write) {
  const wasAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 24;
  write();
  if (wasAtEnd) scroller.scrollTop = scroller.scrollHeight;
}

// Words

/** How a state looks without colour. */
export const MARKS = {
  running: "●", done: "✓", finished: "✓", restored: "↺", waiting: "…", paused: "?", failed: "✕", stopped: "■",
  interrupted: "■",
};

/** The mark of a state, which stands beside its word. */
export function sign(stateName) {
  const made = element("i.sign", { textContent: MARKS[stateName] ?? "" });
  made.dataset.state = stateName;
  made.setAttribute("aria-hidden", "true");
  return made;
}

const many = new Intl.NumberFormat("en");
export const number = value => many.format(value);
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
export const retries = count => (count ? `${number(count)} ${count === 1 ? "retry" : "retries"}` : "");

/** Seconds, for people. */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(Math.max(seconds, 0) * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}

/** JSON as text; a text as it is. */
export const shown = value => (typeof value === "string" ? value : JSON.stringify(value, null, 1));
