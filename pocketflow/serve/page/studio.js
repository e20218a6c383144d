// The studio: flows to start, and their runs to watch, stop, answer, replay and fork.
//
//   state.js    the one state of the page, and how what the server tells changes it
//   server.js   what is asked of the server, and the connection over which it tells
//   graph.js    the picture of the flow          output.js   cards and events
//   history.js  scrubber, store and timeline     forms.js    what a person fills in
//   dom.js      helpers for the document         json.js     JSON that people write
//
// There is one way from the state to the screen: `draw`, before the next frame after a change. It sets what differs.

import { MARKS, duration, element, find, list, mark, number, plural, retries, say, set, shown, sign } from "./dom.js";
import { askToDelete, drawQuestions, openForm } from "./forms.js";
import { drawGraph } from "./graph.js";
import { drawHistory, drawStore, drawTimeline, move } from "./history.js";
import { drawEvents, drawOutput } from "./output.js";
import { choose, connect, fork, resume, stop } from "./server.js";
import { changed, flow, isLive, onChange, secondsOf, state } from "./state.js";

const PANES = { graph: () => {}, output: drawOutput, store: drawStore, timeline: drawTimeline, events: drawEvents };

function draw() {
  drawRail();
  drawHead();
  drawBands();
  drawTabs();
  drawGraph();
  PANES[state.tab]();
  drawHistory();
  drawMessages();
  writeHash();
}

// The rail

function drawRail() {
  const flows = [...(state.flows?.values() ?? [])];
  list(find("flows"), flows, ({ slug }) => slug, ({ slug, name }) => element("option", { value: slug }, name), () => {});
  set(find("flows"), { value: state.flow ?? "", disabled: flows.length < 2 });
  set(find("new"), { disabled: !flow() || flow().findings.length > 0 });
  list(find("runs"), state.runs ?? [], run => run.run_id, makeRun, drawRun);
  say(find("no-runs"), state.runs?.length === 0 ? "No runs yet. Start one above, or from the command line with the same journal." : "");
  say(find("more-runs"), state.more ? `${plural(state.more, "older run")} not shown.` : "");
  mark(document.body, "data-rail", state.isRailOpen ? "open" : null);
  mark(find("open-rail"), "aria-expanded", state.isRailOpen);
  set(find("veil"), { hidden: !state.isRailOpen });
}

function makeRun({ run_id }) {
  const item = element("li"), parts = (item.parts = { sign: sign("running"), time: element("small"), facts: element("small.facts") });
  parts.choose = element("button.run", { title: run_id, onclick: () => choose(run_id) });
  parts.choose.append(parts.sign, element("b", {}, run_id), parts.time, parts.facts);
  parts.remove = element("button.plain.remove", { title: "Delete this run", ariaLabel: `Delete ${run_id}`, onclick: () => askToDelete(run_id) }, "✕");
  item.append(parts.choose, parts.remove);
  return item;
}

function drawRun({ parts }, run) {
  mark(parts.sign, "data-state", run.status);
  set(parts.sign, { textContent: MARKS[run.status] });
  set(parts.time, { textContent: timeOf(run) });
  set(parts.facts, { textContent: [run.status, waitsFor(run), state.flows?.size > 1 ? run.flow : "", tokensOf(run)].filter(Boolean).join(" · ") });
  mark(parts.choose, "aria-current", run.run_id === state.id ? "true" : null);
  set(parts.remove, { hidden: isLive(run) });
}

const timeOf = run => (run.ended || isLive(run) ? duration(secondsOf(run)) : "");

function waitsFor({ status, questions }) {
  if (status === "waiting") return "for another to end";
  return questions.length > 1 ? `asks ${questions.length} questions` : questions.length ? "asks you" : "";
}

function tokensOf({ tokens }) {
  const sum = tokens.input + tokens.output;
  return sum ? plural(sum, "token") : "";
}

// The head

function drawHead() {
  const { run } = state;
  say(find("name"), run?.run_id ?? (state.isMissing ? state.id : flow()?.name) ?? "PocketFlow");
  set(find("name"), { title: find("name").textContent });
  drawFacts(run);
  say(find("status"), run ? `${MARKS[run.status]} ${run.status}` : "");
  mark(find("status"), "data-state", run?.status ?? null);
  set(find("stop"), { hidden: !isLive(run) || !run.is_here, disabled: state.isBusy });
  set(find("resume"), { hidden: !["failed", "interrupted"].includes(run?.status), disabled: state.isBusy });
  set(document, { title: run ? `${MARKS[run.status]} ${run.run_id}` : "PocketFlow" });
}

function drawFacts(run) {
  const { input, output } = run?.tokens ?? {};
  const tokens = input || output ? `${number(input)} in, ${number(output)} out` : "";
  const place = isLive(run) && !run.is_here ? "runs in another process" : "";
  const facts = run ? [run.flow, timeOf(run), tokens, retries(run.retries), place] : [];
  say(find("facts"), facts.filter(Boolean).join(" · "));
  say(find("origin"), run?.fork_of ? `fork of ${run.fork_of.run_id}` : "");
}

// What stands above the tabs

function drawBands() {
  const { run } = state;
  drawQuestions(find("questions"));
  set(find("fault"), { hidden: run?.status !== "failed" });
  set(find("error"), { textContent: run?.error ?? "" });
  set(find("retry"), { disabled: state.isBusy });
  set(find("welcome"), { hidden: run !== null });
  if (!run) drawWelcome();
}

