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
process; `synchronous="full"` extends it to the loss of power, and waits for the disk at every
commit: some 0.3 ms in place of 0.06 where it was measured, and more on a slow disk.

What is committed, and when:

    exec    its result, when it ends, and nothing of `shared`
    prep    its result together with what changed in `shared`; a flow's prep always, so that a
            resumed batch is the batch that was begun; that of a node which changed nothing is not
            recorded, and runs again
    visit   its action together with what changed in `shared`

A run is resumed by running the flow again from its start, on `shared` as the last commit left it;
every recorded step is skipped, and what it returned stands for it. An exec is skipped only if its
input is what it was; else it runs. Its place is the position of its item, so the order in which
items end does not matter. Recorded are the steps of the flow and of the flows inside of it; what
user code runs inside of an exec or a prep belongs to that step.

Branches that run at once share one `shared`, so a commit holds what all of them have written until
then. A prep or post that does not await between its writes is never seen half done: its end is
committed before another branch can go on. One that does await there, beside other branches, may
be run again on what it wrote already, so it has to be idempotent. When a prep or post fails after
it has written, nothing more of `shared` is committed, as it would keep what is half done.

Limits. Every step compares the store with what was committed last: about a microsecond for each
list and dict in it. Two keys that hold the same list hold two lists after a resume. Attributes of
nodes are not kept: what `prep` leaves on `self`, a `start_node` too, is gone for a visit that
resumes after its prep. Attempts start again at 0. A skipped step emits no events. A prep that
returns an iterator which takes entries out of `shared` while it is read cannot be resumed: a
`JournalError` says so. Values are data: what JSON has, tuples, and what `encode` and `decode`
translate. An exec whose input or result is none is run again; in a batch, a `FlowWarning` says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import count, takewhile, zip_longest
from operator import is_
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pocketflow import Flow, FlowWarning, Hook, Skip, Step, emit, hooked

__all__ = ["Journal", "JournalError", "Paused", "RunBusy", "pause"]

R = TypeVar("R")


class JournalError(Exception):
    """Something cannot be kept, or cannot be resumed; the message says what to do."""


class RunBusy(JournalError):
    """The run has another owner: one that is alive, or one that has taken it over."""


class Paused(BaseException):
    """A node waits for a person: `run_id`, the `path` of its step, and its `question`.

    No `Exception`, so that no retry and no `except Exception` takes it for a failure.
    """

    def __init__(self, run_id: str, path: str, question: Any) -> None:
        super().__init__(f"run {run_id!r} waits at {path} for an answer to {question!r}")
        self.run_id, self.path, self.question = run_id, path, question


def pause(question: Any) -> Any:
    """Inside a node: the person's answer, given with `Journal.answer`; until then, stop the run with `Paused`.

    The step around it runs again when the answer is there, so ask before what must not be done
    twice. A step may ask several times: its n-th pause gets the n-th answer, on a retry too.

    question, answer: data, as `Journal` says.
    Raises: `RuntimeError` outside of a journaled run.
    """
    event = _Question(type="pause", question=question)
    emit(event)
    if event.run is None:
        raise RuntimeError("pause() outside of a journaled run: write journal.run(flow, shared, run_id=...)")
    return event.run.ask(event.step, question)


class _Question(dict[str, Any]):
    """The event of a `pause`: a class of its own, so that no event of a user is mistaken for it.

    Runs inside of runs each hear it, the innermost last, so that it is the one which stands here.
    """

    run: _Run | None = None
    step: Step


