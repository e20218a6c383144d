// The studio: flows to start, and runs to watch, stop, answer, replay and fork.
//
// server.js hears what happens and changes state.js, as does what a person does here and in the other files. Then
// `draw` sets what differs on the screen, once a frame: there is no other way to it.

import { MARKS, counted, duration, element, find, joined, list, mark, plural, say, set, setSign, sign } from "./dom.js";
import { drawQuestions, openForm } from "./forms.js";
import { drawGraph } from "./graph.js";
import { drawHistory, drawStore, drawTimeline, step } from "./history.js";
import { drawEvents, drawOutput } from "./output.js";
import { choose, connect, fork, remove, resume, stop } from "./server.js";
import { changed, flow, isLive, onChange, secondsOf, state } from "./state.js";

const PANES = {
  welcome, graph() {}, output: drawOutput, store: drawStore, timeline: drawTimeline, events: drawEvents,
};

function draw() {
  drawRail();
  drawHead();
  drawMessages();
  drawTabs();
  drawHistory();
  drawGraph(); // when the room for it is known
  PANES[pane()]();
  if (pane() !== "timeline") list("frame", []);
  writeAddress();
}

// The rail

function drawRail() {
  const flows = [...(state.flows?.values() ?? [])];
  list("flows", flows, ({ slug }) => slug, ({ slug, name }) => element("option", { value: slug }, name));
  set("flows", { value: state.flow ?? "" });
  set("new", { disabled: !canStart() });
  const { runs, more } = state, words = find("filter").value.toLowerCase().split(" ");
  const found = (runs ?? []).filter(run => words.every(word => !word || wordsOf(run).includes(word)));
  const stop = found.find(({ run_id }) => run_id === state.id) ?? found[0]; // of the Tab key: arrow keys go on from it
  list("runs", found, ({ run_id }) => run_id, makeRun, (item, run) => drawRun(item, run, run === stop ? 0 : -1));
  const none = "No runs yet. Start one above.";
  say("no-runs", runs?.length === 0 ? none : more && `${plural(more, "older run")} not shown.`);
  set("filter", { hidden: !runs?.length });
}

const canStart = () => state.flows?.get(state.flow)?.findings.length === 0;

function makeRun({ run_id: id }) {
  const parts = { sign: sign(), name: element("span.cut"), time: element("small"), facts: element("small.cut") };
  parts.run = element("button.run", { title: id, onclick: () => choose(id) }, ...Object.values(parts));
  parts.remove = element("button.plain.remove", { title: `Delete ${id}`, onclick: () => isSure(id) && remove(id) }, "✕");
  return Object.assign(element("li", {}, parts.run, parts.remove), { parts });
}

const isSure = id => confirm(`Delete ${id}? What was recorded of it will be gone for good.`);

const wordsOf = run => JSON.stringify([flowOf(run), startOf(run), ...Object.values(run)]).toLowerCase();

function drawRun({ parts }, run, tabIndex) {
  const { run_id, status, questions } = run;
  setSign(parts.sign, status);
  say(parts.name, run_id);
  say(parts.time, timeOf(run));
  say(parts.facts, joined([questions.length ? "asks you" : status, startOf(run).replace(/, \d{4}/, ""), flowOf(run)]));
  mark(parts.run, "aria-current", run_id === state.id ? "true" : null);
  set(parts.run, { tabIndex });
  set(parts.remove, { tabIndex, hidden: isLive(run) });
}

const flowOf = run => state.flows?.get(run.flow)?.name ?? run.flow;
const START = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const startOf = run => START.format(new Date(run.started));
const timeOf = run => (run.ended || isLive(run) ? duration(secondsOf(run)) : "");

// The head

function drawHead() {
  const { run, isMissing, id, at } = state, disabled = state.busy.has(id), isPast = at !== null;
  say("name", run?.run_id ?? (isMissing ? id : flow()?.name) ?? "PocketFlow");
  say("facts", run && factsOf(run));
  say("origin", run?.fork_of && `fork of ${run.fork_of.run_id}`);
  say("status", isPast ? `As of step ${at + 1}` : run && `${MARKS[run.status]} ${run.status}`);
  mark("status", "data-state", isPast ? "changed" : run?.status);
  set("stop", { hidden: !isLive(run) || !run.is_here, disabled: disabled || run?.status === "stopping" });
  set("resume", { hidden: !canResume(run), disabled });
  set(document, { title: run ? `${MARKS[run.status]} ${run.run_id}` : "PocketFlow" });
}

const canResume = run => run?.status === "failed" || run?.status === "interrupted";

function factsOf(run) {
  const { input, output } = run.tokens ?? {};
  const tokens = input + output && `${plural(input, "token")} in, ${counted(output)} out`;
  const place = isLive(run) && !run.is_here && "runs in another process";
  return joined([flowOf(run), startOf(run), timeOf(run), tokens, run.retries && `retried ${run.retries}×`, place]);
}

