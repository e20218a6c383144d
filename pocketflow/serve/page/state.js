// The one state of the page. What the server tells and what a person does changes it and calls `changed`; before the
// next frame the page is drawn from it. Nothing here touches the document or the network.

const EVENTS = 500; // so many are kept
const LONGEST = 60_000; // characters of an output; of a longer one the end is kept

const ofRun = () => ({
  run: null, // the summary of the chosen run; null until the server has told it
  isMissing: false, // whether the server has no such run
  nodes: new Map(), // graph id -> how the node stands
  outputs: new Map(), // slot -> output
  events: [], // the last ones, each with its number and when it came
  rows: [], // the history as far as it was read
  at: null, // the index of the row that is looked at; null is now
  store: null, // {key, values, changes, error}; `key` says of which moment
  node: null, // the id of the chosen node
});

export const state = {
  flows: null, // slug -> flow; null until the server has told them
  flow: null, // the slug of the chosen one
  runs: null, // summaries, newest first; null until the server has told them
  more: 0, // how many older runs there are
  id: null, // of the chosen run
  ...ofRun(),
  tab: "output",
  filter: "", // of the events
  connection: "opening", // then "open" or "lost"
  isBusy: false, // while the server does what it was asked for
  isRailOpen: false, // on a small screen
  notice: "", // what went wrong
};

let draw = () => {};
let isDue = false;

/** Have `work` called before the next frame after a change. */
export function onChange(work) {
  draw = work;
}

export function changed(changes) {
  Object.assign(state, changes);
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

/** Choose a run by its id; null chooses none. */
export function chosen(id) {
  const run = state.runs?.find(run => run.run_id === id) ?? null;
  changed({ ...ofRun(), id, run, flow: run?.flow ?? state.flow, isRailOpen: false, notice: "" });
}

// What the server tells, by the name of its message

export function toldFlows({ flows }) {
  const known = new Map(flows.map(flow => [flow.slug, flow]));
  changed({ flows: known, flow: known.has(state.flow) ? state.flow : (flows[0]?.slug ?? null) });
}

export const TOLD = {
  runs: ({ runs, more }) => changed({ runs, more, connection: "open" }),
  run: toldRun,
  state({ nodes, outputs, ...run }) {
    const bySlot = new Map(outputs.map(output => [output.slot, output]));
    changed({ run, nodes: new Map(Object.entries(nodes)), outputs: bySlot, flow: run.flow ?? state.flow, isMissing: false });
  },
  missing: () => changed({ run: null, isMissing: true }),
  deleted({ run_id }) {
    changed({ runs: state.runs.filter(run => run.run_id !== run_id) });
    if (run_id === state.id) TOLD.missing();
  },
  message: toldEvent,
};

function toldRun(summary) {
  const known = state.runs.find(run => run.run_id === summary.run_id);
  if (known) Object.assign(known, summary);
  else state.runs.unshift(summary);
  if (summary.run_id === state.id && state.run) Object.assign(state.run, summary);
  changed();
}

function toldEvent(event) {
  for (const [id, node] of Object.entries(event.nodes ?? {})) state.nodes.set(id, node);
  if (event.output) toldOutput(event.output);
  if (event.append) appended(event.append);
  if (event.run) toldRun({ run_id: state.id, ...event.run });
  state.events.push({ ...event, number: (state.events.at(-1)?.number ?? 0) + 1, came: new Date() });
  if (state.events.length > EVENTS) state.events.shift();
  changed();
}

function toldOutput(output) {
  const known = state.outputs.get(output.slot);
  if (known && !("text" in output)) Object.assign(known, output);
  else state.outputs.set(output.slot, { text: "", cut: 0, ...output });
}

function appended({ slot, text }) {
  const output = state.outputs.get(slot);
  if (!output) return;
  output.text += text;
  if (output.text.length <= LONGEST) return;
  const cut = output.text.length - LONGEST / 2;
  Object.assign(output, { text: output.text.slice(cut), cut: output.cut + cut });
}

// What follows from it

/** The flow that is shown: that of the chosen run, else the chosen one; null if it is not served here. */
export const flow = () => state.flows?.get(state.run ? state.run.flow : state.flow) ?? null;
export const nameOf = id => flow()?.nodes.find(node => node.id === id)?.name ?? id;
export const row = () => (state.at === null ? null : state.rows[state.at]);
export const isLive = run => run?.status === "running" || run?.status === "waiting";
export const secondsOf = run => (Date.parse(run.ended ?? new Date()) - Date.parse(run.started)) / 1000;

/** The ids of the chosen node and of all inside of it; null if none is chosen. */
export function chosenNodes() {
  if (state.node === null) return null;
  const ids = new Set([state.node]);
  for (const { id, parent } of flow()?.nodes ?? []) if (ids.has(parent)) ids.add(id); // a flow stands before its nodes
  return ids;
}

/** How the nodes stand at the moment that is looked at, by id. */
export const nodesThen = () => (state.at === null ? state.nodes : replayed(rowsThen()));

/** What had been said by then. */
export const outputsThen = () => [...(state.at === null ? state.outputs : recorded(rowsThen())).values()];

const rowsThen = () => state.rows.slice(0, state.at + 1).filter(row => row.id);

/** A visit that has rows but no end is running, and so is what it is inside of. */
function replayed(rows) {
  const parents = new Map(flow()?.nodes.map(node => [node.id, node.parent]));
  const nodes = new Map();
  const nodeOf = id => nodes.get(id) ?? nodes.set(id, { paths: new Set(), visits: 1, items_done: 0 }).get(id);
  for (const { id, path, kind } of rows) {
    const node = nodeOf(id), visit = visitOf(path);
    if (!node.paths.has(visit)) node.items_done = 0;
    node.visits = node.paths.add(visit).size;
    node.state = { node: "done", flow: "done", pause: "waiting" }[kind] ?? "running";
    node.items = itemOf(path) ? ++node.items_done : node.items_done;
    for (let around = parents.get(id); around; around = parents.get(around)) nodeOf(around).state = "running";
  }
  const { kind, status } = row();
  if (kind === "status" && status !== "running") end(nodes, status === "finished" ? "done" : "stopped");
  return nodes;
}

function end(nodes, how) {
  for (const node of nodes.values()) if (node.state === "running") node.state = how;
}

/** The results of the last visits; in full where the page has the output of that very visit. */
function recorded(rows) {
  const full = new Map([...state.outputs.values()].map(output => [output.path, output]));
  const outputs = new Map();
  for (const { id, path, result } of rows.filter(row => row.kind === "exec")) {
    const slot = path.replace(/\/\d+:/g, "/"); // of all visits
    const label = [nameOf(id), ...(path.match(/\[\d+\]/g) ?? [])].join(" ");
    const output = { slot, id, label, state: "done", text: result ?? "", cut: 0 };
    outputs.set(slot, itemOf(path) ? output : { ...output, ...full.get(visitOf(path)), slot });
  }
  return outputs;
}

const visitOf = path => path.replace(/\/(prep|exec)(\[\d+\])?$/, "");
const itemOf = path => /\/exec\[\d+\]$/.test(path);