class Journal:
    """Runs in one SQLite file, made if it is not there.

    exclude: keys of `shared` that stay with the caller, such as clients and connections.
    encode, decode: for types of one's own. `encode(value)` returns a dict of data, from which
        `decode(dict)` makes the value again; it is not asked about any other dict.
    synchronous: "normal", or "full" to survive the loss of power.

    One journal may be used by several threads, one file by several processes. While it is open, and
    after a crash, the last commits stand in PATH-wal: who copies or moves the file takes that along.
    PATH-owner-... belongs to a run that is going on, or whose process has died.

    Raises: `JournalError` for a file that is damaged, foreign, of a newer version, or not to be
        opened, and leaves it as it was.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        exclude: Iterable[str] = (),
        encode: Callable[[Any], dict[str, Any]] | None = None,
        decode: Callable[[dict[str, Any]], Any] | None = None,
        synchronous: str = "normal",
    ) -> None:
        if isinstance(exclude, str):
            raise TypeError(f"exclude={exclude!r}: write exclude=[{exclude!r}]")
        if synchronous not in ("normal", "full"):
            raise ValueError(f'synchronous={synchronous!r}: write "normal" or "full"')
        self.exclude, self.data = frozenset(exclude), _Data(encode, decode)
        self.file = _File(os.path.abspath(path), synchronous)

    def close(self) -> None:
        """Close the file; not while a run is going on."""
        self.file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(
        self, flow: Any, shared: dict[str, Any], *, run_id: str, takeover: bool = False, allow_changes: bool = False
    ) -> Any:
        """Run `flow`, or resume it where it stopped, and return its action.

        shared: the store; on a resume empty, or equal to the one the run began with. It is filled
            in place. A finished run only fills it, and returns the recorded action.
        takeover: take the run from an owner that is alive; what it still wants to write is refused.
            An owner that died needs no takeover.
        allow_changes: resume though the graph is another one.

        Raises: `RunBusy`, `Paused`, `JournalError`, and the errors of the flow. After each of them
            the run can be resumed.
        """
        with self._running(flow, shared, run_id, takeover, allow_changes) as past:
            return past.action if past.finished else flow.run(shared)

    async def run_async(
        self, flow: Any, shared: dict[str, Any], *, run_id: str, takeover: bool = False, allow_changes: bool = False
    ) -> Any:
        """What `run` does, for an async flow."""
        with self._running(flow, shared, run_id, takeover, allow_changes) as past:
            return past.action if past.finished else await flow.run_async(shared)

    def answer(self, run_id: str, value: Any, path: str | None = None) -> None:
        """Answer the question that waits in the run; `path` says which, where several do."""
        answer = self.data.dump(value, "answer")
        with self.file.transaction():
            waiting = {asked.path: asked for asked in self._waiting(self._find(run_id))}
            if path is None and len(waiting) > 1:
                raise JournalError(f"in {run_id!r} several questions wait: add path=, one of {[*waiting]}")
            if not waiting or path not in (None, *waiting):
                raise JournalError(f"in {run_id!r} no question waits at {path or 'any step'}; there is {[*waiting]}")
            asked = waiting[path] if path else next(iter(waiting.values()))
            self.file.put_question(asked._replace(answer=answer))

    def runs(self) -> list[dict[str, Any]]:
        """All runs in the order of their beginnings, as dicts with `run_id`, `status` and `questions`.

        status: "running" (or its process died), "finished", "failed" (or interrupted), "paused".
        questions: dicts with `path` and `question`, of what waits for an answer.
        """
        with self.file.transaction("BEGIN"):
            return [
                {"run_id": run.run_id, "status": run.status, "questions": self._questions(run)}
                for run in self.file.runs()
            ]

    def history(self, run_id: str) -> list[dict[str, Any]]:
        """The commits of a run in their order, as dicts with `path`, `kind` and `action` (None but for visits)."""
        with self.file.transaction("BEGIN"), self._readable(run_id):
            return [
                {
                    "path": commit.path,
                    "kind": commit.kind,
                    "action": self.data.load(commit.result) if commit.is_visit else None,
                }
                for commit in self.file.commits(self._find(run_id))
                if commit.kind != BEGIN
            ]

    def fork(self, run_id: str, *, after: str) -> str:
        """The id of a new run with all commits of this one up to that of the path `after`: run it to go on from there.

        A question inside of a step that is not among them is asked again.
        """
        with self.file.transaction():
            commits = self.file.commits(self._find(run_id))
            paths = [commit.path for commit in commits]
            if not after or after not in paths:
                raise JournalError(f"{run_id!r} has no commit {after!r}: see journal.history({run_id!r})")
            taken = {run.run_id for run in self.file.runs()}
            fork = self.file.add_run(next(name for n in count(1) if (name := f"{run_id}-fork{n}") not in taken))
            for commit in commits[: paths.index(after) + 1]:
                fork = self.file.add_commit(fork, commit)
            self.file.put_run(fork._replace(status="finished" if commit.is_end else "running"))
            return fork.run_id

    # Inside of a run

    @contextlib.contextmanager
    def _running(
        self, flow: Any, shared: dict[str, Any], run_id: str, takeover: bool, allow_changes: bool
    ) -> Iterator[_Past]:
        """Begin or resume a run, record it, and leave its status."""
        if not isinstance(run_id, str) or not run_id:
            raise TypeError(f'run_id={run_id!r}: write a text, such as run_id="monday"')
        if type(shared) is not dict:
            raise TypeError(f"shared is a {type(shared).__name__}: a journaled run needs a plain dict")
        owner = _Owner(self.file)
        try:
            past = self._begin(flow, shared, run_id, owner, takeover, allow_changes)
            hooks = [] if past.finished else [_Run(self, owner, shared, past, strict=not allow_changes)]
            with hooked(*hooks):
                yield past
        except BaseException as error:
            owner.stop("paused" if isinstance(error, Paused) else "failed")
            raise
        finally:
            owner.release()

    def _begin(
        self, flow: Any, shared: dict[str, Any], run_id: str, owner: _Owner, takeover: bool, allow_changes: bool
    ) -> _Past:
        """All in one transaction; `shared` is filled when nothing can fail any more."""
        graph = _json(_graph(flow))
        with self.file.transaction():
            found = self.file.run(run_id)
            run = found or self.file.add_commit(self.file.add_run(run_id), self._first_commit(graph, shared))
            past = self._past(run)
            if found:
                self._check_shared(run_id, past, shared)
            if not past.finished:
                if past.steps and not allow_changes:
                    _check_graph(run_id, past.graph, graph)
                if past.graph != graph:
                    run = self.file.add_commit(run, _Commit("", BEGIN, "", graph, "[]"))
                owner.take(run, takeover)
        if past.steps or not self.kept(shared):  # else it is as it began, and the caller's own objects stay
            for key in self.kept(shared).copy():
                del shared[key]
            shared.update(past.state)
        return past

    def _first_commit(self, graph: str, shared: dict[str, Any]) -> _Commit:
        """The graph, and `shared` as it began."""
        changes: list[Any] = []
        self.data.compare(_Snapshot({}, {}), self.kept(shared), ["shared"], changes)
        return _Commit("", BEGIN, "", graph, _json(changes))

    def _check_shared(self, run_id: str, past: _Past, shared: dict[str, Any]) -> None:
        given, begun = self.kept(shared), self.data.apply({}, past.begun)
        if given and self.data.canonical(given) != self.data.canonical(begun):
            raise JournalError(f"{run_id!r} began with another shared: give that one, or an empty dict to resume")

    def kept(self, shared: dict[str, Any]) -> dict[str, Any]:
        """`shared` without what stays with the caller."""
        return {key: shared[key] for key in shared if key not in self.exclude} if self.exclude else shared

    def _find(self, run_id: str) -> _RunRow:
        run = self.file.run(run_id)
        if run is None:
            raise JournalError(f"{self.file.path} has no run {run_id!r}: see journal.runs()")
        return run

    def _past(self, run: _RunRow) -> _Past:
        with self._readable(run.run_id):
            return _Past(self.file.commits(run), self.file.questions(run), self.data)

    @contextlib.contextmanager
    def _readable(self, run_id: str) -> Iterator[None]:
        """The rows are sealed, so what cannot be made of them was written by another `encode`, or by someone else."""
        try:
            yield
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            raise JournalError(
                f"{run_id!r} cannot be read ({error!r}): open {self.file.path} with the encode= and decode="
                " that it was written with, or restore it from a copy"
            ) from error

    def _waiting(self, run: _RunRow) -> list[_Asked]:
        return [asked for asked in self.file.questions(run) if asked.answer is None]

    def _questions(self, run: _RunRow) -> list[dict[str, Any]]:
        with self._readable(run.run_id):
            return [{"path": asked.path, "question": self.data.load(asked.question)} for asked in self._waiting(run)]


class _RunRow(NamedTuple):
    """epoch: how often the run has got an owner; commits: how many it has; head: the seal of the last."""

    id: int
    run_id: str
    status: str = "running"
    epoch: int = 0
    commits: int = 0
    head: str = ""


class _Commit(NamedTuple):
    """A step that finished, its values as JSON. The first of a run is its beginning: the graph, and all of `shared`."""

    path: str
    kind: str
    digest: str
    result: str
    changes: str

    @property
    def is_visit(self) -> bool:
        return self.kind in ("flow", "node")

    @property
    def is_end(self) -> bool:
        """Whether it is that of the outermost flow, which is the last."""
        return self.is_visit and not any(_outers(self.path))


class _Asked(NamedTuple):
    """The `number`-th question of a step whose input has this digest; `answer` is None while it waits."""

    run: int
    path: str
    number: int
    digest: str
    question: str
    answer: str | None


class _Past:
    """What is recorded of a run.

    begun: the changes that made `shared` as it began; state: `shared` after the last commit.
    graph: the shape of the flow when it was run last.
    steps: path -> the commit, of all that is not inside of a visit that is finished.
    questions: (path, number, digest) -> what was asked.
    """

    def __init__(self, commits: list[_Commit], asked: list[_Asked], data: _Data) -> None:
        self.begun, self.state = commits[0].changes, dict[str, Any]()
        for commit in commits:
            data.apply(self.state, commit.changes)
        self.graph = [commit.result for commit in commits if commit.kind == BEGIN][-1]
        steps = [commit for commit in commits if commit.kind != BEGIN]
        visits = {commit.path for commit in steps if commit.is_visit}
        self.steps = {commit.path: commit for commit in steps if visits.isdisjoint(_outers(commit.path))}
        self.questions = {question[1:4]: question for question in asked}
        self.finished = commits[-1].is_end
        self.action = data.load(commits[-1].result) if self.finished else None


def _outers(path: str) -> Iterator[str]:
    """The paths of the steps around this one."""
    return (path[:end] for end, char in enumerate(path) if char in "/[")


def _graph(flow: Any) -> list[str]:
    """The shape of a flow, line by line."""
    names: dict[int, str] = {}
    nodes: list[Any] = []
    lines: list[str] = []

    def name(node: Any) -> str:
        if id(node) not in names:
            called = getattr(node, "name", None)
            names[id(node)] = f"{called if isinstance(called, str) and called else type(node).__name__}#{len(nodes)}"
            nodes.append(node)
        return names[id(node)]

    name(flow)
    for node in nodes:  # which grows
        lines.append(f"{name(node)} is a {type(node).__name__}")
        starts = (getattr(node, "branches", ()) or (node.start_node,)) if isinstance(node, Flow) else ()
        lines += [f"{name(node)} starts at {name(start)}" for start in starts if start is not None]
        edges = getattr(node, "successors", {}) if node is not flow else {}  # a run does not leave its flow
        lines += [f'{name(node)} - "{action}" >> {name(target)}' for action, target in edges.items()]
    return lines


def _check_graph(run_id: str, before: str, graph: str) -> None:
    if before == graph:
        return
    pairs = zip_longest(json.loads(before), json.loads(graph), fillvalue="nothing")
    was, now = next((was, now) for was, now in pairs if was != now)
    raise JournalError(
        f"the graph of {run_id!r} changed since it began: {was} before, {now} now;"
        " take the change back, choose another run_id, or pass allow_changes=True"
    )


class _Running(NamedTuple):
    """What is known of a step while it runs.

    entry: the digest of the params of the batch entries around it.
    writes: how many commits had changed `shared` when it began.
    restored: whether it is skipped, as it is recorded.
    """

    entry: str
    writes: int
    restored: bool


class _Run(Hook):
    """Records one run, and skips what is recorded."""

    def __init__(self, journal: Journal, owner: _Owner, shared: dict[str, Any], past: _Past, strict: bool) -> None:
        self.journal, self.file, self.data = journal, journal.file, journal.data
        self.owner, self.shared, self.strict = owner, shared, strict
        self.steps, self.questions = past.steps, past.questions
        self.snapshot = self.data.snapshot(journal.kept(shared), ["shared"])
        self.writes = 0  # how many commits have changed `shared`
        self.root: Step | None = None
        self.root_at = 0  # where its name begins in the paths: not at 0 in a run that is inside of another one
        self.running: dict[Step, _Running] = {}
        self.asked: dict[tuple[str, int], int] = {}  # (path, attempt) -> how many questions
        self.warned: set[str] = set()
        self.is_half_done = False  # whether a step has failed that had written to `shared`
        self.broken: BaseException | None = None  # why nothing more can be recorded

    def on_start(self, step: Step) -> Skip | None:
        if self.root is None and step.shared is self.shared:
            self.root, self.root_at = step, len(step.path) - len(step.path.split(":")[-1])
        elif not self._belongs(step):
            return None
        self._check_unbroken()
        around = self.running[step.parent].entry if step.parent in self.running else ""
        if _is_entry(step) and step.input is not None:
            around = _seal(around, self._digest_of_params(step.input))
        commit = None if _is_entry(step) else self._recorded(step, around)
        self.running[step] = _Running(around, self.writes, commit is not None)
        return None if commit is None else Skip(self.data.load(commit.result))

    def _check_unbroken(self) -> None:
        if self.broken:
            message = f"{self.owner.run.run_id!r} cannot be recorded any more: {self.broken!r}"
            raise JournalError(message) from self.broken

    def _belongs(self, step: Step) -> bool:
        """Whether all around the step are flows on our `shared`; inside of a node only its own prep and exec are."""
        if step.parent not in self.running or not (step.kind == "exec" or step.shared is self.shared):
            return False
        return step.parent.kind == "flow" or (step.parent.kind == "node" and step.kind in ("prep", "exec"))

    def _recorded(self, step: Step, around: str) -> _Commit | None:
        path = self._path(step)
        commit = self.steps.pop(path, None)
        if commit is None or commit.digest == self._digest(step, around):
            return commit
        if step.kind == "exec":
            return None
        raise JournalError(
            f"{path} was recorded with other params of its batch entry: prep has to give the same"
            " entries again; return a list, not an iterator that takes them out of shared"
        )

    def on_end(self, step: Step, result: Any) -> None:
        running = self.running.pop(step, None)
        if running is None or running.restored or _is_entry(step):
            return
        with self.file.lock:
            if step.kind == "exec":
                self._end_exec(step, result, running)
            elif step.kind == "prep":
                self._end_prep(step, result, running)
            elif step is self.root or not self.is_half_done:
                self._end_visit(step, result, running)

    def _end_exec(self, step: Step, result: Any, running: _Running) -> None:
        try:
            self.data.dump(step.input, "its input")  # of one that is no data the digest says nothing
            text = self.data.dump(result, "its result")
        except _NoData as error:
            if step.index is not None and step.name not in self.warned:
                self.warned.add(step.name)
                _warn(f"{step.name}: an item that is done may run again after a crash, as {error}")
            return
        self._commit(step, self._digest(step, running.entry), text)

    def _end_prep(self, step: Step, result: Any, running: _Running) -> None:
        """Record it if anything changed meanwhile: another branch may have committed what it wrote."""
        snapshot, changes = self._compared()
        is_of_flow = step.parent is not None and step.parent.kind == "flow"
        if self.is_half_done or not (changes or is_of_flow or running.writes != self.writes):
            return
        try:
            text = self.data.dump(result, f"what {step.name}.prep returned")
        except _NoData as error:
            if changes:
                raise JournalError(f"{error}; a prep that changes shared has to return data") from None
            return
        self._commit(step, running.entry, text, changes, snapshot)

    def _end_visit(self, step: Step, action: Any, running: _Running) -> None:
        if step is self.root:
            self._check_complete()
        snapshot, changes = self._compared()
        text = self.data.dump(action, f"the action of {step.name}")
        self._commit(step, running.entry, text, changes, snapshot)

    def _check_complete(self) -> None:
        """A resumed run that ends without having come by all that is recorded was another run."""
        missed = [commit.path for commit in self.steps.values() if commit.kind != "exec"]
        if missed and self.strict:
            raise JournalError(
                f"{self.owner.run.run_id!r} ended without {missed[0]}, which is recorded: a prep or an action was"
                " another one than before; return a list from prep, not an iterator that takes items out of shared"
            )

    def on_error(self, step: Step, error: BaseException) -> None:
        running = self.running.pop(step, None)
        if running is None or step.kind == "exec" or self.is_half_done or self.broken:
            return
        try:
            self.is_half_done = bool(self._compared()[1])
        except JournalError:
            self.is_half_done = True

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        around: Step | None = step
        while around is not None and around not in self.running:
            around = around.parent
        if isinstance(event, _Question) and around is not None:
            event.run, event.step = self, around

    def ask(self, step: Step, question: Any) -> Any:
        """The answer, or else `Paused`."""
        path, digest = self._path(step), self._digest(step, self.running[step].entry)
        with self.file.lock:
            number = self.asked.get((path, step.attempt), 0)
            self.asked[path, step.attempt] = number + 1
            asked = self.questions.get((path, number, digest))
            if asked is None:
                asked = _Asked(self.owner.run.id, path, number, digest, self.data.dump(question, "question"), None)
                with self._recording():
                    self.file.put_run(self.owner.run)  # refused, if it is not ours any more
                    self.file.put_question(asked)
        if asked.answer is None:
            raise Paused(self.owner.run.run_id, path, question)
        return self.data.load(asked.answer)

    def _path(self, step: Step) -> str:
        return step.path[self.root_at :]

    def _digest(self, step: Step, around: str) -> str:
        """Of an exec that of its input too, as far as it is data."""
        if step.kind != "exec":
            return around
        try:
            return _seal(around, self.data.dump(step.input, "its input"))
        except _NoData:
            return _seal(around)

    def _digest_of_params(self, params: dict[str, Any]) -> str:
        """Of objects in it, such as clients, the type alone counts."""

        def text(value: Any) -> str:
            try:
                return self.data.dump(value, "params")
            except _NoData:
                return type(value).__qualname__

        return _seal(*(part for key, value in params.items() for part in (key, text(value))))

    def _compared(self) -> tuple[_Snapshot, list[Any]]:
        """A snapshot of `shared`, and what changed since the last commit."""
        changes: list[Any] = []
        try:
            return self.data.compare(self.snapshot, self.journal.kept(self.shared), ["shared"], changes), changes
        except JournalError as error:
            self.broken = error
            raise

    def _commit(
        self, step: Step, digest: str, result: str, changes: list[Any] | None = None, snapshot: _Snapshot | None = None
    ) -> None:
        commit = _Commit(self._path(step), step.kind, digest, result, _json(changes or []))
        run = self.owner.run._replace(status="finished" if step is self.root else "running")
        with self._recording():
            self.owner.run = self.file.add_commit(run, commit)
            self.snapshot = snapshot or self.snapshot
            self.writes += bool(changes)

    @contextlib.contextmanager
    def _recording(self) -> Iterator[None]:
        """A transaction; after one that failed or was interrupted nothing is recorded, as a part would be missing."""
        self._check_unbroken()
        try:
            with self.file.transaction():
                yield
        except BaseException as error:
            self.broken = error
            raise


def _is_entry(step: Step) -> bool:
    """Whether it is an entry of a batch flow or a branch, which are not recorded themselves."""
    return step.kind == "flow" and step.index is not None


def _warn(message: str) -> None:
    """At the first frame outside of the package and of the event loop, as the core does it."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("pocketflow", "asyncio"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, FlowWarning, stacklevel=level)


