// The one state of the page. Whoever changes it calls `changed`; before the next frame the page is drawn from it.

const EVENTS = 500; // so many are kept
const LONGEST = 60_000; // characters of an output; of a longer one the end is kept

const ofRun = () => ({
  run: null, // its summary; null until it is told
  isMissing: false, // whether the server has no such run
  nodes: new Map(), // by graph id
  outputs: new Map(), // by slot
  events: [], // the last ones, each with its number and when it came
  rows: [], // the history, as far as it was read
  at: null, // the index of the row that is looked at; null is now
  moment: null, // {key, store, changes, nodes, outputs, error}: how it was then, and `key` says when
  node: null, // the id of the chosen node
});

export const state = {
  flows: null, // by slug; null until they are told
  flow: null, // the slug of the chosen one
  runs: null, // summaries, newest first; null until they are told
  more: 0, // how many older ones there are
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
  runs: lists => changed({ ...lists, connection: "open" }),
  run: toldRun,
  state: ({ nodes, outputs, ...run }) =>
    changed({ run, flow: run.flow ?? state.flow, isMissing: false, ...indexed({ nodes, outputs }) }),
  missing: () => changed({ run: null, isMissing: true }),
  deleted({ run_id }) {
    changed({ runs: state.runs.filter(run => run.run_id !== run_id) });
    if (run_id === state.id) TOLD.missing();
  },
  message: toldEvent,
};

export function toldMoment(key, { store = {}, changes = {}, nodes = {}, outputs = [], error }) {
  const moment = { key, store: mapOf(store), changes: mapOf(changes), error, ...indexed({ nodes, outputs }) };
  changed({ moment });
}

const mapOf = object => new Map(Object.entries(object)); // as an object has keys of its own
const indexed = ({ nodes, outputs }) => ({
  nodes: mapOf(nodes),
  outputs: new Map(outputs.map(output => [output.slot, output])),
});

function toldRun(summary) {
  const known = state.runs.find(run => run.run_id === summary.run_id);
  if (known) Object.assign(known, summary);
  else state.runs.unshift(summary);
  if (summary.run_id === state.id && state.run) Object.assign(state.run, summary);
  changed();
}

function toldEvent(event) {
  const { nodes = {}, output, append, run } = event.changes;
  for (const [id, node] of Object.entries(nodes)) state.nodes.set(id, node);
  if (output) toldOutput(output);
  if (append) appended(append);
  if (run) toldRun({ run_id: state.id, ...run });
  state.events.push({ event, number: (state.events.at(-1)?.number ?? 0) + 1, came: new Date() });
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
export const secondsOf = ({ started, ended }) => (new Date(ended ?? Date.now()) - new Date(started)) / 1000;

/** `nodes` and `outputs` at the moment that is looked at, or at the one before until it is told. */
export const then = () => (state.at !== null && state.moment) || state;

/** The ids of the chosen node and of all inside of it; null if none is chosen. */
export function chosenNodes() {
  if (state.node === null) return null;
  const ids = new Set([state.node]);
  for (const { id, parent } of flow()?.nodes ?? []) if (ids.has(parent)) ids.add(id); // a flow stands before its nodes
  return ids;
}