function drawWelcome() {
  const { name, doc, findings = [] } = flow() ?? {};
  say(find("welcome-title"), state.isMissing ? `There is no run ${state.id}` : (name ?? ""));
  say(find("doc"), state.isMissing ? "It may have been deleted. Choose another one, or start one." : (doc ?? ""));
  list(find("findings"), findings, it => it, it => element("li", {}, it), () => {});
  say(find("welcome-note"), state.flows === null ? "" : findings.length ? "This flow cannot be started before this is mended." : "Start it, or choose a run on the left.");
  set(find("begin"), { hidden: !flow() || findings.length > 0 });
}

// Tabs

const wide = matchMedia("(min-width: 760px)"); // where the graph always shows beside them, as in the style sheet
const tab = () => (state.tab === "graph" && wide.matches ? "output" : state.tab);

function drawTabs() {
  mark(document.body, "data-tab", state.run ? tab() : "none");
  for (const button of find("tabs").children) {
    const isChosen = button.id === `tab-${tab()}`;
    mark(button, "aria-selected", isChosen);
    set(button, { tabIndex: isChosen ? 0 : -1 });
  }
}

function moveTab(step) {
  const shown = [...find("tabs").children].filter(button => button.offsetParent);
  const next = shown.at((shown.findIndex(button => button.id === `tab-${tab()}`) + step) % shown.length);
  next.focus();
  next.click();
}

// Messages

let said = "";

function drawMessages() {
  const { run } = state;
  set(find("offline"), { hidden: state.connection !== "lost" });
  set(find("notice"), { hidden: !state.notice });
  set(find("notice-text"), { textContent: state.notice });
  const words = run ? `${run.run_id} is ${run.status}. ${run.questions.map(it => shown(it.question)).join(" ")}` : "";
  if (words !== said) find("said").textContent = said = words; // read out by screen readers
}

// The address keeps what is chosen, so that a reload and a second tab show the same

function hash() {
  const { id, flow } = state;
  return `#${new URLSearchParams(id ? { run: id, tab: state.tab } : flow ? { flow } : {})}`;
}

function writeHash() {
  if (state.flows === null || location.hash === hash()) return;
  const isSameRun = read(location.hash).run === (state.id ?? undefined);
  history[isSameRun || !location.hash ? "replaceState" : "pushState"](null, "", hash());
}

const read = hash => Object.fromEntries(new URLSearchParams(hash.slice(1)));

function readHash() {
  const { run = null, tab, flow } = read(location.hash);
  changed({ tab: tab in PANES ? tab : state.tab, flow: flow ?? state.flow });
  if (run !== state.id || state.connection === "opening") choose(run);
}

// What a person does

find("new").onclick = find("begin").onclick = openForm;
find("stop").onclick = stop;
find("resume").onclick = find("retry").onclick = resume;
find("fork").onclick = fork;
find("origin").onclick = () => choose(state.run.fork_of.run_id);
find("dismiss").onclick = () => changed({ notice: "" });
find("filter").oninput = ({ target }) => changed({ filter: target.value });
find("keys-button").onclick = () => find("keys").showModal();
find("open-rail").onclick = () => changed({ isRailOpen: true });
find("close-rail").onclick = find("veil").onclick = () => changed({ isRailOpen: false });
find("flows").onchange = ({ target }) => (changed({ flow: target.value }), choose(null));
for (const button of find("tabs").children) button.onclick = () => changed({ tab: button.id.slice(4) });

// Keys

const KEYS = [
  ["n", "A new run", openForm],
  ["j", "The next run", () => moveRun(1)],
  ["k", "The run before", () => moveRun(-1)],
  ["ArrowLeft", "A step back in the history", () => move(-1)],
  ["ArrowRight", "A step forward", () => move(1)],
  ["0", "Now", () => changed({ at: null })],
  ["1", "Output", () => changed({ tab: "output" })],
  ["2", "Store", () => changed({ tab: "store" })],
  ["3", "Timeline", () => changed({ tab: "timeline" })],
  ["4", "Events", () => changed({ tab: "events" })],
  ["Escape", "Back: to now, to all nodes, out of a list or form", () => changed({ at: null, node: null, isRailOpen: false, notice: "" })],
  ["?", "These keys", () => find("keys").showModal()],
];
const NAMES = { ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

for (const [key, words] of KEYS) find("key-list").append(element("dt", {}, element("kbd", {}, NAMES[key] ?? key)), element("dd", {}, words));
find("key-list").append(element("dt", {}, element("kbd", {}, "Ctrl"), " ", element("kbd", {}, "Enter")), element("dd", {}, "Start, in the form for a new run"));

document.addEventListener("keydown", event => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("input, textarea, select")) return;
  const arrow = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key];
  if (arrow && target.closest("#tabs")) moveTab(arrow);
  else if (arrow && target.closest("#runs")) moveRun(arrow);
  else KEYS.find(([name]) => name === key)?.[2]();
  if (arrow && target.closest("#tabs, #runs") || key === "n") event.preventDefault();
});

/** Choose the next run of the list, or the one before; focus goes with it where it was in the list. */
function moveRun(step) {
  const runs = [...find("runs").querySelectorAll(".run")];
  const now = runs.findIndex(button => button.getAttribute("aria-current"));
  const next = runs[now < 0 ? 0 : Math.min(Math.max(now + step, 0), runs.length - 1)];
  next?.click();
  next?.focus();
}

// Begin

onChange(draw);
addEventListener("popstate", readHash);
document.addEventListener("visibilitychange", connect);
wide.onchange = () => changed();
addEventListener("resize", () => changed());
setInterval(() => state.runs?.some(isLive) && changed(), 1000);
readHash();