# The file

APPLICATION = 0x706F666C  # PRAGMA application_id of our files
MIGRATIONS = [  # the n-th makes of a file of version n (0: an empty one) one of version n + 1
    [
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, run_id TEXT UNIQUE, status TEXT, epoch INTEGER, commits INTEGER,"
        " head TEXT, seal TEXT)",
        "CREATE TABLE commits (id INTEGER PRIMARY KEY, path TEXT, kind TEXT, digest TEXT, result TEXT, changes TEXT,"
        " seal TEXT)",
        "CREATE TABLE questions (run INTEGER, path TEXT, number INTEGER, digest TEXT, question TEXT, answer TEXT,"
        " seal TEXT, PRIMARY KEY (run, path, number, digest))",
    ],
]
RUNS = "id, run_id, status, epoch, commits, head, seal"  # the columns in the order of the rows here
COMMITS = "path, kind, digest, result, changes, seal"
QUESTIONS = "run, path, number, digest, question, answer, seal"
SPAN = 1 << 32  # the commits of run R have the ids R * SPAN, R * SPAN + 1, ..., and so need no index
BEGIN = "begin"  # the kind of the commits that hold a graph
PATIENCE = 30.0  # seconds to wait for another process that is writing
ADVICE = {
    "full": "make room on the disk, then run again",
    "locked": "another program keeps it locked; run again when it is done",
    "readonly": "it may not be written; give write access to the file and its folder",
    "unable to open": "its folder has to exist, and both have to be writable",
    "disk I/O error": "check the disk, then run again",
    "closed database": "it was closed; open it again",
    "surrogates": "names and ids have to be text that UTF-8 can write",
    "not a database": "it is a file of another program, or damaged; choose another path",
}


