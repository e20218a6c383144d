// What is asked of the server, and the one connection over which it tells what happens.

import { TOLD, changed, chosen, row, state, toldFlows } from "./state.js";

const RETRY = 2000; // milliseconds until a connection that was refused is tried again
const PAUSE = 300; // between two readings of a history that grows
const ADDS_ROWS = new Set(["node_end", "item_end", "pause", "status"]); // events after which it has grown

const urlOf = (id, rest = "") => `api/runs/${encodeURIComponent(id)}${rest}`;
export const timelineOf = id => urlOf(id, "/trace");

/** What the server answers. Where it refuses, an Error with its words. */
async function call(method, url, body) {
  const headers = method === "GET" ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  if (answer.status === 401) location.reload(); // the server then asks for the token
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `The server answered ${answer.status} ${answer.statusText}.`);
  return told;
}

const isUnreachable = error => error instanceof TypeError; // which is what fetch raises then

// What a person asks for

/** Do what a button says, one at a time. What goes wrong is shown. */
async function attempt(work) {
  if (state.isBusy) return;
  changed({ isBusy: true, notice: "" });
  try {
    await work();
  } catch (error) {
    changed({ notice: isUnreachable(error) ? "The server does not answer. Is it running?" : error.message });
  } finally {
    changed({ isBusy: false });
  }
}

const post = (url, body = {}) => attempt(() => call("POST", url, body));

export const stop = () => post(urlOf(state.id, "/stop"));
export const resume = () => post(urlOf(state.id, "/resume"));
export const answer = (path, value) => post(urlOf(state.id, "/answer"), { value, path, by: "web" });
export const remove = id => attempt(() => call("DELETE", urlOf(id)));

/** A new run that has all that was recorded until the moment that is looked at, and goes on from there. */
export const fork = () =>
  attempt(async () => {
    const { run_id } = await call("POST", urlOf(state.id, "/fork"), { after: row().n });
    choose(run_id);
    await call("POST", urlOf(run_id, "/resume"), {});
  });

/** Start a run and show it. What goes wrong is raised. */
export async function start(slug, body) {
  const { run_id } = await call("POST", `api/flows/${encodeURIComponent(slug)}/runs`, body);
  choose(run_id);
}

export function choose(id) {
  chosen(id);
  connect();
  readHistory();
}

// What the server tells

let source = null;

/** Listen to all runs, and to the events of the chosen one.
 *
 * A browser opens six connections to a host at most, so a tab that nobody sees keeps none. */
export function connect() {
  source?.close();
  source = null;
  if (document.hidden) return;
  const run = state.id === null ? "" : `?run=${encodeURIComponent(state.id)}`;
  const opened = (source = new EventSource(`api/events${run}`));
  for (const name of Object.keys(TOLD)) opened.addEventListener(name, hear);
  opened.onopen = () => state.connection === "open" || readFlows();
  opened.onerror = () => {
    changed({ connection: "lost" }); // a browser connects again, but not where it was refused
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && reconnect(), RETRY);
  };
}

function reconnect() {
  readFlows(); // if a token is asked for, this loads the page again
  connect();
}

function hear({ type, data }) {
  const told = JSON.parse(data);
  TOLD[type](told);
  if (type === "state" || ADDS_ROWS.has(told.type)) readHistory();
}

// What the page reads by itself

/** `work` once at a time, with a pause; the calls that come meanwhile become one. */
function oneAtATime(work) {
  let isUnderWay = false, isAskedFor = false;
  return async () => {
    isAskedFor = true;
    while (isAskedFor && !isUnderWay) {
      isUnderWay = true;
      isAskedFor = false;
      await work().catch(error => isUnreachable(error) || changed({ notice: error.message }));
      await new Promise(done => setTimeout(done, PAUSE));
      isUnderWay = false;
    }
  };
}

const readFlows = oneAtATime(async () => toldFlows(await call("GET", "api/flows")));

const readHistory = oneAtATime(async () => {
  const { id, rows } = state;
  if (id === null) return;
  const told = await call("GET", urlOf(id, rows.length ? `/history?after=${rows.at(-1).n}` : "/history"));
  if (rows === state.rows) changed({ rows: [...rows, ...told.rows] }); // else another run was chosen meanwhile
});

/** Of which moment `state.store` has to be. */
export const storeKey = () => `${state.id} ${row()?.n ?? `now ${state.rows.length}`}`;

export const readStore = oneAtATime(async () => {
  const key = storeKey();
  const told = await call("GET", urlOf(state.id, row() ? `/store?after=${row().n}` : "/store")).catch(error => ({ error }));
  if (isUnreachable(told.error)) throw told.error;
  const { store = {}, changes = {}, error } = told;
  changed({ store: { key, values: Object.entries(store), changes: new Map(Object.entries(changes)), error: error?.message } });
});
