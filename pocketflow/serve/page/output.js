// What the nodes say: a card for each of them and for each item, and the events as they come.

import { asText, clock, element, find, following, joined, list, mark, number, plural, say, set, setSign, sign } from "./dom.js";
import { factsOf, titleOf } from "./history.js";
import { changed, chosenNodes, flow, nameOf, state, then } from "./state.js";

const CARDS = 48; // so many are drawn, and not more
const STEPS = 100;
const ACTIVE = new Set(["running", "waiting", "failed"]);

find("show-all").onclick = () => changed({ node: null });

export function drawOutput() {
  const ids = chosenNodes();
  const outputs = [...then().outputs.values()].filter(({ id }) => !ids || ids.has(id));
  const cards = inOrder(foremost(outputs)), left = outputs.length - cards.length;
  list("cards", cards, ({ slot }) => slot, makeCard, drawCard);
  say("more-cards", left && `${number(left)} more not shown. Choose a node in the graph to see its own.`);
  say("no-output", cards.length || ids ? "" : empty());
  drawSteps(ids);
}

/** Of many outputs those that are being made or went wrong, then the latest. */
function foremost(outputs) {
  const [active, others] = [true, false].map(is => outputs.filter(({ state }) => ACTIVE.has(state) === is));
  return [...others, ...active].slice(-CARDS);
}

/** By the order of the graph, then by number. */
function inOrder(outputs) {
  const places = new Map(flow()?.nodes.map(({ id }, place) => [id, place]));
  const place = ({ id }) => places.get(id) ?? places.size;
  return outputs.sort((a, b) => place(a) - place(b) || byNumber.compare(a.slot, b.slot));
}

const byNumber = new Intl.Collator("en", { numeric: true });

const empty = () =>
  state.at !== null ? "Nothing had been recorded by then."
  : state.run.status === "waiting" ? "This run begins when another one ends."
  : state.run.status === "running" ? "Nothing yet. What the nodes say shows here as it comes."
  : "Nothing was said. The store has what came of it.";

function makeCard() {
  const parts = { sign: sign(), label: element("b.cut"), size: element("small") };
  const header = element("header", {}, ...Object.values(parts));
  Object.assign(parts, { cut: element("p.note"), body: element("pre", { tabIndex: 0 }) });
  return Object.assign(element("article.card", {}, header, parts.cut, parts.body), { parts, text: "" });
}

function drawCard(card, { label, state, text, cut }) {
  const { parts } = card, isUsual = state === "running" || state === "done";
  mark(card, "data-state", state);
  setSign(parts.sign, state);
  set(parts.label, { textContent: label, title: label });
  set(parts.size, { textContent: joined([!isUsual && state, plural(cut + text.length, "char")]) });
  say(parts.cut, cut && `${plural(cut, "character")} before this are left out.`);
  if (card.text === text) return;
  if (state === "running") following(parts.body, () => write(card, text));
  else write(card, text);
}

/** Add what is new to a text that goes on: to lay all of it out again for each word would be slow. */
function write(card, text) {
  const { body } = card.parts;
  if (body.firstChild && text.startsWith(card.text)) body.firstChild.appendData(text.slice(card.text.length));
  else body.textContent = text;
  card.text = text;
}

// The steps of the chosen node

function drawSteps(ids) {
  const steps = state.rows.map((row, at) => ({ ...row, at })).filter(({ id }) => ids?.has(id)).slice(-STEPS);
  set("only", { hidden: !ids });
  set("only-name", { textContent: nameOf(state.node) });
  set("steps-title", { hidden: !steps.length });
  list("steps", steps, ({ n }) => `${state.id} ${n}`, makeStep, drawStep);
}

function makeStep(step) {
  const { at, path, result } = step;
  const look = element("button.link", { title: path, onclick: () => changed({ at }) }, `${at + 1} ${titleOf(step)}`);
  return element("li", {}, look, element("small", {}, factsOf(step)), element("pre", {}, result ?? ""));
}

const drawStep = (item, { at }) => mark(item, "aria-current", at === state.at ? "step" : null);

// Events

const KNOWN = "type path node id item nodes output append run run_id number came".split(" "); // what is said elsewhere
let drawn = ""; // which run, filter and last event stand there

find("filter").oninput = ({ target }) => changed({ filter: target.value });

export function drawEvents() {
  const { events, filter, id } = state, wanted = filter.toLowerCase();
  if (drawn === (drawn = `${id} ${filter} ${events.at(-1)?.number}`)) return;
  const found = events.filter(event => spoken(event).includes(wanted)), keyOf = ({ number }) => `${id} ${number}`;
  following(find("lines"), () => list("lines", found, keyOf, makeLine));
  say("event-count", events.length && `${found.length} of the last ${events.length}`);
  say("no-events", events.length ? "" : "Events show here as they happen. What was before stands in the history below.");
}

const spoken = event => `${event.type} ${placeOf(event)} ${detailsOf(event)}`.toLowerCase();
const placeOf = ({ path = "", item }) => (item === undefined ? path : `${path}[${item}]`);

/** What a node itself has put into an event, or what the server says of the run. */
function detailsOf(event) {
  const own = Object.entries(event).filter(([name, value]) => !KNOWN.includes(name) && value !== null);
  const told = event.type === "status" ? event.run?.status : "";
  return joined([told, ...own.map(([name, value]) => `${name} ${asText(value)}`)]);
}

function makeLine(event) {
  const texts = [clock(event.came), event.type, placeOf(event), detailsOf(event)];
  return element("li", {}, ...["time.soft", "b", "span", "p.soft"].map((tag, n) => element(tag, {}, texts[n])));
}
