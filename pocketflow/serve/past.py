"""What a journal has of a run, as it is told to programs and pages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from pocketflow.serve.live import STOPPED
from pocketflow.serve.served import Served
from pocketflow.serve.state import Json, State, shown
from pocketflow.text import plain
from pocketflow.trace import Trace

RESULT = 300  # characters of a result in a row


def state_of(rows: list[Json], served: Served | None, status: Any, questions: Iterable[Mapping[str, Any]]) -> Json:
    """How a run with this history stands, as `State` describes it."""
    state = State(served.graph if served else None)
    state.restore(rows)
    if status in STOPPED:
        state.stop(status, questions)
    return state.described()


def store_after(rows: list[Json], served: Served | None, before: Json, now: Json) -> Json:
    """The run after the last of these rows: the store now, what that row changed in the store before, and the state."""
    last = rows[-1]
    return {
        "n": last["n"],
        "store": {str(key): shown(value) for key, value in now.items()},
        "changes": _changes(last["changes"], before, now),
        **state_of(rows, served, last.get("status"), [row for row in rows if row["kind"] == "pause"]),
    }


def timeline_of(rows: list[Json], served: Served | None, status: Any) -> str:
    """The trace of a run as a page; what runs still has lasted until now."""
    trace = Trace.of(rows, served.flow if served else None)
    trace.flows.clear()  # the graph stands beside it
    if status not in STOPPED:
        trace.clock = time.time
    return trace.html()


def no_row(run_id: str, after: int | str, rows: list[Json]) -> str:
    """What to tell those who ask for a row that is not there."""
    return f"{run_id!r} has no row {after!r:.100} in its history: the last one is {rows[-1]['n']}"


def told_rows(rows: list[Json], served: Served | None) -> list[Json]:
    """Each row with the id of its node, as JSON takes it; results as text."""
    actions = {row["path"]: row["action"] for row in rows if row["kind"] in ("node", "flow")}
    return [_row(row, served.graph.locate(row["path"], actions) if served else None) for row in rows]


def _row(row: Mapping[str, Any], id: str | None) -> Json:
    told = {**row, "id": id, "result": None if row.get("result") is None else shown(row["result"])[:RESULT]}
    return {key: plain(value) for key, value in told.items() if key != "result" or value is not None}


def _changes(keys: Iterable[Any], before: Json, now: Json) -> dict[str, str]:
    """What a row did to each key of the store."""
    return {
        str(key): "added" if key not in before else "changed" if key in now else "removed"
        for key in keys
        if key in before or key in now
    }
