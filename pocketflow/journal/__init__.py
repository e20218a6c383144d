"""Crash-safe runs: a flow that dies is run again, and goes on where it stopped.

    >>> from pocketflow import Flow, Node
    >>> class Greet(Node):
    ...     def post(self, shared, prep_res, exec_res):
    ...         shared["greeting"] = f"Hello, {shared['name']}!"
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/runs.db") as journal:
    ...     shared, restored = {"name": "Ada"}, {}
    ...     journal.run(Flow(Greet()), shared, run_id="first")
    ...     journal.run(Flow(Greet()), restored, run_id="first")  # is finished: nothing runs
    >>> restored == shared
    True

The promise: *a step that finished is never run again; a step that was in flight when the process
died may run again.* A finished item of a batch is a finished step. It holds for the death of the
process; `synchronous="full"`, and PostgreSQL as it comes, extend it to the loss of power.

What is recorded, and when:

    exec    its result, when it ends, and nothing of `shared`; with a digest of its input as it was
            when it began
    prep    its result together with what changed in `shared`; a flow's prep always, so that a
            resumed batch is the batch that was begun; that of a node which changed nothing is not
            recorded, and runs again
    visit   its action together with what changed in `shared`

A run is resumed by running the flow again from its start, on `shared` as the last record left it;
every recorded step is skipped, and what it returned stands for it. An exec is skipped only if its
input is what it was; else it runs. Its place is the position of its item, so the order in which
items end does not matter. Recorded are the steps of the flow and of the flows inside of it; what
user code runs inside of an exec or a prep belongs to that step.

Branches that run at once share one `shared`, so a record holds what all of them have written until
then. A prep or post that does not await between its writes is never seen half done. One that does
await there, beside other branches, may be run again on what it wrote already, so it has to be
idempotent; so has a post after which a `_run_async` of your own awaits something. When a prep or post
fails after it has written, nothing more of `shared` is recorded, as it would keep what is half done.

No event loop is held up by a disk or a server: with `synchronous="full"` and PostgreSQL one thread writes,
what waits meanwhile in one transaction, and an async step ends when its record is durable. The prep
and exec of a sync node, which nothing can await, are durable before its visit is. A commit that waits
for nothing is made at once, as it takes less time than to wake a thread.

Limits. Every step compares the store with what was recorded last: about a microsecond for each
list and dict in it. Two keys that hold the same list hold two lists after a resume. Attributes of
nodes are not kept: what `prep` leaves on `self`, a `start_node` too, is gone for a visit that
resumes after its prep. Attempts start again at 0. A skipped step emits no events. An exec whose input
or result cannot be kept is run again, and a `FlowWarning` says so. A file is checked when it is opened,
and every record when it is read; of a damaged FILE-wal SQLite drops what comes after the damage, as
after a crash. An owner that was frozen inside of a transaction keeps an SQLite file locked until it ends.
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

    No `Exception`, so that no retry and no `except Exception` takes it for a failure.
    """

    def __init__(self, run_id: str, path: str, question: Any, choices: list[Any] | None = None) -> None:
        super().__init__(f"run {run_id!r} waits at {path} for an answer to {question!r}")
        self.run_id, self.path, self.question, self.choices = run_id, path, question, choices


