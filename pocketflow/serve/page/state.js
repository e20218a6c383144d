// The one state of the page. What the server tells and what a person does changes it and calls `changed()`; before
// the next frame the page is drawn from it. Nothing here touches the document or the network.

const EVENTS = 500; // so many are kept to be read
const LONGEST = 60_000; // characters of an output; of a longer one the end is kept

const OF_A_RUN = () => ({
  run: null, // the summary of the chosen run; null until the server has told it
  isMissing: false, // whether the server has no such run
  nodes: new Map(), // graph id -> how it stands
  outputs: new Map(), // slot -> output
  events: [], // the last of them, each with its number and the time when it came
  rows: [], // the history as far as it was read
  at: null, // the index of the row that is looked at; null is now
  store: null, // {key, values, changes, error}: the store at the moment that `key` names
  node: null, // the id of the chosen node
});

export const state = {
  flows: null, // slug -> flow; null until the server has told them
  flow: null, // the slug of the chosen one
  runs: null, // summaries, newest first; null until the server has told them
  more: 0, // how many older runs there are
  id: null, // of the chosen run
  ...OF_A_RUN(),
  tab: "output",
  filter: "", // of the events
  connection: "opening", // then "open" or "lost"
  isBusy: false, // while the server is asked to do something
  isRailOpen: false, // on a small screen
  notice: "", // what went wrong
};

let draw = () => {};
let isDue = false;

/** Have `work` called before the next frame whenever something has changed. */
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

/** Choose a run by its id; null chooses none, and the flow stays. */
export function chosen(id) {
  const run = state.runs?.find(run => run.run_id === id) ?? null;
  changed({ ...OF_A_RUN(), id, run, flow: run?.flow ?? state.flow, isRailOpen: false, notice: "" });
}

// What the server tells

export function toldFlows({ flows }) {
  const known = new Map(flows.map(flow => [flow.slug, flow]));
  changed({ flows: known, flow: known.has(state.flow) ? state.flow : (flows[0]?.slug ?? null) });
}

export const TOLD = {
  runs: ({ runs, more }) => changed({ runs, more, connection: "open" }),
  run: summary => toldRun(summary),
  state: ({ nodes, outputs, ...run }) => {
    const slots = new Map(outputs.map(output => [output.slot, output]));
    changed({ run, flow: run.flow ?? state.flow, isMissing: false, nodes: new Map(Object.entries(nodes)), outputs: slots });
  },
  missing: () => changed({ run: null, isMissing: true }),
  deleted: ({ run_id }) => {
    changed({ runs: state.runs.filter(run => run.run_id !== run_id) });
    if (run_id === state.id) changed({ run: null, isMissing: true });
  },
  message: event => toldEvent(event),
};

function toldRun(summary) {
  const index = state.runs.findIndex(run => run.run_id === summary.run_id);
  if (index < 0) state.runs.unshift(summary);
  else Object.assign(state.runs[index], summary);
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
  state.outputs.set(slot, { ...output, text: output.text.slice(cut), cut: output.cut + cut });
}

// What follows from the state

/** The flow that is shown: that of the chosen run, else the chosen one; null if it is not served here. */
export const flow = () => state.flows?.get(state.run ? state.run.flow : state.flow) ?? null;
export const row = () => (state.at === null ? null : state.rows[state.at]);
export const isLive = run => run?.status === "running" || run?.status === "waiting";
export const secondsOf = run => ((run.ended ? Date.parse(run.ended) : Date.now()) - Date.parse(run.started)) / 1000;

/** The ids of the chosen node and of all that is inside of it; null where none is chosen. */
export function chosenNodes() {
  if (state.node === null) return null;
  const ids = new Set([state.node]);
  for (const node of flow()?.nodes ?? []) if (ids.has(node.parent)) ids.add(node.id); // what is around stands before
  return ids;
}

/** The nodes at the moment that is looked at: graph id -> node. */
export function nodesThen() {
  return state.at === null ? state.nodes : replayed(state.rows.slice(0, state.at + 1));
}

/** The outputs at the moment that is looked at. */
export function outputsThen() {
  return state.at === null ? [...state.outputs.values()] : recorded(state.rows.slice(0, state.at + 1));
}

/** How the nodes stood after these rows: a visit with rows but without its end is running. */
function replayed(rows) {
  const parents = new Map(flow()?.nodes.map(node => [node.id, node.parent]));
  const nodes = new Map(), paths = new Map();
  const begun = id => ({ state: "running", visits: paths.get(id)?.size ?? 1, items: 0, items_done: 0, retries: 0 });
  for (const { id, path, kind } of rows.filter(row => row.id)) {
    const visits = paths.get(id) ?? paths.set(id, new Set()).get(id);
    const isNew = visits.size !== visits.add(visitOf(path)).size;
    if (isNew || !nodes.has(id)) nodes.set(id, begun(id));
    const node = nodes.get(id);
    node.state = { node: "done", flow: "done", pause: "waiting" }[kind] ?? "running";
    if (itemOf(path)) node.items = ++node.items_done;
    for (let around = parents.get(id); around; around = parents.get(around)) nodes.set(around, begun(around));
  }
  if (rows.at(-1)?.kind === "status") for (const node of nodes.values()) stop(node, rows.at(-1).status);
  return nodes;
}

function stop(node, status) {
  if (node.state === "running") node.state = { finished: "done", running: "running" }[status] ?? "stopped";
}

/** What the last visits had given by the last of these rows; in full where it is the output that is there now. */
function recorded(rows) {
  const now = new Map([...state.outputs.values()].map(output => [output.path, output]));
  const outputs = new Map();
  for (const { id, path, kind, result } of rows) {
    if (kind !== "exec" || !id) continue;
    const slot = path.replace(/\/\d+:/g, "/");
    const label = [nameOf(id), ...(path.match(/\[\d+\]/g) ?? [])].join(" ");
    const output = { slot, id, path, label, state: "done", text: result ?? "", cut: 0, kind: "result" };
    outputs.set(slot, itemOf(path) ? output : { ...output, ...now.get(visitOf(path)), slot });
  }
  return [...outputs.values()];
}

export const nameOf = id => flow()?.nodes.find(node => node.id === id)?.name ?? id;
const visitOf = path => path.replace(/\/(prep|exec)(\[\d+\])?$/, "");
const itemOf = path => path.match(/\/exec(\[\d+\])$/)?.[1] ?? "";
