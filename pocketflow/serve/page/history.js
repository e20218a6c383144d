// One axis of time for all that a run was: the scrubber, the store at each moment, the timeline.

import { duration, element, find, joined, list, mark, plural, say, set } from "./dom.js";
import { readMoment, timelineOf } from "./server.js";
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

const TICKS = { node: "done", flow: "done", pause: "waiting", answer: "waiting" }; // kind of a row -> state of its tick

find("moment").oninput = ({ target }) => look(+target.value);
find("back").onclick = () => step(-1);
find("forward").onclick = () => step(1);
find("now").onclick = () => changed({ at: null });

/** Look at a row by its index; what is behind the last one is now. */
const look = index => changed({ at: index < state.rows.length ? Math.max(index, 0) : null });

export const step = by => look((state.at ?? state.rows.length) + by);

export function drawHistory() {
  const { at, rows } = state, isNow = at === null;
  const words = isNow ? `Now · ${plural(rows.length, "step")}` : `${at + 1}/${rows.length} · ${titleOf(row())}`;
  set("history", { hidden: !state.run });
  set("moment", { max: String(rows.length), disabled: !rows.length });
  set("moment", { value: String(at ?? rows.length) });
  mark("moment", "aria-valuetext", words);
  say("where", words);
  set("back", { disabled: !rows.length || at === 0 });
  for (const id of ["forward", "now", "fork"]) set(id, { disabled: isNow || (id === "fork" && state.isBusy) });
  drawTicks();
  if (!isNow || state.tab === "store") readMoment();
}

/** A tick for each row; a long one where a visit ended or a person was asked. */
function drawTicks() {
  const { rows } = state, [plain, ...states] = find("ticks").children;
  if (find("ticks").rows === rows) return;
  find("ticks").rows = rows;
  mark("ticks", "viewBox", `0 0 ${rows.length} 2`);
  const stateOf = ({ kind, status }) => (status === "failed" ? status : TICKS[kind]);
  const lines = (wanted, size) => rows.map((row, at) => (stateOf(row) === wanted ? `M${at} 2v${size}` : "")).join("");
  mark(plain, "d", lines(undefined, -1));
  for (const path of states) mark(path, "d", lines(path.dataset.state, -2));
}

// The store

export function drawStore() {
  const { store = new Map(), changes = new Map(), error } = state.moment ?? {};
  const keys = [...new Set([...changes.keys(), ...store.keys()])]; // what was removed is in `changes` alone
  list("values", keys, key => key, makeValue, ({ parts }, key) => {
    const how = row() && changes.get(key);
    mark(parts.item, "data-state", how);
    say(parts.how, how);
    say(parts.text, store.get(key));
  });
  say("no-store", error ?? (state.moment && !keys.length && "The store is empty."));
  const change = changes.size ? plural(changes.size, "value") : "nothing";
  const after = row() && `After step ${state.at + 1}, ${titleOf(row())}, which changed ${change}.`;
  say("store-note", after ?? "As it was recorded last.");
}

function makeValue(key) {
  const parts = { how: element("small"), text: element("pre") };
  parts.item = element("div", {}, element("dt", {}, element("b", {}, key), parts.how), element("dd", {}, parts.text));
  return Object.assign(parts.item, { parts });
}

// The timeline: a page of its own, in a frame that can reach nothing of this one

find("again").onclick = () => showTimeline();

export function drawTimeline() {
  const wanted = `${state.id} ${isLive(state.run)}`; // again when the run has ended
  set("opened", { hidden: !isLive(state.run) });
  if (find("frame").dataset.shows !== wanted) showTimeline(wanted);
}

/** In a new frame, as another page in the old one would be a step on the browser's way back. */
function showTimeline(wanted = find("frame").dataset.shows) {
  find("frame").dataset.shows = wanted;
  const page = element("iframe", { title: "Timeline of the run", sandbox: "allow-scripts", src: timelineOf(state.id) });
  find("frame").replaceChildren(page);
}
