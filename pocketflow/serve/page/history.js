// One axis of time for all that a run was: the scrubber, the store at each moment, the timeline.

import { duration, element, find, joined, list, mark, plural, say, set } from "./dom.js";
import { readMoment, timelineOf } from "./server.js";
import { unescaped } from "./json.js";
import { changed, isLive, nameOf, row, state } from "./state.js";

// Rows of the history, in words

const isMark = ({ kind }) => kind === "begin" || kind === "status"; // and not a step
const isEnd = ({ kind, path }) => (kind === "flow" || kind === "node") && !path.includes("/"); // of the whole flow

/** Of what a row is: "Facts", "exec [3] of Facts", "finished". */
export function titleOf({ n, kind, id, path, status }) {
  if (isMark({ kind })) return n < 2 && status !== "running" ? "created" : status;
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

const TICKS = { node: "done", flow: "done", pause: "waiting", answer: "waiting", failed: "failed" }; // states of ticks

find("moment").oninput = ({ target }) => look(+target.value);
find("back").onclick = () => step(-1);
find("forward").onclick = () => step(1);
find("now").onclick = () => changed({ at: null });

/** Look at a row by its index; what is behind the last one is now. */
const look = index => changed({ at: index < state.rows.length ? index : null });

export const step = by => look(Math.max((state.at ?? state.rows.length) + by, 0));

export function drawHistory() {
  const { at, rows } = state, isNow = at === null;
  const words = isNow ? `Now · ${plural(rows.length, "step")}` : `${at + 1}/${rows.length} · ${titleOf(row())}`;
  set("history", { hidden: !state.run });
  set("moment", { max: String(rows.length), disabled: !rows.length });
  set("moment", { value: String(at ?? rows.length) });
  mark("moment", "aria-valuetext", words);
  say("where", words);
  set("back", { disabled: !rows.length || at === 0 });
  for (const id of ["forward", "now"]) set(id, { disabled: isNow });
  set("fork", { disabled: isNow || isEnd(row()) || state.busy.has(state.id) });
  drawTicks();
  if (!isNow || state.tab === "store") readMoment();
}

/** A tick where a visit ended, a person was asked, or the run failed. */
function drawTicks() {
  const { rows } = state, ticks = find("ticks"), stateOf = ({ kind, status }) => TICKS[status] ?? TICKS[kind];
  if (ticks.rows === rows) return;
  ticks.rows = rows;
  mark(ticks, "viewBox", `0 0 ${rows.length} 1`);
  for (const path of ticks.children) {
    mark(path, "d", rows.map((row, at) => (stateOf(row) === path.dataset.state ? `M${at} 0v1` : "")).join(""));
  }
}

// The store

export function drawStore() {
  const { store = new Map(), changes = new Map(), error } = state.moment ?? {};
  const keys = [...new Set([...changes.keys(), ...store.keys()])]; // what was removed is in `changes` alone
  list("values", keys, key => key, makeValue, ({ parts }, key) => {
    const how = row() && changes.get(key);
    mark(parts.item, "data-state", how);
    say(parts.how, how);
    say(parts.text, unescaped(store.get(key)));
  });
  say("no-store", error ?? (state.moment && !keys.length && "The store is empty."));
  const step = row(), change = step && !isMark(step) && `${changes.size ? plural(changes.size, "value") : "nothing"} changed`;
  say("store-note", step ? joined([`After step ${state.at + 1}`, titleOf(step), change]) : "As it was recorded last.");
}

function makeValue(key) {
  const parts = { how: element("small"), text: element("pre") };
  parts.item = element("div", {}, element("dt", {}, element("b", {}, key), parts.how), element("dd", {}, parts.text));
  return Object.assign(parts.item, { parts });
}

// The timeline: a page of its own, in a frame that can reach nothing of this one

export function drawTimeline() {
  set("opened", { hidden: !isLive(state.run) });
  list("frame", [`${state.id} ${isLive(state.run)}`], key => key, makeTimeline); // again when the run has ended
}

/** In a new frame, as another page in the old one would be a step on the browser's way back. */
const makeTimeline = () =>
  element("iframe", { title: "Timeline of the run", sandbox: "allow-scripts", src: timelineOf(state.id) });
