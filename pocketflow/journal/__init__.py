"""Crash-safe runs: a flow that was killed is run again, and goes on where it stopped.

    >>> from pocketflow import Flow, Node
    >>> class Greet(Node):
    ...     def post(self, shared, prep_res, exec_res):
    ...         shared["greeting"] = f"Hello, {shared['name']}!"
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/runs.db") as journal:
    ...     shared, restored = {"name": "Ada"}, {}
    ...     journal.run(Flow(Greet()), shared, run_id="first")
    ...     journal.run(Flow(Greet()), restored, run_id="first")  # it is finished, so nothing runs
    >>> restored == shared
    True

The promise: *a step that finished never runs again; a step that was running when the process died
may run again.* A finished item of a batch is a finished step. The promise holds when the process
dies; with `synchronous="full"`, or PostgreSQL by default, it also holds when the power fails.

What is recorded, and when:

    exec    its result, when it ends, with a digest of the input that it began with; nothing of
            `shared`
    prep    its result together with what changed in `shared`; that of a flow always, so that a
            resumed batch is the batch that was begun; that of a node only if it changed something,
            else it runs again
    visit   its action together with what changed in `shared`
    usage   each event of this type, with which a call of a model reports its tokens, as soon as it
            is emitted: what a run cost is known even if the step then fails

To resume a run, run the flow again from its start: `shared` is filled from the last record, and
each recorded step is skipped, with its recorded result. An exec is skipped only if its input is
the same as before. It is found by the position of its item, so the order in which items end does
not matter. The steps of the flow, and of flows inside it, are recorded; flows that your code
runs inside an exec or a prep are a part of that step.

Branches that run at once share one `shared`, so a record holds what all of them have written so
far. A prep or post that does not await once it has written is never recorded half done. One that does,
next to other branches, may run again on what it has written already, so it has to be idempotent; the
same is true of a post after which a `_run_async` of your own awaits something. When a prep or post
fails after it has written, no more of `shared` is recorded, as it is half done.

An event loop never waits for a disk or a server: with `synchronous="full"` and with PostgreSQL one thread
writes, all that is waiting in one transaction, and an async step ends when its record is durable. The
prep and exec of a sync node, which nothing can await, are durable before its visit is. With a plain
SQLite file a commit is made at once, as that takes less time than to wake a thread.

Limits. Each step compares the store with what was recorded last, which takes about a microsecond for
each list and dict in it. Two keys that hold the same list hold two lists after a resume. Attributes of
nodes are not kept: if a visit resumes after its prep, what `prep` put on `self` is gone, a `start_node`
too. Attempts start again at 0. A skipped step emits no events. An exec whose input or result cannot be
kept runs again, and a `FlowWarning` says so. A file is checked when it is opened, and each record when
it is read. If FILE-wal is damaged, SQLite drops what comes after the damage, as after a crash. A
process suspended during a transaction keeps the SQLite file locked until it ends.
"""

from __future__ import annotations

import asyncio
import os
import traceback
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from copy import deepcopy
from datetime import UTC, datetime
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, Self

from pocketflow import AsyncNode, BaseNode
from pocketflow.graph import Graph, check
from pocketflow.hooks import emit
from pocketflow.journal.deltas import Codec, Tracker, to_json
from pocketflow.journal.recorder import Past, Recorder, recording, state_after
from pocketflow.journal.records import JournalError, Record, RunBusy, RunExists, Store, without_void
from pocketflow.journal.sqlite import SqliteStore
from pocketflow.journal.writer import Owner, Writer, iso
from pocketflow.stream import stream

__all__ = ["Journal", "JournalError", "Paused", "RunBusy", "RunExists", "pause"]

JournalError.__module__ = RunBusy.__module__ = RunExists.__module__ = (
    __name__  # as users import them, so that printed errors say it
)