class _File:
    """The SQLite file: its format, its transactions, and its rows, each with a seal over what it holds."""

    def __init__(self, path: str, synchronous: str) -> None:
        self.path, self.lock = path, threading.RLock()
        with self._explained():
            self.db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            self._open(synchronous)
        except BaseException:
            self.db.close()
            raise

    def close(self) -> None:
        self.db.close()

    def _open(self, synchronous: str) -> None:
        with self._explained():
            self.db.execute("PRAGMA trusted_schema = OFF")
            with self.transaction("BEGIN"):  # in one, or another process could create it between two reads
                version = self._version()
            if version < len(MIGRATIONS):
                self._migrate()
            self._use_wal()
            self.db.execute(f"PRAGMA synchronous = {synchronous}")  # one of two words

    def _version(self) -> int:
        """The version of the file's format, if it is ours."""
        [(application,)] = self.db.execute("PRAGMA application_id")
        [(version,)] = self.db.execute("PRAGMA user_version")
        schema = _schema(self.db)
        if not (schema or application or version):
            return 0  # empty, perhaps left so by a kill
        if application != APPLICATION:
            raise JournalError(f"{self.path} is a file of another program: choose another path")
        if version > len(MIGRATIONS):
            raise JournalError(f"{self.path} has format {version}, which is newer than this: update pocketflow")
        with contextlib.closing(sqlite3.connect(":memory:")) as ours:
            _migrate(ours, 0, version)
            if schema != _schema(ours):
                raise self.damaged("its tables")
        return int(version)

    def _migrate(self) -> None:
        with self.transaction():
            _migrate(self.db, self._version(), len(MIGRATIONS))  # read again: another process may have been first
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _use_wal(self) -> None:
        """Let readers and the one writer not wait for each other. SQLite does not wait by itself to change this."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.db.execute("PRAGMA journal_mode = WAL").close()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextlib.contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with self.lock, self._explained():
            self.db.execute(begin)
            try:
                yield
                self.db.execute("COMMIT")
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of SQLite into ours."""
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:
            advice = next((advice for word, advice in ADVICE.items() if word in str(error)), None)
            raise (JournalError(f"{self.path}: {error}: {advice}") if advice else self.damaged(error)) from error

    def damaged(self, what: Any) -> JournalError:
        return JournalError(f"{self.path} is damaged ({what}): restore it from a copy, or move it away to start afresh")

    def runs(self) -> list[_RunRow]:
        return self._sealed(_RunRow, f"SELECT {RUNS} FROM runs ORDER BY id")

    def run(self, run_id: str) -> _RunRow | None:
        return next(iter(self._sealed(_RunRow, f"SELECT {RUNS} FROM runs WHERE run_id = ?", run_id)), None)

    def add_run(self, run_id: str) -> _RunRow:
        [(id,)] = self.db.execute("SELECT coalesce(max(id), 0) + 1 FROM runs")
        run = _RunRow(id, run_id)
        self.db.execute(f"INSERT INTO runs ({RUNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", (*run, _seal(*run)))
        return run

    def put_run(self, run: _RunRow) -> None:
        """Raises: `RunBusy` if a later owner has written it."""
        written = self.db.execute(
            "UPDATE runs SET status = ?, epoch = ?, commits = ?, head = ?, seal = ? WHERE id = ? AND epoch <= ?",
            (run.status, run.epoch, run.commits, run.head, _seal(*run), run.id, run.epoch),
        )
        if not written.rowcount:
            raise RunBusy(f"{run.run_id!r} was taken over: this owner may not write it any more")

    def questions(self, run: _RunRow) -> list[_Asked]:
        return self._sealed(_Asked, f"SELECT {QUESTIONS} FROM questions WHERE run = ?", run.id)

    def put_question(self, asked: _Asked) -> None:
        row = (*asked, _seal(*asked))
        self.db.execute(f"INSERT OR REPLACE INTO questions ({QUESTIONS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _sealed(self, kind: Callable[..., R], sql: str, *values: Any) -> list[R]:
        rows = self.db.execute(sql, values).fetchall()
        for *columns, seal in rows:
            if seal != _seal(*columns):
                raise self.damaged(f"the entry of {columns[1]!r}")
        return [kind(*columns) for *columns, _ in rows]

    def commits(self, run: _RunRow) -> list[_Commit]:
        """The commits of a run in their order. Each seal covers the one before as well, and the run has the last."""
        of_run, head, commits = (run.id * SPAN, (run.id + 1) * SPAN - 1), "", list[_Commit]()
        for *columns, seal in self.db.execute(f"SELECT {COMMITS} FROM commits WHERE id BETWEEN ? AND ?", of_run):
            head = _seal(head, *columns)
            if seal != head:
                raise self.damaged(f"commit {len(commits)} of {run.run_id!r}")
            commits.append(_Commit(*columns))
        if not commits or (len(commits), head) != (run.commits, run.head):
            raise self.damaged(f"{run.run_id!r} has {len(commits)} commits of {run.commits}")
        return commits

    def add_commit(self, run: _RunRow, commit: _Commit) -> _RunRow:
        """Append a commit, and return the run with it."""
        head = _seal(run.head, *commit)
        longer = run._replace(commits=run.commits + 1, head=head)
        self.put_run(longer)  # first, as it is refused if the run has another owner by now
        row = (run.id * SPAN + run.commits, *commit, head)
        self.db.execute(f"INSERT INTO commits (id, {COMMITS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return longer


def _migrate(db: sqlite3.Connection, version: int, to: int) -> None:
    for statements in MIGRATIONS[version:to]:
        for statement in statements:
            db.execute(statement)


def _schema(db: sqlite3.Connection) -> list[Any]:
    return db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def _seal(*parts: Any) -> str:
    """A checksum of what belongs together, in its order."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


class _Owner:
    """Who may write a run: whoever holds the lock of its present epoch.

    The lock is an exclusive transaction on a side file, which the system ends with the process. The
    epoch in the main file grows with every owner, so that what a former one writes is refused.
    Both change inside of one transaction of the main file, so two cannot take a run at once.
    """

    def __init__(self, file: _File) -> None:
        self.file, self.run = file, _RunRow(0, "")
        self.held: sqlite3.Connection | None = None

    def take(self, run: _RunRow, takeover: bool) -> None:
        former = self._lock(run)
        if former:
            self._free(former, run)
        elif not takeover:
            raise RunBusy(f"{run.run_id!r} is being run by another owner: wait for it, or pass takeover=True")
        self.run = run._replace(status="running", epoch=run.epoch + 1)
        self.held = self._lock(self.run)
        self.file.put_run(self.run)

    def stop(self, status: str) -> None:
        """Note why the run stopped; where even that cannot be written, the error that stopped it says more."""
        if self.held:
            with contextlib.suppress(JournalError), self.file.transaction():
                run = self.file.run(self.run.run_id)
                if run and run.epoch == self.run.epoch:
                    self.file.put_run(run._replace(status=status))

    def release(self) -> None:
        if self.held:
            self._free(self.held, self.run)

    def _lock(self, run: _RunRow) -> sqlite3.Connection | None:
        """The lock of an epoch; None if its owner is alive."""
        lock = sqlite3.connect(self._side_file(run), timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("PRAGMA journal_mode = MEMORY")  # no third file
            lock.execute("BEGIN EXCLUSIVE")
            return lock
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" in str(error):
                return None
            raise

    def _free(self, lock: sqlite3.Connection, run: _RunRow) -> None:
        lock.close()
        with contextlib.suppress(OSError):
            os.unlink(self._side_file(run))

    def _side_file(self, run: _RunRow) -> str:
        return f"{self.file.path}-owner-{run.id}-{run.epoch}"


# Values


class _NoData(JournalError):
    """A value that cannot be kept exactly."""


LEAVES = frozenset((str, int, float, bool, type(None)))
TAGS = frozenset(("$tuple", "$object", "$dict"))


class _Snapshot(NamedTuple):
    """A container as it was, its leaves shared with it.

    level: a copy of its own level; of an object, the text it is written as.
    inner: key or index -> the snapshot of what is there, for all that is no leaf.
    """

    level: Any
    inner: dict[Any, _Snapshot]


class _Data:
    """Values as JSON, and the differences between them.

    A tuple is written as {"$tuple": [...]}, what `encode` makes of an object as {"$object": {...}}, and
    a dict that looks like one of these as {"$dict": [[key, value]]}.
    A change is ["set", keys, value], ["del", keys], or ["splice", keys, start, count, items]: in the list
    at `keys`, `items` are in place of `count` ones from `start` on.
    """

    def __init__(
        self, encode: Callable[[Any], dict[str, Any]] | None, decode: Callable[[dict[str, Any]], Any] | None
    ) -> None:
        if (encode is None) is not (decode is None):
            raise TypeError("give both encode= and decode=: what is written has to be read")
        self.encode, self.decode = encode, decode

    def dump(self, value: Any, what: str) -> str:
        try:
            return _json(self.pack(value, [what]))
        except RecursionError:
            raise _too_deep([what]) from None

    def load(self, text: str) -> Any:
        return json.loads(text, object_hook=self._revive)

    def canonical(self, value: Any) -> str:
        """The same text for equal values, in whatever order their keys stand."""
        return json.dumps(self.pack(value, ["shared"]), sort_keys=True)

    def pack(self, value: Any, keys: list[Any]) -> Any:
        """`value` as JSON has it; `keys` is where it stands, for the error."""
        kind = type(value)
        if kind in LEAVES:
            return value
        if kind is list:
            return [item if type(item) in LEAVES else self.pack(item, [*keys, n]) for n, item in enumerate(value)]
        if kind is tuple:
            return {"$tuple": self.pack(list(value), keys)}
        if kind is not dict:
            return {"$object": self.pack(self._encoded(value, keys), keys)}
        packed = {_checked(key, keys): self.pack(item, [*keys, key]) for key, item in value.items()}
        looks_tagged = len(packed) == 1 and packed.keys() <= TAGS
        return {"$dict": [list(pair) for pair in packed.items()]} if looks_tagged else packed

    def _encoded(self, value: Any, keys: list[Any]) -> dict[str, Any]:
        encoded = None
        if self.encode:
            with contextlib.suppress(TypeError):  # how a `default` of json says that it does not know the type
                encoded = self.encode(value)
        if type(encoded) is dict:
            return encoded
        raise _NoData(
            f"{_place(keys)} is a {type(value).__name__}, which is no data: write a dict with text keys, list, tuple,"
            " str, int, float, bool or None, name the key in exclude=, or give encode= (to a dict) and decode="
        )

    def _revive(self, packed: dict[str, Any]) -> Any:
        if len(packed) != 1 or not packed.keys() <= TAGS:
            return packed
        [(tag, value)] = packed.items()
        if tag == "$tuple":
            return tuple(value)
        if tag == "$dict":
            return dict(value)
        if self.decode is None:
            raise JournalError("the journal holds objects of your own types: open it with encode= and decode=")
        return self.decode(value)

    def apply(self, state: dict[str, Any], changes: str) -> dict[str, Any]:
        """Make the changes, in place, and return `state`."""
        for what, (*outer, last), *rest in self.load(changes):
            target: Any = state
            for key in outer:
                target = target[key]
            if what == "set":
                [target[last]] = rest
            elif what == "del":
                del target[last]
            else:
                start, count, items = rest
                target[last][start : start + count] = items
        return state

    def snapshot(self, value: Any, keys: list[Any]) -> _Snapshot:
        kind = type(value)
        if kind is dict:
            return _Snapshot(value.copy(), self._inner(value.items(), keys))
        if kind is list or kind is tuple:
            return _Snapshot(value[:], self._inner(enumerate(value), keys))
        return _Snapshot(self.dump(value, _place(keys)), {})

    def _inner(self, items: Iterable[tuple[Any, Any]], keys: list[Any]) -> dict[Any, _Snapshot]:
        return {key: self.snapshot(item, [*keys, key]) for key, item in items if type(item) not in LEAVES}

    def compare(self, old: _Snapshot, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        """Add to `changes` what makes `value` of what `old` shows; return the snapshot of `value`."""
        if self._is_unchanged(old, value, keys):
            return old
        kind = type(value)
        if kind is dict and type(old.level) is dict:
            return self._compare_items(self._align_dict(old, value, keys, changes), value, keys, changes)
        if kind is list and type(old.level) is list:
            return self._compare_items(self._align_list(old, value, keys, changes), value, keys, changes)
        if kind is tuple and value is old.level:
            inside: list[Any] = []  # only to see whether there is any: a tuple is written as a whole
            now = self._compare_items(old, value, keys, inside)
            if not inside:
                return now
        return self._set(value, keys, changes)

    def _is_unchanged(self, old: _Snapshot, value: Any, keys: list[Any]) -> bool:
        """By far the usual case, so it takes no detours: a store of 50 MB is compared at every step."""
        kind, level = type(value), old.level
        if kind is not type(level):
            return kind not in LEAVES and type(level) is str and self.dump(value, _place(keys)) == level
        if len(value) != len(level) or not all(map(is_, value, level)):
            return False
        if kind is dict and not all(map(is_, value.values(), level.values())):
            return False
        for key, before in old.inner.items():  # noqa: SIM110  # all() of a generator takes longer
            if not self._is_unchanged(before, value[key], keys):
                return False
        return True

    def _set(self, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        try:
            changes.append(["set", keys[1:], self.pack(value, keys)])
            return self.snapshot(value, keys)
        except RecursionError:
            raise _too_deep(keys) from None

    def _compare_items(self, old: _Snapshot, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        """Of containers with the same keys in the same order, or of the same length."""
        pairs = (old.level.values(), value.values()) if type(value) is dict else (old.level, value)
        if all(map(is_, *pairs)):  # by far the usual case, and of the same objects only containers can have changed
            level, candidates = old.level, list(old.inner)
        else:
            level, candidates = value.copy(), list(value if type(value) is dict else range(len(value)))
        inner = {}
        for key in candidates:
            item, before = value[key], old.inner.get(key)
            if type(item) in LEAVES:
                if before or not _is_same_leaf(old.level[key], item):
                    changes.append(["set", [*keys[1:], key], item])
            elif before:
                inner[key] = self.compare(before, item, [*keys, key], changes)
            else:
                inner[key] = self._set(item, [*keys, key], changes)
        return _Snapshot(level, inner)

    def _align_dict(self, old: _Snapshot, value: dict[str, Any], keys: list[Any], changes: list[Any]) -> _Snapshot:
        """`old` with the keys that `value` has, in its order: one that moved is taken out and put at the end."""
        if len(old.level) == len(value) and all(map(is_, old.level, value)):
            return old
        old_keys = iter(old.level)
        stay = {key: old.level[key] for key in takewhile(lambda key: key in old_keys, value)}
        changes += [["del", [*keys[1:], key]] for key in old.level if key not in stay]
        new = {_checked(key, keys): item for key, item in value.items() if key not in stay}
        inner = {key: old.inner[key] for key in stay if key in old.inner}
        for key, item in new.items():
            now = self._set(item, [*keys, key], changes)
            if type(item) not in LEAVES:
                inner[key] = now
        return _Snapshot(stay | new, inner)

    def _align_list(self, old: _Snapshot, value: list[Any], keys: list[Any], changes: list[Any]) -> _Snapshot:
        """`old` with the length of `value`: what is new between the same items at both ends is put there."""
        before, shorter = old.level, min(len(old.level), len(value))
        if len(before) == len(value):
            return old
        start = [*map(is_, before, value), False].index(False)
        end = min([*map(is_, reversed(before), reversed(value)), False].index(False), shorter - start)
        new, moved = value[start : len(value) - end], len(value) - len(before)
        place = [*keys, f"{start}:"]
        try:
            changes.append(["splice", keys[1:], start, len(before) - start - end, self.pack(new, place)])
            inner = {start + n: snapshot for n, snapshot in self._inner(enumerate(new), place).items()}
        except RecursionError:
            raise _too_deep(keys) from None
        for n, snapshot in old.inner.items():
            if n < start:
                inner[n] = snapshot
            elif n >= len(before) - end:
                inner[n + moved] = snapshot
        return _Snapshot(before[:start] + new + before[len(before) - end :], inner)


def _json(packed: Any) -> str:
    try:
        return json.dumps(packed, separators=(",", ":"))
    except ValueError as error:  # a number has more digits than Python will read again
        raise _NoData(f"a number cannot be kept: {error}") from None


def _is_same_leaf(before: Any, now: Any) -> bool:
    """Whether they are written alike: 1, 1.0 and True are three, as are 0.0 and -0.0."""
    return before is now or (type(before) is type(now) and before == now and repr(before) == repr(now))


def _checked(key: Any, keys: list[Any]) -> str:
    if type(key) is not str:
        raise _NoData(f"{_place(keys)} has the key {key!r}: only text can be a key, write {str(key)!r}")
    return key


def _place(keys: list[Any]) -> str:
    return "".join([keys[0], *(f"[{key!r}]" for key in keys[1:])])


def _too_deep(keys: list[Any]) -> _NoData:
    return _NoData(f"{_place(keys)} is nested too deep, or holds itself: keep ids in place of references")
