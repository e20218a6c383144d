// What the nodes say: a card for each of them and for each item, and the events as they come.

import { asText, element, find, following, joined, list, mark } from "./dom.js";
import { plural, say, set, setSign, sign } from "./dom.js";
import { factsOf, titleOf } from "./history.js";
import { changed, chosenNodes, flow, isLive, nameOf, state, then } from "./state.js";

const CARDS = 48; // so many are drawn, and not more
const ACTIVE = new Set(["running", "waiting", "failed"]);

find("show-all").onclick = () => changed({ node: null });

export function drawOutput() {
  const ids = chosenNodes();
  const outputs = [...then().outputs.values()].filter(({ id }) => !ids || ids.has(id));
  const cards = inOrder(foremost(outputs)), left = outputs.length - cards.length;
  list("cards", cards, ({ slot }) => slot, makeCard, drawCard);
  say("more-cards", left && `The last ${cards.length} are shown. Choose a node to see its own.`);
  say("no-output", !cards.length && empty());
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

function empty() {
  if (state.at !== null) return "Nothing had been said by then.";
  if (state.run.status === "waiting") return "This run begins when another one ends.";
  return isLive(state.run) ? "What the nodes say shows here as it comes." : "Nothing was said.";
}

function makeCard() {
  const parts = { sign: sign(), label: element("b.cut"), state: element("small") };
  const header = element("header", {}, ...Object.values(parts));
  Object.assign(parts, { cut: element("p.note"), body: element("pre", { tabIndex: 0 }) });
  return Object.assign(element("article.card", {}, header, parts.cut, parts.body), { parts, text: "" });
}

function drawCard(card, { label, state, kind, text, cut }) {
  const { parts } = card, isUsual = state === "running" || state === "done";
  mark(card, "data-state", state);
  setSign(parts.sign, state);
  set(parts.label, { textContent: label, title: label });
  say(parts.state, !isUsual && state);
  say(parts.cut, cut && `${plural(cut, "character")} before this are left out.`);
  if (card.text === text) return;
  if (state === "running") following(parts.body, () => write(card, text));
  else write(card, text);
  if (kind === "result") set(parts.body, { textContent: readable(text) });
}

/** Add what is new, if the text goes on: to lay all of it out again for each word is slow. */
function write(card, text) {
  const { body } = card.parts;
  if (body.firstChild && text.startsWith(card.text)) body.firstChild.appendData(text.slice(card.text.length));
  else body.textContent = text;
  card.text = text;
}

const IS_JSON = /^[[{]\n (?! )/; // as the server writes what is no text: with an indent of one

/** A list or an object in rows, and the words of a stream, with the space around them, as one text. */
function readable(text) {
  try {
    return IS_JSON.test(text) ? inRows(JSON.parse(text)) : text;
  } catch {
    return text; // it is cut
  }
}

function inRows(value) {
  if (!Array.isArray(value)) return Object.entries(value).map(([key, part]) => `${key}: ${asText(part)}`).join("\n");
  const isStream = value.every(part => typeof part === "string") && value.some(part => part !== part.trim());
  return isStream ? value.join("") : value.map(part => `• ${asText(part)}`).join("\n");
}

// The steps of the chosen node

function drawSteps(ids) {
  const steps = state.rows.map((row, at) => ({ ...row, at })).filter(({ id }) => ids?.has(id)).slice(-100);
  set("only", { hidden: !ids });
  say("only-name", nameOf(state.node));
  list("steps", steps, ({ n }) => `${state.id} ${n}`, makeStep, drawStep);
}

function makeStep(step) {
  const { at, path: title } = step;
  const look = element("button.link", { title, onclick: () => changed({ at }) }, `${at + 1} ${titleOf(step)}`);
  return element("li", {}, look, " ", element("small", {}, factsOf(step)));
}

const drawStep = (item, { at }) => mark(item, "aria-current", at === state.at ? "step" : null);

// Events

const KNOWN = "type path node id item run_id changes".split(" "); // what is said elsewhere
let drawn = ""; // which run, filter and last event stand there

find("filter").oninput = ({ target }) => changed({ filter: target.value });

export function drawEvents() {
  const { events, filter, id } = state, wanted = filter.toLowerCase();
  if (drawn === (drawn = `${id} ${filter} ${events.at(-1)?.number}`)) return;
  const found = events.filter(({ event }) => textsOf(event).join(" ").toLowerCase().includes(wanted));
  const keyOf = ({ number }) => `${id} ${number}`;
  following(find("lines"), () => list("lines", found, keyOf, makeLine));
  say("event-count", events.length && `${found.length} of the last ${events.length}`);
  say("no-events", !events.length && "Events show here as they happen. The history below has what was before.");
}

/** Its type, where it is from, and all else that it says. */
function textsOf(event) {
  const { type, path, item, changes } = event;
  const own = Object.entries(event).filter(([name, value]) => !KNOWN.includes(name) && value !== null);
  const words = [type === "status" && changes.run?.status, ...own.map(([name, value]) => `${name} ${asText(value)}`)];
  return [type, item === undefined ? path : `${path}[${item}]`, joined(words)];
}

function makeLine({ event, came }) {
  const [type, place, words] = textsOf(event);
  const time = element("time.soft", {}, came.toTimeString().slice(0, 8));
  return element("li", {}, time, element("b", {}, type), element("span", {}, place), element("p.soft", {}, words));
}