class Paused(BaseException):
    """A node waits for a person: `run_id`, the `path` of its step, its `question` and `choices`.

    It is not an `Exception`, so that no retry and no `except Exception` takes it for a failure.
    """

    def __init__(self, run_id: str, path: str, question: Any, choices: list[Any] | None = None) -> None:
        super().__init__(f"run {run_id!r} waits at {path} for an answer to {question!r}")
        self.run_id, self.path, self.question, self.choices = run_id, path, question, choices


def pause(question: Any, choices: Iterable[Any] | None = None) -> Any:
    """Inside a node: return a person's answer, given with `Journal.answer`; until then, stop the run with `Paused`.

    When the answer is there, the step runs again from its beginning, so ask before you do what must not
    be done twice. A step may ask several times: its n-th pause gets the n-th answer, on a retry too. If
    there is no answer yet, {"type": "pause", "question": ..., "choices": ...} is emitted.

    question, choices, answer: data, as for `Journal`. choices: the possible answers; None means any.
    Raises: `RuntimeError` outside of a journaled run.
    """
    here = recording.get()
    if here is None:
        raise RuntimeError("pause() outside of a journaled run: write journal.run(flow, shared, run_id=...)")
    recorder, step = here
    listed = None if choices is None else list(choices)
    path, answer, is_answered = recorder.answer(step, question, listed)
    if is_answered:
        return answer
    emit({"type": "pause", "question": question, "choices": listed})
    raise Paused(recorder.run_id, path, question, listed)


