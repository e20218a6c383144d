"""A run that is here: its state, its events, and how it stops."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from traceback import format_exception_only
from typing import Any

from pocketflow.hooks import Hook, Step
from pocketflow.journal import Paused
from pocketflow.serve.problems import Problem
from pocketflow.serve.served import Served
from pocketflow.serve.sse import Buffer
from pocketflow.serve.state import Json, State, exec_of, shown

STOPPED = ("paused", "finished", "failed", "interrupted")


def new_id(slug: str) -> str:
    """An id for a run of the flow with this slug."""
    return f"{slug}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(3)}"


def checked_id(run_id: Any) -> str:
    """The id that somebody has chosen, if an address can hold it."""
    if not isinstance(run_id, str) or not re.fullmatch(r"\w[\w.:@+-]{0,199}", run_id):
        raise Problem(f"run_id={run_id!r}: write up to 200 letters, digits and . _ : @ + -")
    return run_id


def new_run(run_id: str, slug: str, tags: Json) -> Json:
    """What there is to say of a run before it begins."""
    started = datetime.now(UTC).isoformat(timespec="microseconds")
    return {"run_id": run_id, "flow": slug, "started": started, "tags": tags, "questions": [], "fork_of": None}


class Live:
    """A run that waits or runs here, or has stopped not long ago.

    run: its summary; shared: its store, which is filled from the journal.
    refreshed: how often the state has changed in a way that no event tells.
    is_asking: whether a node has asked a person, for which the run is about to stop.
    """

    def __init__(self, run: Json, served: Served, shared: Json, buffer: Buffer, past: list[Json]) -> None:
        self.run, self.served, self.shared, self.buffer = run, served, shared, buffer
        self.run_id = run["run_id"]
        self.state = State(served.graph, past)
        self.work: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()
        self.refreshed, self.is_asking = 0, False

    @property
    def summary(self) -> Json:
        return {**self.run}

    def described(self) -> Json:
        return {**self.summary, **self.state.described(), "event": self.buffer.last_id}

    def tell(self, event: Json) -> None:
        """Fold an event of the stream into the state, and pass it on."""
        told = self.state.apply(event)
        self.refreshed += bool(told["changes"].pop("refresh", False))
        self.is_asking |= event["type"] == "pause"
        self.buffer.add(told)

    def tell_result(self, path: str, result: str, is_restored: bool) -> None:
        if told := self.state.put_result(*exec_of(path), result, is_restored=is_restored):
            self.buffer.add(told)

    def change(self, **run: Any) -> None:
        """Tell how the run is now."""
        self.run |= run
        changes: Json = {"run": run}
        if self.run["status"] in STOPPED:
            changes |= self.state.stop(self.run["status"], self.run["questions"])
        self.buffer.add({"type": "status", "path": "", "changes": changes})

    def stop(self, **run: Any) -> None:
        """Tell how the run has stopped, and let go of all that only a run needs."""
        self.run["is_here"] = False
        self.change(**run)
        self.work, self.shared = None, {}
        self.state.past.clear()
        self.stopped.set()

    def is_as(self, run: Json | None) -> bool:
        """Whether it has not changed since it stopped."""
        return run is not None and all(self.run[key] == run[key] for key in ("status", "ended", "questions"))


class Results(Hook):
    """Tells what exec returned, which no event does; and no node ends the server with `sys.exit`."""

    def __init__(self, live: Live) -> None:
        self.live, self.loop = live, asyncio.get_running_loop()

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "exec" and result is not None:
            with suppress(RuntimeError):  # the loop has ended before a step that could not be stopped
                self.loop.call_soon_threadsafe(self.live.tell_result, step.path, shown(result), step.skipped)

    def on_error(self, step: Step, error: BaseException) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise RuntimeError(f"{step.name} raised {error!r}: raise an Exception in a server") from error


def outcome(work: asyncio.Task[None]) -> Json:
    """How a run stopped, as far as we have seen it."""
    stopped: Json = {"status": "finished", "error": None, "ended": datetime.now(UTC).isoformat()}
    if work.cancelled():
        return {**stopped, "status": "interrupted"}
    error = work.exception()
    if error is None or isinstance(error, Paused):
        return {**stopped, "status": "paused" if error else "finished"}
    return {**stopped, "status": "failed", "error": "".join(format_exception_only(error)).strip()}
