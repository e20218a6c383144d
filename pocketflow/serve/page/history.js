// One axis of time for all that a run was: the scrubber, the store at each moment, and the timeline.

import { duration, element, find, list, mark, plural, say, set } from "./dom.js";
import { changed, isLive, nameOf, row, state } from "./state.js";
import { readStore, storeKey, timelineOf } from "./server.js";

// Rows in words

/** What a row of the history is of: "Facts", "exec [3] of Facts". */
export function what({ kind, id, path, status }) {
  const item = path?.match(/\[\d+\]$/)?.[0] ?? "";
  if (kind === "begin") return "Begin";
  if (kind === "status") return status ?? "status";
  const name = id === null ? path : nameOf(id);
  return kind === "node" || kind === "flow" ? `${name}${item}` : `${kind}${item && ` ${item}`} of ${name}`;
}

export function facts({ kind, action, seconds, changes, by, value }) {
  const answered = kind === "answer" ? `${JSON.stringify(value)}${by ? ` by ${by}` : ""}` : "";
  const changed = changes?.length ? `changes ${changes.join(", ")}` : "";
  const time = seconds === null || seconds === undefined ? "" : duration(seconds);
  return [answered, action && action !== "default" ? `→ ${action}` : "", time, changed].filter(Boolean).join(" · ");
}

// The scrubber

find("moment").oninput = ({ target }) => look(+target.value);
find("back").onclick = () => move(-1);
find("forward").onclick = () => move(1);
find("now").onclick = () => changed({ at: null });

/** Look at a row of the history by its index; after the last one is now. */
const look = index => changed({ at: index < state.rows.length ? Math.max(index, 0) : null });

export const move = steps => state.rows.length && look((state.at ?? state.rows.length) + steps);

export function drawHistory() {
  const count = state.rows.length, moment = row();
  set(find("history"), { hidden: !state.run });
  set(find("moment"), { max: String(count), disabled: !count });
  set(find("moment"), { value: String(state.at ?? count) });
  mark(find("moment"), "aria-valuetext", moment ? `Step ${state.at + 1} of ${count}: ${what(moment)}` : "Now");
  set(find("back"), { disabled: !count || state.at === 0 });
  set(find("forward"), { disabled: state.at === null });
  set(find("now"), { disabled: state.at === null });
  set(find("fork"), { hidden: !moment, disabled: state.isBusy });
  set(find("where"), { textContent: moment ? `${state.at + 1}/${count} · ${what(moment)}` : `Now · ${plural(count, "step")}`, title: moment ? `${moment.path}\n${facts(moment)}` : "" });
  drawTicks();
}

const COLOURS = { node: "--done", flow: "--done", pause: "--waiting", answer: "--waiting", status: "--ink" };
const THUMB = 18; // pixels, as in the style sheet
let ticked = "";

/** A tick for each row; they are drawn again only where something changed. */
function drawTicks() {
  const canvas = find("ticks"), { clientWidth: width, clientHeight: height } = canvas;
  const styles = getComputedStyle(canvas), key = `${state.id} ${state.rows.length} ${width} ${styles.color}`;
  if (key === ticked || !width) return;
  ticked = key;
  Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  const brush = canvas.getContext("2d");
  brush.scale(devicePixelRatio, devicePixelRatio);
  state.rows.forEach(({ kind, status }, index) => {
    const x = THUMB / 2 + (index / state.rows.length) * (width - THUMB);
    const isTall = kind in COLOURS;
    brush.fillStyle = styles.getPropertyValue(status === "failed" ? "--failed" : (COLOURS[kind] ?? "--soft"));
    brush.fillRect(x - 1, isTall ? 0 : height / 2, 2, isTall ? height : height / 2);
  });
}

// The store

export function drawStore() {
  if (!state.run) return say(find("no-store"), "");
  if (state.store?.key !== storeKey()) readStore();
  const { values, changes, error } = state.store ?? { values: [], changes: new Map() };
  const removed = [...changes].filter(([, how]) => how === "removed").map(([key]) => [key, ""]);
  list(find("values"), [...values, ...removed], ([key]) => key, makeValue, (item, [key, text]) => drawValue(item, text, changes.get(key)));
  say(find("no-store"), error ?? (state.store && !values.length ? "The store is empty." : ""));
  say(find("store-note"), state.at === null ? "As it was recorded last." : `After step ${state.at + 1}, ${what(row())}. ${changedBy(changes)}`);
}

const changedBy = ({ size }) => (size ? `It changed ${plural(size, "value")}.` : "It changed nothing.");

function makeValue([key]) {
  const item = element("div", {}, element("dt", {}, element("b", {}, key), element("small")), element("dd", {}, element("pre")));
  item.parts = { how: item.querySelector("small"), text: item.querySelector("pre") };
  return item;
}

function drawValue(item, text, how = "") {
  mark(item, "data-how", how || null);
  set(item.parts.how, { textContent: how });
  set(item.parts.text, { textContent: text });
}

// The timeline: a page of its own, in a frame that can reach nothing of this one

find("again").onclick = () => frame();

export function drawTimeline() {
  const wanted = state.run ? `${state.id} ${isLive(state.run)}` : "";
  if (find("frame").dataset.shows !== wanted) frame(wanted);
}

function frame(shows = find("frame").dataset.shows) {
  find("frame").dataset.shows = shows;
  const page = element("iframe", { title: "Timeline of the run", sandbox: "allow-scripts", src: timelineOf(state.id) });
  find("frame").replaceChildren(...(shows ? [page] : [])); // a new one, as another page in the same one would be a step in the browser's history
  say(find("timeline-note"), shows ? `As it was at ${new Date().toTimeString().slice(0, 8)}.` : "");
}