class Journal:
    """Keeps runs in one SQLite file, which is created if needed, or in PostgreSQL.

    where: a path, or "postgresql://USER@HOST/DATABASE", with `pip install 'psycopg[binary]'`;
        one table is made in the current schema there.
    exclude: keys of `shared` that are not recorded, such as clients and connections.
    types: classes of your own whose instances are kept: enums, dataclasses, pydantic models and others
        that consist of nothing but their attributes. You need not name what JSON has, tuples, sets,
        bytes, `datetime` and its relatives, `Decimal`, `UUID` and `Path`.
    encode, decode: for other values. `encode(value)` returns a dict of data, or raises `TypeError` for
        a value that it does not know; `decode(dict)` makes the value again.
    strict: refuse a flow in which `pocketflow.graph.check` finds a mistake. And if a node has edges, but
        none for its action, fail the run rather than end it; its last pause can then be answered again.
    synchronous: for SQLite: "normal", or "full" to survive a power failure.
    clock: an attribute; it returns the time as an aware datetime.

    Several threads and event loops may use one journal, and several processes one file or database;
    a forked process opens a journal of its own. While a file is open, and after a crash, the last
    records are in FILE-wal: copy or move it together with the file. FILE-owner-... belongs to a run
    that is going on, or whose process has died.

    Raises: `JournalError` for a file that is damaged, foreign, of another format, or cannot be opened,
        and leaves it as it was; each method raises it when the journal cannot be read or written.
    """

    def __init__(
        self,
        where: str | Path,
        *,
        exclude: Iterable[str] = (),
        types: Iterable[type] = (),
        encode: Callable[[Any], dict[str, Any]] | None = None,
        decode: Callable[[dict[str, Any]], Any] | None = None,
        strict: bool = True,
        synchronous: str = "normal",
    ) -> None:
        if isinstance(exclude, str):
            raise TypeError(f"exclude={exclude!r}: write exclude=[{exclude!r}]")
        if synchronous not in ("normal", "full"):
            raise ValueError(f'synchronous={synchronous!r}: write "normal" or "full"')
        self.exclude, self.strict, self.codec = frozenset(exclude), strict, Codec(types, encode, decode)
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.store = _opened(where, synchronous)
        self.writer = Writer(self.store)
        self._close = weakref.finalize(self, self.writer.close)

    def close(self) -> None:
        """Close the database; not while a run is going on."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(
        self,
        flow: Any,
        shared: dict[str, Any],
        *,
        run_id: str,
        tags: dict[str, Any] | None = None,
        takeover: bool = False,
        allow_changes: bool = False,
    ) -> Any:
        """Run `flow`, or resume it where it stopped, and return its action.

        shared: the store; to resume, an empty dict, or one equal to that which the run began with. It
            is filled in place. If the run is finished, nothing runs, and its action is returned.
        tags: data by which `runs` finds the run; on a resume they are added to those it has.
        takeover: take the run from an owner that is alive, which can then write no more. It is not
            needed if the owner has died.
        allow_changes: resume even if the graph has changed.

        Raises: `RunBusy`, `Paused`, `JournalError`, and the errors of the flow. After each of them
            the run can be resumed.
        """
        run = _Run(self, flow, shared, run_id, tags, takeover, allow_changes, is_async=False)
        try:
            try:
                run.start().result()
                if run.is_finished:
                    return run.restored()
                with run.recorder():
                    return flow.run(shared)
            except BaseException as error:
                run.stop(error)
                raise
            finally:
                run.release().result()
        finally:
            run.leave()  # once more, as an interrupt may have come just before

    async def run_async(
        self,
        flow: Any,
        shared: dict[str, Any],
        *,
        run_id: str,
        tags: dict[str, Any] | None = None,
        takeover: bool = False,
        allow_changes: bool = False,
    ) -> Any:
        """What `run` does, for an async flow."""
        run = _Run(self, flow, shared, run_id, tags, takeover, allow_changes, is_async=True)
        try:
            try:
                await asyncio.wrap_future(run.start())
                if run.is_finished:
                    return run.restored()
                with run.recorder():
                    return await flow.run_async(shared)
            except BaseException as error:
                run.stop(error)
                raise
            finally:
                await asyncio.wrap_future(run.release())
        finally:
            run.leave()

    async def stream(
        self, flow: Any, shared: dict[str, Any], *, run_id: str, buffer: int = 64, **options: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Run, and yield the events of `pocketflow.stream`, each with its "run_id"; options as for `run`.

        A sync flow runs in a thread. Closing the stream stops the run, which can be resumed.
        """
        options["run_id"] = run_id

        async def run_async(shared: dict[str, Any]) -> Any:
            return await self.run_async(flow, shared, **options)

        run = run_async if isinstance(flow, AsyncNode) else _Sync(self, flow, options)
        async with aclosing(stream(run, shared, buffer=buffer)) as events:
            async for event in events:
                yield {**event, "run_id": run_id}

    def answer(self, run_id: str, value: Any, path: str | None = None, by: str | None = None) -> None:
        """Answer the question that waits in the run; if there are several, `path` says which.

        by: who answered, for the history.

        If the run failed because an action had no edge, this replaces the last answer, or that at
        `path`, and everything that followed from the old answer is discarded.
        """
        answer = {"value": value, "by": by}
        text = self.codec.dump(answer, "answer")

        def work() -> None:
            past = self._past(run_id)
            asked = _asked(past, path, run_id)
            choices = self.codec.load(asked.value)["choices"]
            if choices is not None and value not in choices:
                raise JournalError(f"{value!r} is not an answer at {asked.path}: the choices are {choices}")
            token, now = past.last.token, iso(self.clock())
            self.store.append(Record(run_id, token, now, "answer", asked.path, asked.digest, text), token)

        self.writer.do(work)

    def create(self, flow: Any, shared: dict[str, Any], *, run_id: str, tags: dict[str, Any] | None = None) -> None:
        """Record a run that begins later: `run`, with the same `shared` or an empty one, begins it.

        Until then it is "interrupted". So what waits for its turn outlives the process.

        Raises: `RunExists`; `JournalError` for what a run of this flow could not begin with.
        """
        run = _Run(self, flow, shared, run_id, tags, False, False, is_async=False)
        self.writer.do(run.create)

    def check(self, flow: Any, run_id: str) -> None:
        """Raises: `JournalError` if `run` would refuse to resume this run with this flow."""
        run = _Run(self, flow, {}, run_id, None, False, False, is_async=False)
        self.writer.do(lambda: run.check(self._past(run_id)), writes=False)

    def runs(
        self, status: str | None = None, tags: dict[str, Any] | None = None, *, run_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The runs, oldest first, as dicts; only those with this status and all of these tags.

        run_id: of this run alone; the list is empty if there is none.

        run_id, tags; status: "running", "interrupted" (stopped by Ctrl-C or a cancellation, or its
        process died), "finished", "failed" or "paused".
        started, ended: ISO 8601, UTC; `ended` is None while it runs, or if its process died.
        error: the text of the error that it failed with, else None.
        questions: those that wait for an answer, as dicts with `path`, `question` and `choices`.
        fork_of: {"run_id": ..., "n": ...} for a fork: the run, and the record after which it goes on; else None.
        """

        def work() -> list[dict[str, Any]]:
            runs: dict[str, list[Record]] = {}
            for record in self.store.overview(run_id):
                runs.setdefault(record.run_id, []).append(record)
            return [self._described(records) for records in runs.values()]

        wanted = _checked_tags(tags).items()
        return [
            run
            for run in self.writer.do(work, writes=False)
            if status in (None, run["status"]) and all(run["tags"].get(key, ...) == value for key, value in wanted)
        ]

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """All that happened in a run, in order, as dicts.

        n: the position, from 0. at: when, ISO 8601, UTC. path: that of the step, "" for the run itself; of the
            status "failed" that of the step that failed.
        kind: "prep", "exec", "node", "flow" (a step that finished), "usage", "pause", "answer", "begin" or "status".
        action: that of a node or flow, else None. changes: the keys of `shared` that changed.
        seconds: how long the step took, also the one that failed, without the time in which no process ran it; else
            None.
        In addition: result of an exec; event of a usage; question and choices of a pause; value and by
        of an answer; status and error of a status.
        """
        return [self._row(record) for record in self._records(run_id)]

    def load(self, run_id: str, after: int | str | None = None) -> dict[str, Any]:
        """`shared` as it is now, or as it was after a row of the history: an `n`, or a path for its last row."""
        return state_after(without_void(_until(self._records(run_id), after, run_id)), self.codec)

    def states(self, run_id: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each row of the history, with `shared` as it was after that row."""
        records, state = self._records(run_id), dict[str, Any]()
        answered = set[tuple[str, str]]()
        for n, record in enumerate(records):
            self.codec.apply(state, record.changes)
            if record.kind == "answer":
                if (record.path, record.digest) in answered:
                    state = state_after(without_void(records[: n + 1]), self.codec)
                answered.add((record.path, record.digest))
            yield self._row(record), deepcopy(state)

    def fork(self, run_id: str, *, after: int | str) -> str:
        """Make a new run with all records of this one up to `after` (as in `load`), and return its id.

        Run it to go on from there. A question that was asked later is asked again. What the run has cost
        until then is not among the fork's records: it was paid once.
        """
        whole = self._records(run_id)
        past = Past(whole, self.codec)
        records = without_void(_until(whole, after, run_id))

        def work() -> str:
            fork = next(name for number in count(1) if not self.store.records(name := f"{run_id}-fork{number}"))
            owner = Owner(self.writer, fork, self.clock)
            kept = (it for it in records if it.kind not in ("status", "usage"))
            copies = [it._replace(run_id=fork, token=owner.token) for it in kept]
            status = {
                "status": "finished" if any(it.is_end for it in records) else "interrupted",
                "graph": past.graph, "tags": past.tags, "fork_of": {"run_id": run_id, "n": records[-1].n},
            }  # fmt: skip
            self.store.add_run([*copies, owner.record("status", value=self.codec.dump(status, "status"))])
            return fork

        return self.writer.do(work)

    def delete(self, run_id: str) -> None:
        """Delete a run with its history, and free the space. Raises: `RunBusy` while it runs."""
        self._delete([run_id])

    def prune(self, before: datetime) -> list[str]:
        """Delete the runs that finished or failed before a moment, an aware datetime; return their ids."""
        if before.tzinfo is None:
            raise ValueError(f"before={before!r} has no time zone: write an aware datetime, such as datetime.now(UTC)")
        until = iso(before)
        ended = [it["run_id"] for it in self.runs() if it["status"] in ("finished", "failed") and it["ended"] < until]
        self._delete(ended)
        return ended

    # Inside

    def _delete(self, run_ids: list[str]) -> None:
        def work() -> None:
            last_records = [self._found(run_id)[-1] for run_id in run_ids]
            for last in last_records:
                if self.store.is_alive(last.token):
                    raise RunBusy(f"{last.run_id!r} is being run: wait for it, or stop it")
            for last in last_records:
                self.store.delete(last)

        self.writer.do(work)
        if run_ids:
            self.writer.do(self.store.reclaim, writes=None)

    def _found(self, run_id: str) -> list[Record]:
        records = self.store.records(_checked_id(run_id))
        if not records:
            raise JournalError(f"{self.store.name} has no run {run_id!r}: see journal.runs()")
        return records

    def _past(self, run_id: str) -> Past:
        return Past(self._found(run_id), self.codec)

    def _records(self, run_id: str) -> list[Record]:
        return self.writer.do(lambda: self._found(run_id), writes=False)

    def _described(self, records: list[Record]) -> dict[str, Any]:
        """What `runs` gives of a run."""
        statuses = [(it.at, self.codec.load(it.value)) for it in records if it.kind == "status"]
        if not statuses:
            raise self.store.damaged(f"the status of {records[0].run_id!r}")
        ended, last = statuses[-1]
        end = next((it for it in records if it.is_end), None)
        status = "finished" if end else last["status"]
        if status == "running":
            ended = ""
            if not self.store.is_alive(records[-1].token):
                status = "interrupted"
        answered = {(it.path, it.digest) for it in records if it.kind == "answer"}
        waiting = [it for it in records if it.kind == "pause" and (it.path, it.digest) not in answered]
        return {
            "run_id": records[0].run_id,
            "status": status,
            "started": statuses[0][0],
            "ended": end.at if end else ended or None,
            "error": None if end else last.get("error"),
            "questions": [{"path": it.path, **self.codec.load(it.value)} for it in waiting],
            "tags": [it["tags"] for _, it in statuses if "tags" in it][-1],
            "fork_of": statuses[0][1].get("fork_of"),
        }

    def _row(self, record: Record) -> dict[str, Any]:
        """What `history` gives of a record."""
        value = self.codec.load(record.value)
        row = {
            "n": record.n,
            "path": record.path,
            "kind": record.kind,
            "action": value if record.kind in ("node", "flow") else None,
            "at": record.at,
            "seconds": record.seconds,
            "changes": list(dict.fromkeys(keys[0] for _, keys, *_ in self.codec.load(record.changes))),
        }
        if record.kind == "exec":
            row["result"] = value
        if record.kind == "usage":
            row["event"] = value
        if record.kind in ("pause", "answer"):
            row |= value
        if record.kind == "status":
            row |= {"status": value["status"], "error": value.get("error")}
        return row


class _Run:
    """One call of `Journal.run` or `run_async`."""

    def __init__(
        self,
        journal: Journal,
        flow: Any,
        shared: Any,
        run_id: Any,
        tags: dict[str, Any] | None,
        takeover: bool,
        allow_changes: bool,
        *,
        is_async: bool,
    ) -> None:
        if type(shared) is not dict:
            raise TypeError(f"shared is of type {type(shared).__name__}: a journaled run needs a plain dict")
        self.journal, self.shared, self.tags = journal, shared, _checked_tags(tags)
        self.takeover, self.allow_changes = takeover, allow_changes
        self.owner = Owner(journal.writer, _checked_id(run_id), journal.clock, is_async=is_async)
        self.flow = flow
        self.hook: Recorder | None = None
        self.outer = recording.get()

    def start(self) -> Future[None]:
        return self.owner.do(self._begin, done=self.owner.note)

    @property
    def is_finished(self) -> bool:
        return self.past.end is not None

    def restored(self) -> Any:
        """Fill `shared` from a finished run, and return its action."""
        self._fill()
        assert self.past.end
        return self.journal.codec.load(self.past.end.value)

    def recorder(self) -> Recorder:
        if self.past.steps or not self._kept():  # else it is as it began, and the caller's own objects stay
            self._fill()
        journal = self.journal
        self.hook = Recorder(
            self.owner, self.shared, self.past, journal.codec,
            exclude=journal.exclude, strict=journal.strict, allow_changes=self.allow_changes,
        )  # fmt: skip
        return self.hook

    def stop(self, error: BaseException) -> None:
        """Record why the run stopped, unless it was finished, or the database was the reason."""
        hook, lost = self.hook, self.owner.lost
        if isinstance(error, Paused) and lost:
            raise JournalError(f"{self.owner.run_id!r}: a question could not be recorded: {lost}") from lost
        if lost or (hook and hook.is_finished):
            return
        status: dict[str, Any] = {
            "status": _status_of(error),
            "error": None if isinstance(error, _NO_ERRORS) else _text_of(error),
        }
        if hook and hook.lacks_edge:
            status["reopens"] = True  # its last pause, for another answer
        path, seconds = hook.failed_at if hook and status["status"] == "failed" else ("", None)
        with suppress(JournalError):
            self.owner.append("status", path, value=to_json(status), seconds=seconds)

    def release(self) -> Future[None]:
        return self.owner.release()

    def leave(self) -> None:
        """Clean up, wherever an interrupt came."""
        recording.set(self.outer)
        self.release()

    def create(self) -> None:
        """The first records of a run that nobody runs yet."""
        self._check_flow()
        if self.owner.store.records(self.owner.run_id):
            raise RunExists(f"there is a run {self.owner.run_id!r} already: choose another run_id")
        self.owner.store.add_run(self._first("interrupted"))

    def _begin(self) -> None:
        """Where no loop is held up: check the flow, read what there is of the run, and become its owner."""
        records = self.owner.store.records(self.owner.run_id)
        if records:
            self._resume(Past(records, self.journal.codec))
            return
        self._check_flow()
        first = self._first("running")
        self.owner.take(None, self.takeover)
        self.owner.store.add_run(first)
        self.past = Past(first, self.journal.codec)

    def check(self, past: Past) -> None:
        """Raise an error if the flow cannot go on with this run."""
        self._check_flow()
        self._check_shared(past)
        if any(record.is_step for record in past.records) and not self.allow_changes:
            _check_shape(self.owner.run_id, past.graph, self.graph)

    def _check_flow(self) -> None:
        if self.journal.strict and (found := check(self.flow)):
            raise JournalError(f"{found[0]}; fix the flow, or open the journal with strict=False")
        self.graph = _shape(self.flow)

    def _first(self, status: str) -> list[Record]:
        changes = to_json(Tracker(self.journal.codec, {}).compare(self._kept()).changes)
        return [self.owner.record("begin", changes=changes), self._status(status, self.tags)]

    def _resume(self, past: Past) -> None:
        self.check(past)
        if not past.end:
            self.owner.take(past.last, self.takeover)
            self.owner.store.append(self._status("running", {**past.tags, **self.tags}), past.last.token)
        if past.steps or past.end or not self._kept():
            _ = past.state  # made here, where it holds up nothing
        self.past = past

    def _status(self, status: str, tags: dict[str, Any]) -> Record:
        value = {"status": status, "graph": self.graph, "tags": tags}
        return self.owner.record("status", value=self.journal.codec.dump(value, "tags"))

    def _kept(self) -> dict[str, Any]:
        return {key: value for key, value in self.shared.items() if key not in self.journal.exclude}

    def _check_shared(self, past: Past) -> None:
        """Accept the store that the run began with, or as the run left it, or an empty one for what is recorded."""
        given, codec = self._kept(), self.journal.codec
        known = (state_after([past.begun], codec), past.state)
        if given and codec.canonical(given, "shared") not in [codec.canonical(state, "shared") for state in known]:
            raise JournalError(
                f"{self.owner.run_id!r} began with another shared: give that one, or an empty dict to resume;"
                " or choose another run_id"
            )

    def _fill(self) -> None:
        for key in self._kept():
            del self.shared[key]
        self.shared.update(self.past.state)


class _Sync(BaseNode):
    """A journaled run of a sync flow, as something that has a `run`."""

    def __init__(self, journal: Journal, flow: Any, options: dict[str, Any]) -> None:
        super().__init__()
        self.journal, self.flow, self.options = journal, flow, options

    def run(self, shared: dict[str, Any]) -> Any:
        return self.journal.run(self.flow, shared, **self.options)


def _opened(where: str | Path, synchronous: str) -> Store:
    if str(where).startswith(("postgresql://", "postgres://")):
        from pocketflow.journal.postgres import PostgresStore  # as it needs psycopg

        return PostgresStore(str(where))
    return SqliteStore(os.path.abspath(where), synchronous)


def _checked_id(run_id: Any) -> str:
    if not isinstance(run_id, str) or not run_id:
        raise TypeError(f'run_id={run_id!r}: write a text, such as run_id="monday"')
    return run_id


def _checked_tags(tags: Any) -> dict[str, Any]:
    if not isinstance(tags, dict | None):
        raise TypeError(f'tags={tags!r}: write a dict, such as tags={{"user": "ada"}}')
    return tags or {}


def _until(records: list[Record], after: int | str | None, run_id: str) -> list[Record]:
    """The records up to the one with this `n`, or the last one of this path."""
    if after is None:
        return records
    found = [it.n for it in records if after == (it.n if isinstance(after, int) else it.path)]
    if not found or after == "":
        raise JournalError(f"{run_id!r} has no record {after!r}: see journal.history({run_id!r})")
    return records[: found[-1] + 1]


def _asked(past: Past, path: str | None, run_id: str) -> Record:
    """The question that an answer is for."""
    waiting = past.waiting
    if not waiting and past.last.kind == "status" and past.status.get("reopens"):
        answered = [past.pauses[key] for key in past.answers]
        waiting = [it for it in answered if it.path == path] if path else answered[-1:]
    paths = [it.path for it in waiting]
    if path is None and len(waiting) > 1:
        raise JournalError(f"several questions are waiting in {run_id!r}: add path=, one of {paths}")
    if not waiting:
        raise JournalError(f"no question is waiting in {run_id!r}")
    if path not in (None, *paths):
        raise JournalError(f"no question is waiting in {run_id!r} at {path}: path has to be one of {paths}")
    return waiting[-1 if path is None else len(paths) - 1 - paths[::-1].index(path)]


def _shape(flow: Any) -> list[str]:
    """The graph of a flow, line by line."""
    graph = Graph(flow)
    lines = [f"{node.id} is a {type(node.node).__name__}" for node in graph.nodes]
    return lines + [f'{edge.source} - "{edge.action}" >> {edge.target or "the end"}' for edge in graph.edges]


def _check_shape(run_id: str, before: list[str], now: list[str]) -> None:
    if before != now:
        pairs = zip_longest(before, now, fillvalue="nothing")
        old, new = next((old, new) for old, new in pairs if old != new)
        raise JournalError(
            f"the graph of {run_id!r} changed since it began: {old} before, {new} now;"
            " take the change back, choose another run_id, or pass allow_changes=True (in a shell --allow-changes)"
        )


def _status_of(error: BaseException) -> str:
    if isinstance(error, Paused):
        return "paused"
    return "failed" if isinstance(error, Exception) else "interrupted"


_NO_ERRORS = (Paused, KeyboardInterrupt, asyncio.CancelledError)  # someone stopped the run, or is asked


def _text_of(error: BaseException) -> str:
    """The error with its notes, without the traceback."""
    return "".join(traceback.format_exception_only(error)).strip()
