// What the nodes say: a card for each of them, and the events as they come.

import { MARKS, element, find, following, list, mark, number, plural, say, set, sign } from "./dom.js";
import { facts, what } from "./history.js";
import { changed, chosenNodes, flow, nameOf, outputsThen, state } from "./state.js";

const CARDS = 48; // so many are drawn at once
const STEPS = 100;
const ACTIVE = new Set(["running", "waiting", "failed"]);

export function drawOutput() {
  const ids = chosenNodes();
  const outputs = outputsThen().filter(output => ids?.has(output.id) ?? true);
  const cards = inOrder(foremost(outputs));
  list(find("cards"), cards, output => output.slot, makeCard, drawCard);
  const left = outputs.length - cards.length;
  say(find("more-cards"), left ? `${plural(left, "more output")} not shown. Choose a node in the graph to see those of it.` : "");
  drawChoice();
  drawSteps(ids);
  say(find("no-output"), cards.length || state.node ? "" : empty());
}

/** Of many outputs those that are being made or went wrong, then the latest. */
function foremost(outputs) {
  if (outputs.length <= CARDS) return outputs;
  const active = outputs.filter(output => ACTIVE.has(output.state));
  const others = outputs.filter(output => !ACTIVE.has(output.state));
  return [...others, ...active].slice(-CARDS);
}

/** By the order of the graph, then by the numbers of items. */
function inOrder(outputs) {
  const places = new Map(flow()?.nodes.map((node, place) => [node.id, place]));
  const place = output => places.get(output.id) ?? Infinity;
  return outputs.toSorted((a, b) => place(a) - place(b) || byNumbers.compare(a.slot, b.slot));
}

const byNumbers = new Intl.Collator("en", { numeric: true });

function empty() {
  if (!state.run) return "";
  if (state.at !== null) return "Nothing had been recorded by then.";
  return { waiting: "This run waits until another one ends.", running: "Nothing yet. What the nodes say shows here as it comes." }[state.run.status] ?? "This run has said nothing.";
}

// A card

function makeCard() {
  const card = element("article.card");
  card.parts = { sign: sign("running"), label: element("b"), size: element("small"), cut: element("p.note"), body: element("pre") };
  const { sign: state, label, size, cut, body } = card.parts;
  body.tabIndex = 0;
  card.append(element("header", {}, state, label, size), cut, body);
  card.text = "";
  return card;
}

function drawCard(card, output) {
  const { sign, label, size, cut, body } = card.parts;
  mark(card, "data-state", output.state);
  mark(card, "data-kind", output.kind);
  mark(sign, "data-state", output.state);
  set(sign, { textContent: MARKS[output.state] });
  set(label, { textContent: output.label });
  set(size, { textContent: `${output.state} · ${number(output.cut + output.text.length)} chars` });
  say(cut, output.cut ? `${plural(output.cut, "character")} before this are left out.` : "");
  if (card.text !== output.text) following(body, () => write(card, output.text));
}

/** Add what is new, as long as the old stands before it: a long text is not laid out again for each word. */
function write(card, text) {
  const { body } = card.parts;
  if (text.startsWith(card.text) && body.firstChild) body.firstChild.appendData(text.slice(card.text.length));
  else body.textContent = text;
  card.text = text;
}

// A chosen node: its steps in the journal

function drawChoice() {
  const only = find("only");
  set(only, { hidden: state.node === null });
  if (state.node === null || only.dataset.id === state.node) return;
  only.dataset.id = state.node;
  const all = element("button.link", { textContent: "Show all", onclick: () => changed({ node: null }) });
  only.replaceChildren("Only ", element("b", {}, nameOf(state.node)), ". ", all);
}

function drawSteps(ids) {
  const steps = ids ? state.rows.map((row, at) => ({ ...row, at })).filter(row => ids.has(row.id)).slice(-STEPS) : [];
  set(find("steps-title"), { hidden: !steps.length });
  list(find("steps"), steps, step => step.n, makeStep, drawStep);
}

function makeStep(step) {
  const { at, path, kind, result } = step;
  const place = element("button.link", { textContent: at + 1, title: "Look at this moment", onclick: () => changed({ at }) });
  return element("li", {}, place, element("b", { title: path }, what(step)), element("small", {}, facts(step)), element("pre", {}, kind === "exec" ? result ?? "" : ""));
}

const drawStep = (item, step) => mark(item, "aria-current", step.at === state.at ? "step" : null);

// Events

const SERVER_S = new Set(["type", "path", "node", "id", "nodes", "output", "append", "run", "number", "came", "item"]);
let seen = ""; // the filter and the last event that stand there

export function drawEvents() {
  const last = `${state.filter} ${state.id} ${state.events.at(-1)?.number}`;
  if (last === seen) return;
  seen = last;
  const wanted = state.filter.toLowerCase();
  const events = state.events.filter(event => spoken(event).toLowerCase().includes(wanted));
  following(find("lines"), () => list(find("lines"), events, event => `${state.id} ${event.number}`, makeLine, () => {}));
  say(find("event-count"), state.events.length ? `${number(events.length)} of the last ${number(state.events.length)}` : "");
  say(find("no-events"), state.events.length ? "" : "Events show here as they happen. What was before this page was opened stands in the history below.");
}

/** All that a filter finds of an event. */
const spoken = event => `${event.type} ${placeOf(event)} ${details(event)}`;

const placeOf = ({ path, item }) => `${path ?? ""}${item === undefined ? "" : `[${item}]`}`;

function details(event) {
  const own = Object.entries(event).filter(([name, value]) => !SERVER_S.has(name) && value !== null && value !== undefined);
  const status = event.run?.status && event.type === "status" ? [["status", event.run.status]] : [];
  return [...status, ...own].map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
}

function makeLine(event) {
  const time = event.came.toTimeString().slice(0, 8);
  return element("li", {}, element("time", {}, time), element("b", {}, event.type), element("span", {}, placeOf(event)), element("span.soft", {}, details(event)));
}
