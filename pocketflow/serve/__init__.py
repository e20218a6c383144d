"""Any flow as a web application: run it over HTTP, and see, answer and replay its runs in a browser.

`python -m pocketflow serve article.py:flow --journal runs.db` serves flows on this machine. In a FastAPI
or Starlette service of your own:

    studio = serve.app({"article": flow}, "runs.db", token=os.environ["POCKETFLOW_TOKEN"])
    service = FastAPI(lifespan=studio.router.lifespan_context)
    service.mount("/flows", studio)

The page is at its root, and asks for the token. `Runs` is what stands behind it, for an interface of your own.
It needs Starlette: pip install starlette uvicorn

The HTTP interface. Bodies are JSON objects, sent as application/json; what a body leaves out is null. A RUN is a dict
of what `Runs` says of it; a STATE has, beside that, "event" (the id of the last event in it) and what the
`State` of `pocketflow.serve.state` has.

    GET     /api/flows                  {"flows": [...]}: "name", "slug", "doc", "svg", "nodes", "inputs", "findings"
    POST    /api/flows/{slug}/runs      {"shared", "run_id", "tags"} starts a run: 201, {"run_id"}
    POST    /api/flows/{slug}/stream    the same, answered with the events; who leaves before the end stops the run
    GET     /api/runs?limit=100         {"runs": [RUN, ...], "more"}: the newest, and how many older ones there are
    GET     /api/runs/{run_id}          STATE
    DELETE  /api/runs/{run_id}          {"deleted": run_id}; one that goes on is stopped instead, as by /stop
    GET     /api/runs/{run_id}/events   the events until the run stops
    GET     /api/runs/{run_id}/history  {"rows": [...]}, as `Runs.history` gives them; ?after=3: only those after row 3
    GET     /api/runs/{run_id}/store    what `Runs.store` gives; ?after=3: as it was after row 3
    GET     /api/runs/{run_id}/trace    the timeline, a page
    POST    /api/runs/{run_id}/answer   {"value", "path", "by"} answers a question, and the run goes on: RUN
    POST    /api/runs/{run_id}/resume   the run goes on: RUN
    POST    /api/runs/{run_id}/stop     RUN; 202 if it is not stopped within a second, but "stopping"
    POST    /api/runs/{run_id}/fork     {"after": 3} makes a run with the past of this one up to row 3: 201, {"run_id"}
    GET     /api/events                 the runs as they change; ?run=ID: and the events of one

What is refused is answered with {"error": "a sentence"}: 400 for what makes no sense, 401 without the token
(`Authorization: Bearer TOKEN`), 403 under another host or for the page of another site, 404, 405, 409 for a run that
is not as it would have to be, 413 for a body that is too long, 415 for one that is not JSON, 500 for a journal that
cannot be read and for mistakes of the server, and 503 with `Retry-After` where no more runs can wait. Why a run failed
is its "error"; the traceback is in the log, by the logger `pocketflow.serve.runs`.

Events are Server-Sent Events with JSON as data, and a comment after 15 seconds of silence. They are those of
`pocketflow.stream`, with "id" (of the node in the graph) and "changes" (new values, to be assigned to a STATE: "run",
some keys of the RUN; "nodes", by id; "output", one by its "slot"; "append", text for the one in a slot; "outputs",
how they were left). There are some more types: "status", whose "changes" say how the run is now; "result", what an
exec returned that streamed nothing; "gap", where events are no longer kept: ask for the STATE; and at last "end",
with the status of the run. Who sends `Last-Event-ID` gets what comes after it; after "end", that is 204.

/api/events names its messages: "runs" (as /api/runs) at first, then "run" (RUN) and "deleted" ({"run_id"}) as they
change. Of the one run, "state" (STATE) or "missing" ({"run_id"}), and "past": "events" from before the state,
to be listed, and "left_out", how many more there were. Messages without a name are its events from then on. A "state"
and a "past" that come later take the place of those before.
"""

from __future__ import annotations

from pocketflow.serve.api import app
from pocketflow.serve.problems import Busy, Conflict, NotFound, Problem
from pocketflow.serve.runs import Runs

__all__ = ["Busy", "Conflict", "NotFound", "Problem", "Runs", "app"]
