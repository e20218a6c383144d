// The one state of the page. Whoever changes it calls `changed`; before the next frame the page is drawn from it.

const EVENTS = 500; // so many are kept
export const OUTPUTS = 200; // the same
const LONGEST = 60_000; // characters of an output; of a longer one the end is kept

// What is null is not told yet, or not chosen.

const ofRun = () => ({
  run: null, // its summary
  isMissing: false, // whether the server has no such run
  nodes: new Map(), // by graph id
  outputs: new Map(), // by slot
  events: [], // the last ones, each with a number and when it came
  earlier: 0, // how many there were before these
  said: new Map(), // the last "status" or "progress" of a node, by its id
  rows: [], // the history, as far as it was read
  at: null, // the index of the row that is looked at; else it is now
  moment: null, // {key, store, changes, nodes, outputs, error}: how it was then, and `key` says when
  node: null, // the id of the chosen node
});

export const state = {
  flows: null, // by slug
  flow: null, // the slug of the chosen one
  runs: null, // summaries, newest first
  more: 0, // how many older ones there are
  id: null, // of the chosen run
  ...ofRun(),
  tab: "output",
  connection: "opening", // then "open" or "lost"
  busy: new Set(), // the ids of runs for which the server does what it was asked for
  notice: "", // what went wrong
};

let draw = () => {};
let isDue = false;
let heard = 0; // how many events

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
  changed({ ...ofRun(), id, run, flow: run?.flow ?? state.flow, notice: "" });
}

// What the server tells, by the name of its message

export function toldFlows({ flows }) {
  const known = new Map(flows.map(flow => [flow.slug, flow]));
  changed({ flows: known, flow: known.has(state.flow) ? state.flow : (flows[0]?.slug ?? null) });
}

export const TOLD = {
  runs: lists => changed({ ...lists, connection: "open", notice: state.connection === "lost" ? "" : state.notice }),
  run: toldRun,
  state: ({ nodes, outputs, ...run }) =>
    changed({ run, flow: run.flow ?? state.flow, isMissing: false, ...indexed({ nodes, outputs }) }),
  past({ events, left_out: earlier }) {
    changed({ events: [], earlier });
    for (const event of events) keep(event, "");
  },
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
  const { nodes = {}, outputs = [], output, append, run } = event.changes;
  for (const [id, node] of Object.entries(nodes)) state.nodes.set(id, node);
  for (const it of outputs) Object.assign(state.outputs.get(it.slot) ?? {}, it);
  if (output) toldOutput(output);
  if (append) appended(append);
  if (run) toldRun({ run_id: state.id, ...run });
  keep(event, new Date().toTimeString().slice(0, 8));
  changed();
}

function keep(event, came) {
  if (event.id && /^(status|progress)$/.test(event.type)) state.said.set(event.id, event);
  state.events.push({ event, number: (heard += 1), came });
  if (state.events.length > EVENTS) state.earlier += state.events.splice(0, 1).length;
}

function toldOutput(output) {
  const { outputs } = state, known = outputs.get(output.slot);
  if (known && !("text" in output)) return Object.assign(known, output);
  outputs.delete(output.slot); // so that the most recent one is the last
  outputs.set(output.slot, { text: "", cut: 0, ...output });
  if (outputs.size > OUTPUTS) outputs.delete(outputs.keys().next().value);
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
export const isLive = run => ["running", "waiting", "stopping"].includes(run?.status);
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