// Messages, and what stands there before a run is chosen

function drawMessages() {
  set("offline", { hidden: state.connection !== "lost" });
  say("notice", state.notice);
  drawQuestions();
  const { status, error } = state.run ?? {};
  set("fault", { hidden: !canResume(state.run) || pane() === "timeline" }); // which says it, too
  mark("fault", "data-state", status);
  say("error", error ?? `The run is ${status}: it was stopped, or its process has ended.`);
}

function welcome() {
  const { id, isMissing } = state, { doc, findings = [] } = (!isMissing && flow()) || {};
  say("doc", isMissing ? `There is no run ${id}.` : doc);
  list("findings", findings, it => it, it => element("li", {}, it));
  say("advice", findings.length ? "Mend this, then it can be started." : "Start a run, or choose one to watch.");
  set("begin", { hidden: !canStart() });
  const asking = (state.runs ?? []).filter(run => run.questions.length);
  list("asking", asking, ({ run_id }) => run_id, ({ run_id: id }) =>
    element("button", { onclick: () => choose(id) }, `${id} asks you`));
}

// Tabs

const wide = matchMedia("(min-width: 1000px)"); // where the graph is always there, as in the style sheet
const tabs = [...find("tabs").children];
const pane = () => (!state.run || !state.flows ? "welcome" : state.tab === "graph" && wide.matches ? "output" : state.tab);

function drawTabs() {
  const { flows, id, run, isMissing } = state;
  mark(document.body, "data-pane", pane());
  set("side", { hidden: !flows || (id && !run && !isMissing) });
  for (const id of Object.keys(PANES)) if (id !== "graph") set(id, { hidden: id !== pane() });
  set("tabs", { hidden: !run });
  for (const tab of tabs) mark(tab, "aria-current", tab.id === `tab-${pane()}` ? "true" : null);
}

// The address keeps what is chosen: a reload and a second tab show the same

const choiceIn = hash => Object.fromEntries(new URLSearchParams(hash.slice(1)));

function writeAddress() {
  const { id, tab, flow } = state;
  const hash = `#${new URLSearchParams(id ? { run: id, tab } : { flow: flow ?? "" })}`;
  if (flow === null || hash === location.hash) return;
  const isOther = location.hash && (choiceIn(location.hash).run ?? null) !== id;
  history[isOther ? "pushState" : "replaceState"](null, "", hash);
}

function readAddress() {
  const { run = null, tab, flow } = choiceIn(location.hash);
  changed({ tab: Object.hasOwn(PANES, tab) ? tab : state.tab, flow: flow ?? state.flow });
  choose(run);
}

// What a person does

const ON = {
  new: openForm, begin: openForm, stop, resume, fork,
  origin: () => choose(state.run.fork_of.run_id),
  notice: () => changed({ notice: "" }),
  "show-keys": () => find("keys").showModal(),
  rail: ({ target }) => target.closest(".run, #new") && find("rail").hidePopover(), // on a small screen
};
for (const [id, work] of Object.entries(ON)) find(id).onclick = work;
for (const tab of tabs) tab.onclick = () => changed({ tab: tab.id.slice(4) });
find("filter").oninput = () => changed();
find("flows").onchange = ({ target }) => {
  if (!target.matches(":focus-visible")) target.blur(); // it was the mouse: keys are ours again
  changed({ flow: target.value });
  choose(null);
};

const KEYS = [
  ["n", "A new run; Ctrl+Enter starts it", openForm],
  ["j", "The next run", () => moveRun(1)],
  ["k", "The run before", () => moveRun(-1)],
  ["←", "A step back in the history", () => step(-1)],
  ["→", "A step forward", () => step(1)],
  ...tabs.slice(1).map((tab, n) => [`${n + 1}`, tab.textContent, tab.onclick]),
  ["Esc", "Back to now and to all nodes", () => changed({ at: null, node: null })],
  ["?", "These keys", ON["show-keys"]],
];
const NAMES = { ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
const IN_RUNS = { ...NAMES, ArrowUp: "k", ArrowDown: "j" }; // elsewhere these scroll

find("key-list").textContent = KEYS.map(([key, words]) => key.padEnd(5) + words).join("\n");

document.onkeydown = event => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("input, textarea, select")) return;
  const name = (target.closest("#runs") ? IN_RUNS : NAMES)[key] ?? key;
  const work = KEYS.find(([it]) => it === name)?.[2];
  if (!work) return;
  event.preventDefault();
  work();
};

/** Choose the run so many places after the chosen one. */
function moveRun(step) {
  const runs = [...find("runs").querySelectorAll(".run")];
  const next = runs[runs.findIndex(run => run.ariaCurrent) + step];
  next?.focus();
  next?.click();
}

// Begin

onChange(draw);
window.onpopstate = readAddress;
wide.onchange = () => changed();
document.onvisibilitychange = connect;
setInterval(() => state.runs?.some(isLive) && changed(), 1000);
readAddress();
