// What is asked of the server, and the one connection over which it tells what happens.

import { TOLD, changed, chosen, row, state, toldFlows } from "./state.js";

const RETRY = 2000; // milliseconds until a connection that was refused is tried again
const PAUSE = 300; // between two readings of a history that grows

const urlOf = (id, rest = "") => `api/runs/${encodeURIComponent(id)}${rest}`;

/** What the server answers to a request; an `Error` with its words where it refuses. */
async function call(method, url, body) {
  const headers = method === "GET" ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  if (answer.status === 401) location.reload(); // the server then asks for the token
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `The server answered ${answer.status} ${answer.statusText}.`);
  return told;
}

const isUnreachable = error => error instanceof TypeError; // what fetch raises without a connection

// What a person asks for

/** Do what a button says, once at a time; what goes wrong stands on the page. Gives undefined then. */
async function attempt(work) {
  if (state.isBusy) return undefined;
  changed({ isBusy: true, notice: "" });
  try {
    return await work();
  } catch (error) {
    changed({ notice: isUnreachable(error) ? "The server does not answer. Is it running?" : error.message });
  } finally {
    changed({ isBusy: false });
  }
}

/** Start a run and show it; an error of the server is raised. */
export async function start(slug, body) {
  const { run_id } = await call("POST", `api/flows/${encodeURIComponent(slug)}/runs`, body);
  choose(run_id);
}

export const stop = () => attempt(() => call("DELETE", urlOf(state.id)));
export const resume = () => attempt(() => call("POST", urlOf(state.id, "/resume"), {}));
export const remove = id => attempt(() => call("DELETE", urlOf(id)));
export const answer = (path, value) => attempt(() => call("POST", urlOf(state.id, "/answer"), { value, path, by: "web" }));

/** A new run with all that was recorded until the moment that is looked at; it goes on from there. */
export const fork = () =>
  attempt(async () => {
    const { run_id } = await call("POST", urlOf(state.id, "/fork"), { after: row().n });
    choose(run_id);
    await call("POST", urlOf(run_id, "/resume"), {});
  });

export function choose(id) {
  chosen(id);
  connect();
  if (id !== null) readHistory();
}

// What the server tells

const ADDS_ROWS = new Set(["node_end", "item_end", "pause", "status"]); // events after which the history has grown
let source = null;

/** Listen to the events of all runs and of the chosen one. A browser opens six connections to a host, so that a tab
 * which nobody sees keeps none. */
export function connect() {
  source?.close();
  source = null;
  if (document.hidden) return;
  const opened = (source = new EventSource(state.id === null ? "api/events" : `api/events?run=${encodeURIComponent(state.id)}`));
  for (const name of Object.keys(TOLD)) opened.addEventListener(name, heard);
  opened.onopen = () => state.connection === "open" || readFlows();
  opened.onerror = () => {
    changed({ connection: "lost" });
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && reconnect(), RETRY);
  };
}

function reconnect() {
  readFlows(); // the page is loaded again if a token is asked for
  connect();
}

function heard({ type, data }) {
  const told = JSON.parse(data);
  TOLD[type](told);
  if (type === "state" || ADDS_ROWS.has(told.type)) readHistory();
}

/** Calls of `work` one after the other, with a pause: those that come meanwhile become one. */
function oneAtATime(work) {
  let isUnderWay = false, isAskedFor = false;
  return async function again() {
    isAskedFor = true;
    while (isAskedFor && !isUnderWay) {
      [isUnderWay, isAskedFor] = [true, false];
      await work().catch(error => isUnreachable(error) || changed({ notice: error.message }));
      await new Promise(done => setTimeout(done, PAUSE));
      isUnderWay = false;
    }
  };
}

const readFlows = oneAtATime(async () => toldFlows(await call("GET", "api/flows")));

export const readHistory = oneAtATime(async () => {
  const { id, rows } = state;
  if (id === null) return;
  const last = rows.at(-1)?.n ?? -1;
  const told = await call("GET", urlOf(id, `/history${rows.length ? `?after=${last}` : ""}`));
  if (id === state.id) changed({ rows: [...state.rows, ...told.rows.filter(row => row.n > last)] });
});

/** What `state.store` has to be: the store of this run at the moment that is looked at. */
export const storeKey = () => `${state.id} ${row()?.n ?? `now ${state.rows.length} ${state.run?.status}`}`;

export const readStore = oneAtATime(async () => {
  const key = storeKey(), after = row() ? `?after=${row().n}` : "";
  if (state.store?.key === key) return;
  const told = await call("GET", urlOf(state.id, `/store${after}`)).catch(error => ({ error: error.message }));
  changed({ store: { key, values: Object.entries(told.store ?? {}), changes: new Map(Object.entries(told.changes ?? {})), error: told.error } });
});

export const timelineOf = id => urlOf(id, "/trace");