def pause(question: Any, choices: Iterable[Any] | None = None) -> Any:
    """Inside a node: the person's answer, given with `Journal.answer`; until then, stop the run with `Paused`.

    The step around it runs again when the answer is there, so ask before what must not be done
    twice. A step may ask several times: its n-th pause gets the n-th answer, on a retry too. While
    nobody has answered, {"type": "pause", "question": ..., "choices": ...} is emitted.

    question, choices, answer: data, as `Journal` says. choices: what may be answered; None means anything.
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
    """Runs in one SQLite file, made if it is not there, or in PostgreSQL.

    where: a path, or "postgresql://USER@HOST/DATABASE", with `pip install 'psycopg[binary]'`;
        one table is made in the schema that is current there.
    exclude: keys of `shared` that stay with the caller, such as clients and connections.
    types: classes of your own whose instances are kept: enums, dataclasses, pydantic models and what
        else is nothing but its attributes. What JSON has, tuples, sets, bytes, `datetime` and its kin,
        `Decimal`, `UUID` and `Path` are kept as they are.
    encode, decode: for the rest. `encode(value)` returns a dict of data, from which `decode(dict)`
        makes the value again, and raises `TypeError` for what it does not know.
    strict: refuse a flow in which `pocketflow.graph.check` finds a mistake; and where an action has no
        edge, though others have, fail the run in place of ending it. Its last pause can then be answered anew.
    synchronous: of SQLite: "normal", or "full" to survive the loss of power.
    clock: an attribute, returns the time as an aware datetime.

    One journal may be used by several threads and event loops, one file or database by several
    processes; a process that was forked opens a journal of its own. While a file is open, and after a
    crash, the last records stand in FILE-wal: who copies or moves it takes that along. FILE-owner-...
    belongs to a run that is going on, or whose process has died.

    Raises: `JournalError` for what is damaged, foreign, of another format, or not to be opened, and
        leaves it as it was; also from every method, where it cannot be read or written.
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

        shared: the store; on a resume empty, or equal to the one the run began with. It is filled
            in place. A finished run only fills it, and returns the recorded action.
        tags: data by which `runs` finds the run; on a resume they are added to those it has.
        takeover: take the run from an owner that is alive; what it still wants to write is refused.
            An owner that died needs no takeover.
        allow_changes: resume though the graph is another one.

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
        """The events of `pocketflow.stream` of a run, each with its "run_id"; options as for `run`.

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
        """Answer the question that waits in the run; `path` says which, where several do.

        by: who answered, for the history.

        Of a run that failed as an action had no edge, the last answer is replaced, or that at `path`:
        what was recorded because of the old one is void.
        """
        answer = {"value": value, "by": by}
        text = self.codec.dump(answer, "answer")

        def work() -> None:
            past = self._past(run_id)
            asked = _asked(past, path, run_id)
            choices = self.codec.load(asked.value)["choices"]
            if choices is not None and value not in choices:
                raise JournalError(f"{value!r} is no answer at {asked.path}: the choices are {choices}")
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

    def runs(
        self, status: str | None = None, tags: dict[str, Any] | None = None, *, run_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The runs in the order of their beginnings, as dicts; those with this status and all of these tags.

        run_id: of this run alone; the list is empty if there is none.

        run_id, tags; status: "running", "interrupted" (stopped by Ctrl-C or a cancellation, or its
        process died), "finished", "failed" or "paused".
        started, ended: ISO 8601, UTC; `ended` is None while it runs, or if its process died.
        error: the text of what it failed with, else None.
        questions: dicts with `path`, `question` and `choices`, of what waits for an answer.
        fork_of: of a fork, {"run_id": ..., "n": ...}: the run, and the record after which it goes on; else None.
        """

        def work() -> list[dict[str, Any]]:
            runs: dict[str, list[Record]] = {}
            for record in self.store.overview(run_id):
                runs.setdefault(record.run_id, []).append(record)
            return [self._described(records) for records in runs.values()]

        wanted = (tags or {}).items()
        return [
            run
            for run in self.writer.do(work, writes=False)
            if status in (None, run["status"]) and all(run["tags"].get(key, ...) == value for key, value in wanted)
        ]

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """All that happened in a run, in its order, as dicts.

        n: the place, from 0. at: when, ISO 8601, UTC. path: of the step, "" of the run itself.
        kind: "prep", "exec", "node", "flow" (a step that finished), "pause", "answer", "begin" and "status".
        action: of a node or flow, else None. changes: the keys of `shared` that changed.
        seconds: how long the step took, until the process died and from the resume on; else None.
        And: result of an exec; question and choices of a pause; value and by of an answer; status and
        error of a status.
        """
        return [self._row(record) for record in self._records(run_id)]

    def load(self, run_id: str, after: int | str | None = None) -> dict[str, Any]:
        """`shared` as it is now, or as it was after a row of the history: its `n`, or the last one of a path."""
        return state_after(without_void(_until(self._records(run_id), after, run_id)), self.codec)

    def states(self, run_id: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each row of the history with `shared` as it was after it."""
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
        """The id of a new run with all records of this one up to `after`, as in `load`: run it to go on from there.

        A question that was asked later is asked again.
        """
        whole = self._records(run_id)
        past = Past(whole, self.codec)
        records = without_void(_until(whole, after, run_id))

        def work() -> str:
            fork = next(name for number in count(1) if not self.store.records(name := f"{run_id}-fork{number}"))
            owner = Owner(self.writer, fork, self.clock)
            copies = [it._replace(run_id=fork, token=owner.token) for it in records if it.kind != "status"]
            status = {
                "status": "finished" if any(it.is_end for it in records) else "interrupted",
                "graph": past.graph, "tags": past.tags, "fork_of": {"run_id": run_id, "n": records[-1].n},
            }  # fmt: skip
            self.store.add_run([*copies, owner.record("status", value=to_json(status))])
            return fork

        return self.writer.do(work)

    def delete(self, run_id: str) -> None:
        """Delete a run with its history, and give the room back. Raises: `RunBusy` while it runs."""
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
            for run_id in run_ids:
                if self.store.is_alive(self._past(run_id).last.token):
                    raise RunBusy(f"{run_id!r} is being run: wait for it, or stop it")
            for run_id in run_ids:
                self.store.delete(run_id)

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
            raise TypeError(f"shared is a {type(shared).__name__}: a journaled run needs a plain dict")
        self.journal, self.shared, self.tags = journal, shared, tags or {}
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
        """Fill `shared` with that of a finished run, and return its action."""
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
        """Record why the run stopped, unless the database was why, or all was done."""
        hook, lost = self.hook, self.owner.lost
        if isinstance(error, Paused) and lost:
            raise JournalError(f"{self.owner.run_id!r}: a question could not be recorded: {lost}") from lost
        if lost or (hook and hook.is_finished):
            return
        status: dict[str, Any] = {
            "status": _status_of(error),
            "error": None if isinstance(error, Paused) else _text_of(error),
        }
        if hook and hook.lacks_edge:
            status["reopens"] = True  # its last pause, for another answer
        with suppress(JournalError):
            self.owner.append("status", value=to_json(status))

    def release(self) -> Future[None]:
        return self.owner.release()

    def leave(self) -> None:
        """Leave nothing behind, wherever an interrupt came."""
        recording.set(self.outer)
        self.release()

    def create(self) -> None:
        """The first records of a run that nobody runs yet."""
        self._check()
        if self.owner.store.records(self.owner.run_id):
            raise RunExists(f"there is a run {self.owner.run_id!r} already: choose another run_id")
        self.owner.store.add_run(self._first("interrupted"))

    def _begin(self) -> None:
        """Where no loop is held up: check the flow, read what there is of the run, and become its owner."""
        self._check()
        records = self.owner.store.records(self.owner.run_id)
        if records:
            self._resume(Past(records, self.journal.codec))
            return
        first = self._first("running")
        self.owner.take(None, self.takeover)
        self.owner.store.add_run(first)
        self.past = Past(first, self.journal.codec)

    def _check(self) -> None:
        if self.journal.strict and (found := check(self.flow)):
            raise JournalError(f"{found[0]}; mend the flow, or open the journal with strict=False")
        self.graph = _shape(self.flow)

    def _first(self, status: str) -> list[Record]:
        changes = to_json(Tracker(self.journal.codec, {}).compare(self._kept()).changes)
        return [self.owner.record("begin", changes=changes), self._status(status, self.tags)]

    def _resume(self, past: Past) -> None:
        run_id = self.owner.run_id
        self._check_shared(past)
        if any(record.is_step for record in past.records) and not self.allow_changes:
            _check_shape(run_id, past.graph, self.graph)
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
        """Take the store that the run began with, or as the run left it; an empty one asks for whatever is recorded."""
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
        raise JournalError(f"in {run_id!r} several questions wait: add path=, one of {paths}")
    if not waiting or path not in (None, *paths):
        raise JournalError(f"in {run_id!r} no question waits at {path or 'any step'}; there is {paths}")
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
            " take the change back, choose another run_id, or pass allow_changes=True"
        )


def _status_of(error: BaseException) -> str:
    if isinstance(error, Paused):
        return "paused"
    return "failed" if isinstance(error, Exception) else "interrupted"


def _text_of(error: BaseException) -> str:
    """The error with its notes, without the traceback."""
    return "".join(traceback.format_exception_only(error)).strip()
