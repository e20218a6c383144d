// The picture of a flow, and on it how the nodes stand.

import { MARKS, element, find, joined, mark, set } from "./dom.js";
import { changed, flow, row, state, then } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";
const SMALLEST = 0.72; // of its size; a picture with less room than that scrolls

let shown = ""; // the text of the picture that stands there
let boxes = new Map(); // graph id -> its group, name, title and badges

export function drawGraph() {
  const unknown = state.run && state.flows ? "The flow of this run is not served here." : "";
  const picture = flow()?.svg ?? unknown;
  if (picture !== shown) show(picture);
  const { nodes } = then();
  for (const [id, box] of boxes) drawNode(box, id, nodes.get(id));
}

function show(picture) {
  shown = picture;
  boxes = new Map();
  find("graph").replaceChildren(element("p.empty", {}, picture));
  if (!picture.startsWith("<svg")) return;
  const svg = new DOMParser().parseFromString(picture, "image/svg+xml").documentElement;
  boxes = new Map([...svg.querySelectorAll("[data-id]")].map(group => [group.dataset.id, boxOf(group)]));
  find("graph").replaceChildren(svg);
  svg.setAttribute("role", "group"); // a picture would hide its nodes from screen readers
  for (const side of ["width", "height"]) svg.style[`min-${side}`] = `${SMALLEST * svg.getAttribute(side)}px`;
  reveal([...boxes.values()][0]);
}

function boxOf(group) {
  const rect = group.querySelector("rect");
  const [x, y, width, height] = ["x", "y", "width", "height"].map(name => +rect.getAttribute(name));
  const title = group.querySelector("title");
  mark(group, "tabindex", 0);
  mark(group, "role", "button");
  group.onclick = () => choose(group.dataset.id);
  group.addEventListener("keydown", event => [" ", "Enter"].includes(event.key) && choose(group.dataset.id));
  const badges = { mark: badge(x + 3, y + 3), visits: badge(x + width, y), items: badge(x + width, y + height) };
  badges.retries = badge(x, y + height);
  badges.mark.classList.add("mark");
  group.append(...Object.values(badges));
  return { group, title, name: title.textContent, ...badges };
}

/** A small sign with its middle at a point. */
function badge(x, y) {
  const [made, ...parts] = ["g", "rect", "text"].map(tag => document.createElementNS(SVG, tag));
  made.append(...parts);
  mark(made, "class", "badge");
  mark(made, "transform", `translate(${x} ${y})`);
  return made;
}

function write(badge, text) {
  const [around, words] = badge.children, width = 9 + 7 * text.length;
  mark(badge, "display", text ? null : "none");
  set(words, { textContent: text });
  mark(around, "width", width);
  mark(around, "x", -width / 2);
}

function drawNode(box, id, node) {
  const at = row() ? row().id === id : node?.state === "running";
  if (at && !box.isAt) reveal(box);
  box.isAt = at;
  mark(box.group, "data-state", node?.state);
  mark(box.group, "data-now", row()?.id === id ? "" : null);
  mark(box.group, "aria-pressed", state.node === id);
  set(box.title, { textContent: box.name + (node ? `: ${spoken(node)}` : "") }); // screen readers say it
  write(box.mark, MARKS[node?.state] ?? "");
  write(box.visits, node?.visits > 1 ? `×${node.visits}` : "");
  write(box.retries, node?.retries ? `⟳${node.retries}` : "");
  write(box.items, node?.items ? `${node.items_done}/${node.items}` : "");
}

const spoken = ({ state, visits, items, items_done, retries }) => joined([
  state, visits > 1 && `${visits} visits`, items && `${items_done} of ${items} items done`,
  retries && `retried ${retries}×`,
]);

/** Scroll to a node, where the picture has too little room. */
const reveal = box => box?.group.scrollIntoView({ block: "nearest", inline: "nearest" });

/** Choose a node, so that what it said is shown alone; a second time, so that all is. */
function choose(id) {
  if (state.run) changed({ node: state.node === id ? null : id, tab: "output" });
}
