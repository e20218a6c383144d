"""Runs that outlive their connections, and any number of watchers of each."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import shutil
import tempfile
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from pocketflow import watcher
from pocketflow.journal import Journal, JournalError, RunExists
from pocketflow.serve.live import Live, Results, checked_id, new_id, new_run, outcome
from pocketflow.serve.past import no_row, state_of, store_after, timeline_of, told_rows
from pocketflow.serve.problems import Busy, Conflict, NotFound, Problem, Unreadable
from pocketflow.serve.served import Served
from pocketflow.serve.sse import GAP, HEARTBEAT, Bell, Buffer, end, sse, woken_by
from pocketflow.serve.state import Json, is_inside
from pocketflow.serve.view import View
from pocketflow.text import plain

LOG = logging.getLogger(__name__)  # with the traceback of a run that failed
T = TypeVar("T")
Rows = list[Json]

LISTED = 100  # runs, unless asked for another number
REMEMBERED = 50  # runs that were cut short, of which the journal does not know where, and what was said until then
POLL = 2.0  # seconds between two looks at what other processes do in the same journal
CLOSING = "the server is closing: try again when it is back"
ADVICE = {"finished": "fork it, to run it from a point in its past", "stopping": "resume it when it has stopped"}
CHANGING = ("status", "error", "questions", "started", "ended")  # what a run that stops is told with


class Runs:
    """Runs flows in a journal, tells any number of watchers of them, and goes on with them after a crash.

        async with Runs("runs.db", {"article": flow}) as runs:
            run_id = await runs.start("article", {"topic": "bees"})

    journal: a `Journal`, or where to open one; None means a temporary one, which is gone at the end.
    flows: by their names.
    limit: how many run at once; waiting: how many more wait for their turn.
    keep: bytes of events that are kept of each run for those who come late.
    linger: seconds that they are kept after the run has stopped. How the last runs stood that were cut short is
        kept longer, as the journal does not say where that was.
    grace: seconds that `close` waits for runs to stop, as a step of a sync flow cannot be interrupted.
    heartbeat: seconds of silence after which a watcher gets a comment.

    It lives on one event loop; the hooks that are installed where it is made see its runs. A run is a dict of what
    `Journal.runs` says of it, and "flow" (a slug; None if it is not known) and "is_here" (whether it waits or runs
    here); its status may also be "waiting" (for its turn) or "stopping".

    Raises: `NotFound` for an unknown run or flow, `Conflict` for a run whose state does not allow it, `Busy` if no
        more runs can wait, and their base `Problem` for all else that is refused.
    """

    def __init__(
        self,
        journal: Journal | str | Path | None = None,
        flows: Mapping[str, Any] | None = None,
        *,
        limit: int = 8,
        waiting: int = 32,
        keep: int = 2_000_000,
        linger: float = 600,
        grace: float = 5,
        heartbeat: float = 15,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: write 1 or more, or nothing would run")
        self.limit, self.waiting, self.keep, self.linger = limit, waiting, keep, linger
        self.grace, self.watcher = grace, watcher.get()
        self.is_closing = self.is_closed = False  # first the runs are stopped, then nobody watches any more
        self.flows: dict[str, Served] = {}
        for name, flow in (flows or {}).items():
            served = Served(name, flow, self.flows)
            self.flows[served.slug] = served
        self.owns_journal = not isinstance(journal, Journal)
        self.journal = journal if isinstance(journal, Journal) else Journal(journal or self._temporary())
        # Of our own, as nodes may fill all threads of the loop, and we have to answer meanwhile.
        self.threads = ThreadPoolExecutor(4, "pocketflow.serve")
        self.pulse = Bell(heartbeat)  # for all who watch anything
        self.news = Buffer(keep)  # how runs change, for those who watch all of them
        self.lives: dict[str, Live] = {}
        self.locks = weakref.WeakValueDictionary[str, asyncio.Lock]()  # one command to a run at a time
        self.slots = asyncio.Semaphore(limit)
        self.attending: set[asyncio.Task[None]] = set()
        self.watching = 0  # how many watch all runs
        self.poller: asyncio.Task[None] | None = None
        self.polled = 0  # how often the journal was looked at
        self.seen: dict[str, Json] = {}  # the runs of other processes, when it was looked at last

    def _temporary(self) -> str:
        """A file for a journal that is gone with us."""
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return f"{folder}/runs.db"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # What one can do

    async def start(
        self, name: str, shared: Json, run_id: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> str:
        """Start the flow with this slug on a copy of `shared`; return the id of the run, once it is in the journal.

        run_id: letters, digits and `. _ : @ + -`; None means one made of the slug and the time.
        tags: data by which `Journal.runs` finds the run; "flow" is always the slug.
        """
        served = self.flows.get(name)
        if served is None:
            raise NotFound(f"there is no flow {name!r}: the flows are {', '.join(self.flows) or 'none'}")
        run_id = new_id(served.slug) if run_id is None else checked_id(run_id)
        run = new_run(run_id, served.slug, {**(tags or {}), "flow": served.slug})
        async with self._alone(run_id):
            if run_id in self.lives and not self.is_active(run_id) and run_id in await self._all(run_id):
                raise Conflict(f"there is a run {run_id!r} already: choose another run_id")
            # The run takes what is recorded, so that the caller may go on with the store: only this is not.
            unrecorded = {key: shared[key] for key in self.journal.exclude & shared.keys()}
            live = self._reserve(run, served, unrecorded, [])
            try:
                await self._ask(self.journal.create, served.flow, shared, run_id=run_id, tags=run["tags"])
            except BaseException:
                self._forget(live)
                raise
            self._begin(live)
        return run_id

    async def resume(self, run_id: str) -> None:
        """Resume a run that has stopped, unless it is finished."""
        async with self._alone(run_id):
            run = await self.summary(run_id)
            if run["status"] in ("finished", "running", "waiting", "stopping"):
                advice = ADVICE.get(run["status"], "watch it")
                raise Conflict(f"{run_id!r} is {run['status']} already: {advice}")
            self._begin(await self._resumed(run, run["questions"]))

    async def answer(self, run_id: str, value: Any, path: str | None = None, by: str | None = None) -> None:
        """Answer a question of a run, which is recorded, and let the run go on.

        path: of the question, or of its node; needed if several are waiting. by: who answers, for the history.
        Raises: `Conflict` if the question is not waiting any more, as somebody has answered it.
        """
        async with self._alone(run_id):
            live = self._active(run_id)
            if live and live.is_asking:
                await live.stopped.wait()
            run = await self.summary(run_id)
            asked = _asked(run, value, path)
            live = await self._resumed(run, [it for it in run["questions"] if it is not asked])
            try:
                await self._ask(self.journal.answer, run_id, value, asked["path"], by, refused=Conflict)
            except BaseException:
                self._forget(live)
                raise
            self._begin(live)

    async def cancel(self, run_id: str, grace: float | None = None) -> None:
        """Stop a run that waits or runs here, and wait until it has stopped; it can be resumed.

        grace: seconds to wait at most, as a step of a sync flow cannot be interrupted; None means any time.
        """
        run, live = await self.summary(run_id), self._active(run_id)
        if live is None or live.work is None:
            raise Conflict(f"{run_id!r} is {run['status']}, and does not run here: there is nothing to stop")
        if live.run["status"] != "stopping":
            live.work.cancel()
            self._change(live, status="stopping")
        with suppress(TimeoutError):
            await asyncio.wait_for(live.stopped.wait(), grace)

    async def fork(self, run_id: str, after: int | str) -> str:
        """Make a new run with the past of this one, up to a row of its history; return its id. `resume` runs it."""
        rows, _ = await self._recorded(run_id)
        if not any(after in (row["n"], row["path"] or None) for row in rows):
            raise Problem(no_row(run_id, after, rows))
        fork = await self._ask(self.journal.fork, run_id, after=after)
        self._tell_all(await self.summary(fork))
        return fork

    async def delete(self, run_id: str) -> None:
        """Delete a run that has stopped, with its history."""
        async with self._alone(run_id):
            await self.summary(run_id)
            if self._active(run_id):
                raise Conflict(f"{run_id!r} runs: stop it first")
            await self._ask(self.journal.delete, run_id, refused=Conflict)
            self.lives.pop(run_id, None)
            self.seen.pop(run_id, None)
            self.news.add({"run_id": run_id}, "deleted")

    async def close(self) -> Sequence[str]:
        """Stop all runs, which can be resumed, and end all watching; the ids of those that did not stop in time.

        A sync step that outlives the grace goes on in its thread until the process ends.
        """
        self.is_closing = True
        active = [live for live in self.lives.values() if not live.stopped.is_set()]
        for live in active:
            if live.work:
                live.work.cancel()
        if self.poller:
            self.poller.cancel()
        if self.attending:
            await asyncio.wait(self.attending, timeout=self.grace)
        self.is_closed = True
        self.pulse.wake()
        left = [live.run_id for live in active if live.work]
        if not left:
            await asyncio.to_thread(self.threads.shutdown)  # the journal is asked no more
            if self.owns_journal:
                self.journal.close()
        return left

    # What one can ask

    async def list(self) -> Rows:
        """All runs, the newest first."""
        return sorted((await self._all()).values(), key=lambda run: str(run["started"]), reverse=True)

    async def summary(self, run_id: str) -> Json:
        """What `list` says of a run."""
        if live := self._active(run_id):
            return live.summary
        found = await self._all(run_id)
        if run_id not in found:
            raise NotFound(f"there is no run {run_id!r}")
        return found[run_id]

    def is_active(self, run_id: str) -> bool:
        """Whether a run waits or runs here."""
        return self._active(run_id) is not None

    async def get(self, run_id: str) -> Json:
        """How a run stands: what `list` says of it, what `State` has, and "event", the id of the last event in it.

        The id is None for a run that is only in the journal.
        """
        run = await self.summary(run_id)
        if run_id not in self.lives:
            rows = await self._history(run_id)
            if run_id not in self.lives:  # else it has begun meanwhile
                return await self._in_thread(self._restored, run, rows)
        return self.lives[run_id].described()

    async def history(self, run_id: str) -> Rows:
        """The rows of `Journal.history`, each with the id of its node; results as text of at most 300 characters."""
        return await self._in_thread(told_rows, *await self._recorded(run_id))

    async def store(self, run_id: str, after: int | None = None) -> Json:
        """The run as it was after a row of the history, by default the last: `n`, that row; `store`, key -> text of
        the value; `changes`, key -> "added", "changed" or "removed" by that row; and what `State` has."""
        rows, served = await self._recorded(run_id)
        n = rows[-1]["n"] if after is None else after
        if n not in range(len(rows)):
            raise NotFound(no_row(run_id, n, rows))
        now = await self._ask(self.journal.load, run_id, after=n, refused=NotFound)
        before = await self._ask(self.journal.load, run_id, after=n - 1, refused=NotFound) if n else {}
        return await self._in_thread(store_after, rows[: n + 1], served, before, now)  # as both may be large

    async def trace(self, run_id: str) -> str:
        """The timeline of a run, as a page of its own."""
        status = (await self.summary(run_id))["status"]
        rows, served = await self._recorded(run_id)
        return await self._in_thread(timeline_of, rows, served, status)

    # Watching

    async def watch(self, run_id: str, after: str | None = None) -> AsyncGenerator[bytes, None]:
        """The events of a run until it stops, as Server-Sent Events, one or several at a time.

        after: the id of the last event that was received; None means all from the beginning.

        In place of events that are not kept any more comes one of the type "gap": then ask `get` for the state of
        the run. The last event is of the type "end", with the status; its id is "end".
        """
        live = self.lives.get(run_id)
        if live is None:
            run = await self.summary(run_id)
            yield GAP + end(run["status"])
            return
        number = live.buffer.number_after(after)
        while True:
            if number is None or number < live.buffer.first:
                number = live.buffer.first
                yield GAP
            elif number < live.buffer.end:
                number, messages = live.buffer.since(number)
                yield messages
            elif live.stopped.is_set() or self.is_closed:
                status = live.run["status"] if live.stopped.is_set() else "interrupted"  # by the end of the server
                yield end(status)
                return
            elif not await self._is_news(live.buffer.bell):
                yield HEARTBEAT

    async def watch_all(self, run_id: str | None = None) -> AsyncGenerator[bytes, None]:
        """All that a page shows, in one stream of Server-Sent Events: the runs, and one of them with its events.

        First come the messages "runs" and "state" (or "missing"). "run" and "deleted" tell of any run; a message
        without a name is an event of the one, and a "state" takes the place of all that was known of it. "past" has
        the events from before the state, to be listed: what they changed is in the state.
        """
        self.watching += 1
        if self.poller is None or self.poller.done():
            self.poller = asyncio.create_task(self._poll())
        try:
            number, view = self.news.end, View(self, run_id)
            runs = await self.list()
            yield sse({"runs": runs[:LISTED], "more": max(0, len(runs) - LISTED)}, "runs")
            while number >= self.news.first:  # else it is too slow, and comes again
                messages = await view.news()
                if number < self.news.end:
                    number, news = self.news.since(number)
                    messages = news + messages
                if messages:
                    yield messages
                elif self.is_closed:
                    return
                elif not await self._is_news(self.news.bell, *view.bells):
                    yield HEARTBEAT
        finally:
            self.watching -= 1

    async def _is_news(self, *bells: Bell) -> bool:
        """Wait for one of these bells; False if it is time to tell that we are still here."""
        self.pulse.ring()
        return await woken_by(*bells, self.pulse) is not self.pulse

    async def _poll(self) -> None:
        """Tell what other processes do in the same journal, while anyone watches all runs."""
        loop = asyncio.get_running_loop()
        while self.watching:
            began = loop.time()
            with suppress(Problem):  # a journal that cannot be read for a while
                runs = {run["run_id"]: run for run in await self.list() if run["run_id"] not in self.lives}
                for run_id, run in runs.items() if self.polled else ():
                    if self.seen.get(run_id) != run:
                        self._tell_all(run)
                for run_id in self.seen.keys() - runs.keys() - self.lives.keys():
                    self.news.add({"run_id": run_id}, "deleted")
                self.seen, self.polled = runs, self.polled + 1
                self.news.bell.ring()
            await asyncio.sleep(max(POLL, 20 * (loop.time() - began)))
        self.polled = 0

    # Runs that are here

    def _reserve(self, run: Json, served: Served, shared: Json, past: Rows) -> Live:
        """Take a place for a run, before anything is awaited."""
        run_id = run["run_id"]
        if self._active(run_id):
            raise Conflict(f"{run_id!r} runs already: watch it, or choose another run_id")
        self._check_room()
        changed = {"status": "waiting", "is_here": True, "error": None, "ended": None, "flow": served.slug}
        live = Live({**run, **changed}, served, shared, Buffer(self.keep), past)
        self.lives[run_id] = live
        return live

    def _check_room(self) -> None:
        if self.is_closing:
            raise Busy(CLOSING)
        if sum(not live.stopped.is_set() for live in self.lives.values()) >= self.limit + self.waiting:
            raise Busy(f"the server is full ({self.limit} running, {self.waiting} waiting): try again later")

    def _active(self, run_id: str) -> Live | None:
        live = self.lives.get(run_id)
        return live if live and not live.stopped.is_set() else None

    def _begin(self, live: Live) -> None:
        self._change(live, status="waiting")
        context = contextvars.copy_context()
        context.run(watcher.set, self.watcher)  # a run is not a part of the run whose node has started it
        live.work = asyncio.create_task(self._work(live), context=context)
        if self.is_closing:
            live.work.cancel()
        task = asyncio.create_task(self._attend(live))
        self.attending.add(task)
        task.add_done_callback(self.attending.discard)

    async def _work(self, live: Live) -> None:
        async with self.slots:
            self._change(live, status="running")
            with Results(live):
                async with aclosing(self.journal.stream(live.served.flow, live.shared, run_id=live.run_id)) as events:
                    async for event in events:
                        live.tell(event)

    async def _attend(self, live: Live) -> None:
        """Wait until a run stops, and tell how."""
        assert live.work
        await asyncio.wait([live.work])
        stopped, is_as_before = outcome(live.work), live.work.cancelled() and live.state.past and not live.state.nodes
        if stopped["status"] == "failed":
            LOG.error("%s failed", live.run_id, exc_info=live.work.exception())
        with suppress(JournalError, ValueError, Problem):  # what the journal has is the truth, where it can be read
            [recorded] = await self._in_thread(self.journal.runs, run_id=live.run_id)
            error = recorded["error"] or stopped.get("error")  # a run that the journal refuses has none in there
            stopped = {**recorded, "error": error}
        live.stop(**plain({key: stopped[key] for key in CHANGING if key in stopped}))
        self._tell_all(live.summary)
        if is_as_before:  # it was stopped as it waited to go on: the journal has its state
            return self._forget(live)
        asyncio.get_running_loop().call_later(self.linger, self._let_go, live)

    async def _resumed(self, run: Json, questions: Rows) -> Live:
        """A stopped run as it goes on, with the questions that it will ask again."""
        run_id = run["run_id"]
        rows, served = await self._recorded(run_id)
        if served is None:
            raise Conflict(f"{run_id!r} belongs to no flow served here: those are {', '.join(self.flows) or 'none'}")
        await self._ask(self.journal.check, served.flow, run_id, refused=Conflict)
        live = self._reserve({**run, "questions": []}, served, {}, rows)
        live.is_asking = bool(questions)
        return live

    def _change(self, live: Live, **run: Any) -> None:
        live.change(**run)
        self._tell_all(live.summary)

    def _tell_all(self, run: Json) -> None:
        self.news.add(run, "run")

    def _let_go(self, live: Live) -> None:
        """Forget a run that the journal has as a whole, and of another one the events."""
        if live.run["status"] in ("finished", "paused"):
            return self._forget(live)
        live.buffer.clear()
        remembered = [it for it in self.lives.values() if it.stopped.is_set() and not it.buffer.messages]
        for oldest in remembered[:-REMEMBERED]:
            self._forget(oldest)

    def _forget(self, live: Live) -> None:
        live.stopped.set()
        if self.lives.get(live.run_id) is live:
            del self.lives[live.run_id]
        live.buffer.bell.ring()

    def _alone(self, run_id: str) -> asyncio.Lock:
        return self.locks.setdefault(run_id, asyncio.Lock())

    # Runs that are in the journal

    async def _in_thread(self, work: Callable[..., T], *args: Any, **options: Any) -> T:
        try:
            working = self.threads.submit(work, *args, **options)
        except RuntimeError:  # there are none any more
            raise Busy(CLOSING) from None
        return await asyncio.wrap_future(working)

    async def _ask(self, ask: Callable[..., T], *args: Any, refused: type[Problem] = Problem, **options: Any) -> T:
        """Ask the journal in a thread, as it may wait for a disk or a server."""
        try:
            return await self._in_thread(ask, *args, **options)
        except RunExists as error:
            raise Conflict(str(error)) from error
        except JournalError as error:
            raise refused(str(error)) from error

    async def _recorded(self, run_id: str) -> tuple[Rows, Served | None]:
        """The history of a run, and its flow."""
        run = await self.summary(run_id)
        rows = await self._history(run_id)
        return rows, await self._in_thread(self._served, run, rows)

    async def _history(self, run_id: str) -> Rows:
        try:
            return await self._ask(self.journal.history, run_id, refused=Unreadable)
        except Unreadable:
            await self.summary(run_id)  # raises `NotFound`, where it was deleted meanwhile
            raise

    async def _all(self, run_id: str | None = None) -> dict[str, Json]:
        """All runs, or the one with this id if there is one, by their ids.

        What has stopped here is forgotten where another process has gone on with it since, or deleted it.
        """
        stopped = [live for live in self.lives.values() if live.stopped.is_set() and run_id in (None, live.run_id)]

        def recorded() -> dict[str, Json]:
            return {run["run_id"]: self._described(run) for run in self.journal.runs(run_id=run_id)}

        runs = await self._ask(recorded, refused=Unreadable)
        for live in stopped:
            if not live.is_as(runs.get(live.run_id)):
                self._forget(live)
        return runs | {live.run_id: live.summary for live in self.lives.values() if run_id in (None, live.run_id)}

    def _described(self, recorded: Json) -> Json:
        """What `list` says of a run that is not here."""
        served = self._tagged(recorded)
        return {**plain(recorded), "flow": served.slug if served else None, "is_here": False}

    def _tagged(self, run: Json) -> Served | None:
        """The flow that the tag of a run names, where it is one of ours: other programs have tags, too."""
        slug = run["tags"].get("flow")
        return self.flows.get(slug) if isinstance(slug, str) else None

    def _served(self, run: Json, rows: Rows) -> Served | None:
        """The flow of a run: that of its tag, or the only one whose graph has all steps that are recorded."""
        if served := self._tagged(run):
            return served
        paths = [row["path"] for row in rows if row["path"]]
        fitting = [it for it in self.flows.values() if all(it.graph.locate(path) for path in paths)]
        return fitting[0] if len(fitting) == 1 else None

    def _restored(self, run: Json, rows: Rows) -> Json:
        served = self._served(run, rows)
        state = state_of(rows, served, run["status"], run["questions"])
        return {**run, "flow": served.slug if served else None, **state, "event": None}


def _asked(run: Json, value: Any, path: str | None) -> Json:
    """The question of a run that an answer is for."""
    asked = [it for it in run["questions"] if path is None or is_inside(it["path"], path)]
    if not asked:
        where = f"{run['run_id']!r} at {path}" if path else repr(run["run_id"])
        raise Conflict(f"no question is waiting in {where}: it may have been answered")
    if len(asked) > 1:
        paths = [it["path"] for it in asked]
        raise Problem(f"several questions are waiting in {run['run_id']!r}: add path, one of {paths}")
    question: Json = asked[0]
    choices = question["choices"]
    if choices is not None and value not in choices:
        raise Problem(f"{value!r} is not an answer: the choices are {choices}")
    return question
