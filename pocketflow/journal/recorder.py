"""The hook that records a run, and skips what is recorded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import cached_property
from typing import Any, NamedTuple

from pocketflow import Flow, warn
from pocketflow.hooks import Hook, Skip, Step
from pocketflow.journal.deltas import Codec, Difference, Tracker, digest, to_json
from pocketflow.journal.records import JournalError, Record, outer_paths, without_void
from pocketflow.journal.writer import Owner
from pocketflow.text import plain


class Past:
    """What is recorded of a run.

    begun: the first record; last: the last.
    graph, tags: those of the flow when it was last run.
    status: the value of the last record of this kind.
    steps: path -> record, of all that is not inside a visit that is finished.
    pauses, answers: (path, digest) -> record.
    end: the record of the outermost flow; None if the run is not finished.
    """

    def __init__(self, records: list[Record], codec: Codec) -> None:
        self.records, self.codec = without_void(records), codec
        self.begun, self.last, records = records[0], records[-1], self.records
        running = [status for it in records if it.kind == "status" and (status := codec.load(it.value))]
        self.status, self.tags = running[-1], [it["tags"] for it in running if "tags" in it][-1]
        self.graph = [it["graph"] for it in running if "graph" in it][-1]
        steps = [it for it in records if it.is_step]
        visits = {it.path for it in steps if it.kind in ("node", "flow")}
        self.steps = {it.path: it for it in steps if visits.isdisjoint(outer_paths(it.path))}
        self.pauses = {(it.path, it.digest): it for it in records if it.kind == "pause"}
        self.answers = {(it.path, it.digest): it for it in records if it.kind == "answer"}
        self.end = next((it for it in records if it.is_end), None)

    @cached_property
    def state(self) -> dict[str, Any]:
        """`shared` after the last record."""
        return state_after(self.records, self.codec)

    @property
    def waiting(self) -> list[Record]:
        """The pauses that nobody has answered."""
        return [it for key, it in self.pauses.items() if key not in self.answers]


def state_after(records: Iterable[Record], codec: Codec) -> dict[str, Any]:
    state = dict[str, Any]()
    for record in records:
        codec.apply(state, record.changes)
    return state


class _Running(NamedTuple):
    """What is known of a step while it runs.

    around: the digest of the params of the batch entries around it.
    digest: of an exec that of its input too, as it was before; None if that cannot be kept, for the reason `why`.
    pending: what had changed in `shared` already when a prep began, beside other branches.
    beside: whether other branches ran; commits: how many had changed `shared`.
    turns: is no longer empty once a prep has let others run.
    outer: what `recording` was before.
    errors: those that left what ran inside, each with the step that it began in: its path, and how long it took.
    """

    around: str
    digest: str | None
    why: str
    restored: bool
    pending: list[Any]
    beside: bool
    commits: int
    turns: list[bool]
    outer: tuple[Recorder, Step] | None
    began: float
    errors: list[tuple[BaseException, tuple[str, float]]]


recording: ContextVar[tuple[Recorder, Step] | None] = ContextVar("recording", default=None)
"""The innermost journaled run that is running here, and its innermost step."""


class Recorder(Hook):
    """Records one run, and skips what is recorded.

    What nobody can await is handed over in an async run, and not waited for: it is durable before the
    visit around it is.
    """

    def __init__(
        self,
        owner: Owner,
        shared: dict[str, Any],
        past: Past,
        codec: Codec,
        *,
        exclude: frozenset[str] = frozenset(),
        strict: bool = True,
        allow_changes: bool = False,
    ) -> None:
        self.owner, self.run_id, self.shared, self.codec = owner, owner.run_id, shared, codec
        self.exclude, self.strict, self.allow_changes = exclude, strict, allow_changes
        self.steps, self.pauses, self.answers = past.steps, past.pauses, past.answers
        self.tracker = Tracker(codec, self.kept())
        self.commits = 0  # how many have changed `shared`
        self.root: Step | None = None
        self.root_at = 0  # where its name begins in the paths: not at 0 in a run that is inside another one
        self.running: dict[Step, _Running] = {}
        self.asked: dict[tuple[str, int], int] = {}  # (path, attempt) -> how many questions
        self.warned: set[str] = set()
        self.is_half_done = False  # whether a step has failed that had written to `shared`
        self.is_finished = self.lacks_edge = False
        self.failed_at: tuple[str, float | None] = ("", None)  # of the step that the error of the run began in
        self.broken: BaseException | None = None  # why nothing more can be recorded
        self.lock = threading.RLock()  # as user code may run items in threads

    def kept(self) -> dict[str, Any]:
        """`shared` without what is not recorded."""
        shared = self.shared
        return {key: shared[key] for key in shared if key not in self.exclude} if self.exclude else shared

    # What runs, and what is skipped

    def on_start(self, step: Step) -> Skip | None:
        if self.root is None and step.shared is self.shared:
            self.root, self.root_at = step, len(step.path) - len(step.path.split(":")[-1])
        elif not self._belongs(step):
            return None
        self.check_unbroken()
        running = self._begun(step)
        record = None if _is_entry(step) else self._recorded(step, running)
        self.running[step] = running._replace(restored=record is not None)
        recording.set((self, step))
        return None if record is None else Skip(self.codec.load(record.value))

    def check_unbroken(self) -> None:
        broken = self.broken or self.owner.lost
        if broken:
            raise JournalError(f"{self.run_id!r} cannot be recorded any more: {broken}") from broken

    def _belongs(self, step: Step) -> bool:
        """Whether all around the step are flows on our `shared`; inside a node only its own prep and exec are."""
        if step.parent not in self.running or not (step.kind == "exec" or step.shared is self.shared):
            return False
        return step.parent.kind == "flow" or (step.parent.kind == "node" and step.kind in ("prep", "exec"))

    def _begun(self, step: Step) -> _Running:
        around = self.running[step.parent].around if step.parent in self.running else ""
        if _is_entry(step) and step.input is not None:
            around = digest(around, self._params(step.input))
        own, why = self._digest(step, around) if step.kind == "exec" else (around, "")
        beside, pending, turns = False, list[Any](), list[bool]()
        if step.kind == "prep":
            beside = self._is_beside(step)
            pending = self._compared().changes if beside else []
            if step.loop:
                step.loop.call_soon(turns.append, True)
        outer, now = recording.get(), time.perf_counter()
        return _Running(around, own, why, False, pending, beside, self.commits, turns, outer, now, [])

    def _params(self, params: dict[str, Any]) -> list[str]:
        """Of objects among the params, such as clients, only the type counts."""

        def text(value: Any) -> str:
            try:
                return self.codec.dump(value, "params")
            except JournalError:
                return type(value).__qualname__

        return [part for key, value in params.items() for part in (str(key), text(value))]

    def _digest(self, step: Step, around: str) -> tuple[str | None, str]:
        try:
            return digest(around, self.codec.dump(step.input, "its input")), ""
        except JournalError as error:
            return None, str(error)

    def _is_beside(self, step: Step) -> bool:
        """Whether anything runs that is not around the step."""
        around, outer = 0, step.parent
        while outer is not None and outer in self.running:
            around, outer = around + 1, outer.parent
        return len(self.running) > around

    def _recorded(self, step: Step, running: _Running) -> Record | None:
        path = self._path(step)
        record = self.steps.pop(path, None)
        if record is None or record.digest == running.digest:
            return record
        if step.kind == "exec":
            return None
        raise JournalError(
            f"{path} was recorded with other params of its batch entry: prep has to give the same"
            " entries again; return a list, not an iterator that takes them out of shared"
        )

    # What is recorded

    def on_end(self, step: Step, result: Any) -> Any:
        running = self._ended(step)
        if running is None or running.restored or _is_entry(step):
            return None
        with self.lock:
            try:
                written = self._record(step, result, running)
            except BaseException as error:
                self.broken = self.broken or error
                self._locate(error, step, running)
                raise
        if written is None:
            return None
        if written.done() or not self.owner.is_async:
            return written.result()
        return asyncio.wrap_future(written, loop=step.loop) if step.loop else None

    def _record(self, step: Step, result: Any, running: _Running) -> Future[None] | None:
        if step.kind == "exec":
            return self._record_exec(step, result, running)
        if step.kind == "prep":
            return self._record_prep(step, result, running)
        if step is self.root or not self.is_half_done:
            return self._record_visit(step, result, running)
        return None

    def _record_exec(self, step: Step, result: Any, running: _Running) -> Future[None] | None:
        why, value = running.why, ""
        try:
            value = self.codec.dump(result, "its result")
        except JournalError as error:
            why = str(error)
        if not why:
            return self._write(step, running, value)
        if step.name not in self.warned:
            self.warned.add(step.name)
            warn(f"{step.name}: a finished exec may run again after a crash, as {why}")
        return None

    def _record_prep(self, step: Step, result: Any, running: _Running) -> Future[None] | None:
        """Record the prep of a flow, and of a node if anything changed: others may have committed what it wrote."""
        difference = self._compared()
        changed = difference.changes != running.pending
        is_of_flow = step.parent is not None and step.parent.kind == "flow"
        if self.is_half_done or not (changed or is_of_flow or running.commits != self.commits):
            return None
        try:
            value = self.codec.dump(result, f"what {step.name}.prep returned")
        except JournalError as error:
            if changed and not self._in_doubt(step, running):
                raise JournalError(f"{error}; a prep that changes shared has to return data") from None
            return None
        return self._write(step, running, value, difference)

    def _in_doubt(self, step: Step, running: _Running) -> bool:
        """Whether a change of `shared` may be that of another branch, as the prep has awaited beside it."""
        beside = running.beside or self._is_beside(step) or running.commits != self.commits
        return bool(running.turns) and beside

    def _record_visit(self, step: Step, action: Any, running: _Running) -> Future[None]:
        if step is self.root:
            self._check_complete()
        elif self.strict and step.index is None and _lacks_edge(step, action):
            actions = list(step.node.successors)
            self.lacks_edge = True
            raise JournalError(
                f"{self._path(step)}: the action {action!r} has no edge, only {actions} have: return one of these, wire"
                " it (to None to end there), or pass strict=False"
            )
        value = self.codec.dump(action, f"the action of {step.name}")
        return self._write(step, running, value, self._compared())

    def _check_complete(self) -> None:
        """Raise an error if a resumed run ends without having met all that is recorded: it was another run."""
        missed = [record.path for record in self.steps.values() if record.kind != "exec"]
        if missed and not self.allow_changes:
            raise JournalError(
                f"{self.run_id!r} ended without {missed[0]}, which is recorded: a prep or an action differs from"
                " before; return a list from prep, not an iterator that takes items out of shared"
            )

    def _write(self, step: Step, running: _Running, value: str, difference: Difference | None = None) -> Future[None]:
        self.check_unbroken()
        changes = difference.changes if difference else []
        seconds = time.perf_counter() - running.began
        path = self._path(step)
        written = self.owner.append(step.kind, path, running.digest, value, to_json(changes), seconds)
        if difference:
            self.tracker.snapshot = difference.snapshot
        self.commits += bool(changes)
        self.is_finished = step is self.root
        return written

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        """Record what a call has cost, of the step that made it: it is paid, whatever becomes of the step."""
        ours: Step | None = step
        while event["type"] == "usage" and ours is not None:
            if ours in self.running:
                with self.lock:
                    self.owner.append("usage", self._path(ours), value=to_json(plain(event)))
                return
            ours = ours.parent

    def on_error(self, step: Step, error: BaseException) -> None:
        running = self._ended(step)
        if running is None:
            return
        with self.lock:
            self._locate(error, step, running)
            if not (step.kind == "exec" or self.is_half_done or self.broken):
                try:
                    self.is_half_done = bool(self._compared().changes)
                except JournalError:
                    self.is_half_done = True

    def _locate(self, error: BaseException, step: Step, running: _Running) -> None:
        """Tell the step around where an error began that leaves this one, and how long that step took."""
        here = (self._path(step), time.perf_counter() - running.began)
        place = next((place for inner, place in running.errors if inner is error), here)
        if step is self.root:
            self.failed_at = place
        elif step.parent in self.running:
            self.running[step.parent].errors.append((error, place))

    def _ended(self, step: Step) -> _Running | None:
        running = self.running.pop(step, None)
        if running is not None:
            recording.set(running.outer)
        return running

    def _compared(self) -> Difference:
        return self.tracker.compare(self.kept())

    def _path(self, step: Step) -> str:
        return step.path[self.root_at :]

    # Pauses

    def answer(self, step: Step, question: Any, choices: list[Any] | None) -> tuple[str, Any, bool]:
        """The path of the question, the answer, and whether there is one; the question is recorded."""
        with self.lock:
            running, path = self.running[step], self._path(step)
            number = self.asked.get((path, step.attempt), 0)
            self.asked[path, step.attempt] = number + 1
            key = path, digest(running.digest or running.around, number)
            if key in self.answers:
                return path, self.codec.load(self.answers[key].value)["value"], True
            if key not in self.pauses:
                self.check_unbroken()
                value = self.codec.dump({"question": question, "choices": choices}, "question")
                self.owner.append("pause", *key, value)
            return path, None, False


def _is_entry(step: Step) -> bool:
    """Whether it is an entry of a batch flow or a branch, which are not recorded themselves."""
    return step.kind == "flow" and step.index is not None


def _lacks_edge(step: Step, action: Any) -> bool:
    """Whether the flow would end here for lack of an edge; a flow with its own `get_next_node` decides itself."""
    successors, flow = getattr(step.node, "successors", None), step.parent.node if step.parent else None
    if not successors or getattr(type(flow), "get_next_node", None) is not Flow.get_next_node:
        return False
    try:
        return (action or "default") not in successors
    except (TypeError, ValueError):
        return False  # the core refuses it
