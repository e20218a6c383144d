// What the nodes say: a card for each of them and for each item, and the events as they come.

import { asText, duration, element, find, follow, joined, list, mark } from "./dom.js";
import { plural, printable, say, set, setSign, sign } from "./dom.js";
import { factsOf, titleOf } from "./history.js";
import { readable } from "./json.js";
import { OUTPUTS, changed, chosenNodes, flow, isLive, nameOf, state, then } from "./state.js";

find("show-all").onclick = () => changed({ node: null });

export function drawOutput() {
  const ids = chosenNodes();
  const outputs = [...then().outputs.values()].filter(({ id }) => !ids || ids.has(id));
  const expected = ids ? 1 : (flow()?.nodes.length ?? 4) - 1; // their cards have room from the beginning
  find("cards").style.setProperty("--columns", Math.min(3, Math.max(outputs.length, expected)));
  list("cards", inOrder(outputs), ({ slot }) => slot, makeCard, drawCard);
  say("more-cards", then().outputs.size === OUTPUTS && `The last ${OUTPUTS} are shown.`);
  const said = state.at === null ? [...state.said].filter(([id]) => !ids || ids.has(id)).slice(-5) : [];
  list("said", said, ([id]) => id, () => element("li.note.cut"), (line, [id, event]) => {
    say(line, joined([nameOf(id), textsOf(event)[2]]));
  });
  say("no-output", !outputs.length && !said.length && empty());
  drawSteps(ids);
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
  const { parts } = card, isUsual = ["running", "done", "restored"].includes(state);
  const isGrowing = [state, card.dataset.state].includes("running");
  mark(card, "data-state", state);
  setSign(parts.sign, state);
  set(parts.label, { textContent: label, title: label });
  say(parts.state, !isUsual && state);
  say(parts.cut, cut && `${plural(cut, "character")} before this are left out.`);
  if (card.text === text) return;
  write(card, text);
  if (isGrowing) follow(parts.body);
  if (kind === "result") set(parts.body, { textContent: readable(text) });
}

/** Add what is new, if the text goes on: to lay all of it out again for each word is slow. */
function write(card, text) {
  const { body } = card.parts;
  if (body.firstChild && text.startsWith(card.text)) body.firstChild.appendData(printable(text.slice(card.text.length)));
  else body.textContent = printable(text);
  card.text = text;
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

export function drawEvents() {
  const { events, earlier } = state;
  list("lines", events, ({ number }) => number, makeLine);
  follow(find("lines"));
  say("event-count", earlier && `${plural(earlier, "earlier event")} not shown.`);
  say("no-events", !events.length && "Events show here as they happen. The history below has what was before.");
}

/** Of an event its type, where it is from, and all else that it says. */
function textsOf(event) {
  const { type, path, item, changes } = event;
  const own = Object.entries(event).filter(([name, value]) => !KNOWN.includes(name) && value !== null);
  const words = [type === "status" && changes.run?.status, ...own.map(([name, value]) => wordsOf(name, value))];
  return [type, item === undefined ? path : `${path}[${item}]`, joined(words)];
}

function wordsOf(name, value) {
  if (name === "text") return asText(value);
  const isTime = (name === "seconds" || name === "wait") && typeof value === "number";
  return `${name} ${isTime ? duration(value) : asText(value)}`;
}

function makeLine({ event, came }) {
  const [type, place, words] = textsOf(event);
  const time = element("time.soft", {}, came);
  return element("li", {}, time, element("b", {}, type), element("span", {}, place), element("p.soft", {}, words));
}
