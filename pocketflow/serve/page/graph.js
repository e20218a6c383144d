// The picture of a flow, and on it how its nodes stand.

import { MARKS, drawing, element, find, list, mark, plural, retries, set, sign } from "./dom.js";
import { changed, flow, nodesThen, row, state } from "./state.js";

let drawn = null; // the text of the picture that stands there
let boxes = new Map(); // graph id -> {group, title, mark, count, items}

export function drawGraph() {
  const picture = flow()?.svg ?? "";
  if (picture !== drawn) show(picture);
  const nodes = nodesThen();
  for (const [id, box] of boxes) drawNode(box, nodes.get(id), id);
  drawLegend(nodes);
}

function show(picture) {
  drawn = picture;
  const svg = new DOMParser().parseFromString(picture, "image/svg+xml").documentElement;
  const isPicture = svg.localName === "svg" && svg.classList.contains("pf-graph");
  boxes = new Map(isPicture ? [...svg.querySelectorAll("[data-id]")].map(group => [group.dataset.id, boxOf(group)]) : []);
  find("picture").replaceChildren(isPicture ? fitted(svg) : element("p.empty", {}, unknown()));
}

const unknown = () => (state.flows?.size ? "The graph of this run is not known here: serve its flow, too." : "");

/** As large as the pane has room for, but never so small that nobody can read it: then it scrolls. */
function fitted(svg) {
  svg.setAttribute("role", "group");
  svg.style.minWidth = `${0.62 * svg.getAttribute("width")}px`;
  return svg;
}

function boxOf(group) {
  const { x, y, width, height } = Object.fromEntries([...group.querySelector("rect").attributes].map(it => [it.name, +it.value]));
  const box = { group, title: group.querySelector("title"), name: group.querySelector("title").textContent };
  box.mark = badge(group, "mark", x + 3, y + 2, "middle");
  box.count = badge(group, "count", x + width + 4, y + 1);
  box.items = badge(group, "count items", x + width + 4, y + height);
  for (const [name, value] of [["tabindex", 0], ["role", "button"]]) group.setAttribute(name, value);
  group.addEventListener("click", () => choose(group.dataset.id));
  group.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") event.preventDefault(), choose(group.dataset.id);
  });
  return box;
}

/** A small sign whose text ends at x, or has its middle there. */
function badge(group, name, x, y) {
  const made = drawing("g", { class: name, transform: `translate(${x} ${y})` });
  made.append(drawing(name === "mark" ? "circle" : "rect"), drawing("text"));
  group.append(made);
  return made;
}

function write(badge, text) {
  const [shape, words] = badge.children;
  mark(badge, "display", text ? null : "none");
  if (words.textContent === text) return;
  words.textContent = text;
  const width = 9 + 6 * text.length; // of digits at 10 pixels
  if (shape.localName === "rect") shape.setAttribute("width", width), badge.lastChild.setAttribute("x", -width / 2), shape.setAttribute("x", -width);
}

/** Choose a node, whose output is shown then; a second time gives all back. */
function choose(id) {
  const isMoot = state.run === null;
  changed({ node: isMoot || state.node === id ? null : id, tab: isMoot ? state.tab : "output" });
}

function drawNode(box, node, id) {
  mark(box.group, "data-state", node?.state ?? null);
  mark(box.group, "data-now", row()?.id === id ? "" : null);
  mark(box.group, "aria-pressed", state.node === id);
  mark(box.group, "aria-label", `${box.name}${spoken(node)}`);
  set(box.title, { textContent: `${box.name}${spoken(node)}` });
  write(box.mark, node ? MARKS[node.state] : "");
  write(box.count, node?.visits > 1 ? `×${node.visits}` : "");
  write(box.items, node?.items ? `${node.items_done}/${node.items}` : "");
}

function spoken(node) {
  if (!node) return "";
  const items = node.items ? `${node.items_done} of ${plural(node.items, "item")} done` : "";
  const visits = node.visits > 1 ? plural(node.visits, "visit") : "";
  return `: ${[node.state, visits, items, retries(node.retries)].filter(Boolean).join(", ")}`;
}

function drawLegend(nodes) {
  const states = [...new Set([...nodes.values()].map(node => node.state))].sort();
  list(find("legend"), states, it => it, it => element("li", {}, sign(it), it), () => {});
  set(find("legend"), { hidden: !states.length });
}
