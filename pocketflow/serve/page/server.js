// What the server is asked for, and what it tells.

import { find } from "./dom.js";
import { TOLD, changed, chosen, row, state, toldFlows, toldMoment } from "./state.js";

const RETRY = 2000; // milliseconds until a connection that was refused is tried again
const ADDS_ROWS = new Set(["node_end", "item_end", "pause", "status"]); // events after which the history has grown

const urlOf = (id, rest = "") => `api/runs/${encodeURIComponent(id)}${rest}`;
export const timelineOf = id => urlOf(id, "/trace");

/** What the server answers to a JSON text. Where it refuses, an Error with its words. */
async function call(method, url, body) {
  const answer = await fetch(url, { method, headers: { "Content-Type": "application/json" }, body });
  if (answer.status === 401) location.reload(); // the server then asks for the token
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `The server answered ${answer.status}.`);
  return told;
}

const isUnreachable = error => error instanceof TypeError; // as fetch raises it
export const wordsOf = error => (isUnreachable(error) ? "The server does not answer. Is it running?" : error.message);

// What a person asks for

/** Do one thing at a time with a run, and show what goes wrong. */
async function attempt(work, id = state.id) {
  if (state.busy.has(id)) return;
  state.busy.add(id);
  changed({ notice: "" });
  try {
    await work(id);
  } catch (error) {
    changed({ notice: wordsOf(error) });
  } finally {
    state.busy.delete(id);
    changed();
  }
}

const post = (rest, body = {}) => attempt(id => call("POST", urlOf(id, rest), JSON.stringify(body)));

export const stop = () => post("/stop");
export const resume = () => post("/resume");
export const answer = (path, value) => post("/answer", { value, path, by: find("by").value.trim() || "web" });
export const remove = id => attempt(() => call("DELETE", urlOf(id)), id);

/** A new run that goes on from the moment that is looked at. */
export const fork = () =>
  attempt(async id => {
    const { run_id } = await call("POST", urlOf(id, "/fork"), `{"after":${row().n}}`);
    choose(run_id);
    await call("POST", urlOf(run_id, "/resume"), "{}");
  });

/** Start a run and show it; raises what goes wrong. body: a JSON text. */
export async function start(slug, body) {
  const { run_id } = await call("POST", `api/flows/${encodeURIComponent(slug)}/runs`, body);
  choose(run_id);
}

export function choose(id) {
  chosen(id);
  connect();
}

// What the server tells

let source = null;

/** Listen to all runs and to the chosen one. A browser opens six connections to a host, so a hidden tab keeps none. */
export function connect() {
  source?.close();
  source = null;
  if (document.hidden) return;
  const run = state.id === null ? "" : `?run=${encodeURIComponent(state.id)}`;
  const opened = (source = new EventSource(`api/events${run}`));
  for (const name of Object.keys(TOLD)) opened.addEventListener(name, hear);
  opened.onopen = () => state.connection === "open" || readFlows();
  opened.onerror = () => {
    changed({ connection: "lost" }); // a browser comes back by itself, unless it was refused
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && connect(), RETRY);
    readFlows(); // notices when a token is asked for
  };
}

function hear({ type, data }) {
  const told = JSON.parse(data);
  TOLD[type](told);
  if (type === "state" || ADDS_ROWS.has(told.type)) readHistory();
}

// What the page reads by itself

/** `work` once at a time, with milliseconds of pause; calls that come meanwhile become one. */
function oneAtATime(pause, work) {
  let isUnderWay = false, isAskedFor = false;
  return async () => {
    isAskedFor = true;
    while (isAskedFor && !isUnderWay) {
      isUnderWay = true;
      isAskedFor = false;
      await work().catch(error => isUnreachable(error) || changed({ notice: error.message }));
      await new Promise(done => setTimeout(done, pause));
      isUnderWay = false;
    }
  };
}

const readFlows = oneAtATime(300, async () => toldFlows(await call("GET", "api/flows")));

const readHistory = oneAtATime(300, async () => {
  const { id, run, rows } = state;
  if (!run) return; // it may have been deleted
  const told = await call("GET", urlOf(id, rows.length ? `/history?after=${rows.at(-1).n}` : "/history"));
  if (rows === state.rows) changed({ rows: [...rows, ...told.rows] }); // else another run was chosen meanwhile
});

/** Read how all was at the moment that is looked at, unless that is there already. */
export const readMoment = oneAtATime(30, async () => {
  const { id, rows } = state, key = `${id} ${row()?.n ?? `now ${rows.length}`}`;
  if (state.moment?.key === key || !rows.length) return;
  const url = urlOf(id, row() ? `/store?after=${row().n}` : "/store");
  const told = await call("GET", url).catch(error => ({ error: error.message }));
  if (id === state.id) toldMoment(key, told);
});
