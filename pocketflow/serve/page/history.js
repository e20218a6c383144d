// One axis of time for all that a run was: the scrubber, the store at each moment, the timeline.

import { clock, duration, element, find, joined, list, mark, plural, say, set } from "./dom.js";
import { readStore, storeKey, timelineOf } from "./server.js";
import { changed, isLive, nameOf, row, state } from "./state.js";

// Rows of the history, in words

/** Of what a row is: "Facts", "exec [3] of Facts", "finished". */
export function titleOf({ kind, id, path, status }) {
  if (kind === "begin" || kind === "status") return status ?? kind;
  const name = nameOf(id) ?? path, item = /\[\d+\]$/.exec(path)?.[0] ?? "";
  if (kind === "node" || kind === "flow") return name + item;
  return `${kind}${item && ` ${item}`} of ${name}`;
}

export const factsOf = ({ kind, action, seconds, changes, by, value }) => joined([
  kind === "answer" && `${JSON.stringify(value)}${by ? ` by ${by}` : ""}`,
  action && action !== "default" && `→ ${action}`,
  typeof seconds === "number" && duration(seconds),
  changes?.length && `changes ${changes.join(", ")}`,
]);

// The scrubber

const THUMB = 16; // pixels; the first tick is below its middle
const COLOURS = { node: "--green", flow: "--green", pause: "--amber", answer: "--amber", status: "--ink" };
let ticked = ""; // what the ticks show

find("moment").oninput = ({ target }) => look(+target.value);
find("back").onclick = () => move(-1);
find("forward").onclick = () => move(1);
find("now").onclick = () => changed({ at: null });

/** Look at a row by its index; what is behind the last one is now. */
const look = index => changed({ at: index < state.rows.length ? Math.max(index, 0) : null });

export const move = steps => look((state.at ?? state.rows.length) + steps);

export function drawHistory() {
  const { at, rows } = state, isNow = at === null;
  const words = isNow ? `Now · ${plural(rows.length, "step")}` : `${at + 1}/${rows.length} · ${titleOf(row())}`;
  set("history", { hidden: !state.run });
  set("moment", { max: String(rows.length), disabled: !rows.length });
  set("moment", { value: String(at ?? rows.length) });
  mark("moment", "aria-valuetext", words);
  set("where", { textContent: words, title: isNow ? "" : `${row().path}\n${factsOf(row())}` });
  set("back", { disabled: !rows.length || at === 0 });
  for (const id of ["forward", "now", "fork"]) set(id, { disabled: isNow || (id === "fork" && state.isBusy) });
  drawTicks();
}

function drawTicks() {
  const canvas = find("ticks"), { clientWidth: width, clientHeight: height } = canvas, colours = getComputedStyle(canvas);
  if (ticked === (ticked = `${state.id} ${state.rows.length} ${width} ${colours.color}`)) return;
  Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  const brush = canvas.getContext("2d");
  brush.scale(devicePixelRatio, devicePixelRatio);
  for (const [index, { kind, status }] of state.rows.entries()) {
    const size = kind in COLOURS ? height : height / 2;
    brush.fillStyle = colours.getPropertyValue(status === "failed" ? "--red" : (COLOURS[kind] ?? "--soft"));
    brush.fillRect(THUMB / 2 + (index / state.rows.length) * (width - THUMB) - 1, height - size, 2, size);
  }
}

// The store

export function drawStore() {
  if (state.store?.key !== storeKey()) readStore();
  const { values = [], changes = new Map(), error } = state.store ?? {};
  const removed = [...changes.keys()].filter(key => changes.get(key) === "removed").map(key => [key, ""]);
  list("values", [...values, ...removed], ([key]) => key, makeValue, (item, [key, text]) => drawValue(item, text, changes.get(key)));
  say("no-store", error ?? (state.store && !values.length && "The store is empty."));
  const change = changes.size ? `It changed ${plural(changes.size, "value")}.` : "It changed nothing.";
  say("store-note", row() ? `After step ${state.at + 1}, ${titleOf(row())}. ${change}` : "As it was recorded last.");
}

function makeValue([key]) {
  const parts = { how: element("small"), text: element("pre") };
  const item = element("div", {}, element("dt", {}, element("b", {}, key), parts.how), element("dd", {}, parts.text));
  return Object.assign(item, { parts });
}

function drawValue(item, text, how = "") {
  mark(item, "data-state", how || null); // at a moment of the past alone there are changes to show
  set(item.parts.how, { textContent: how });
  set(item.parts.text, { textContent: text });
}

// The timeline: a page of its own, in a frame that can reach nothing of this one

find("again").onclick = () => showTimeline();

export function drawTimeline() {
  const wanted = `${state.id} ${isLive(state.run)}`; // again when the run has ended
  if (find("frame").dataset.shows !== wanted) showTimeline(wanted);
}

/** In a new frame each time: another page in the same one would be a step of the browser's way back. */
function showTimeline(wanted = find("frame").dataset.shows) {
  find("frame").dataset.shows = wanted;
  const page = element("iframe", { title: "Timeline of the run", sandbox: "allow-scripts", src: timelineOf(state.id) });
  find("frame").replaceChildren(page);
  say("timeline-note", `As it was at ${clock(new Date())}.`);
}
