"""Transactions one after the other, in a thread if an event loop must not wait; and who may write a run."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from pocketflow.journal.records import JournalError, Locked, Record, RunBusy, Store

T = TypeVar("T")
Done = Callable[[Future[Any]], None]


class _Job(NamedTuple):
    """Work on the store: it checks first and writes last, so that one which fails has written nothing.

    writes: None means that it needs no transaction.
    """

    work: Callable[[], Any]
    writes: bool | None
    future: Future[Any]


class Writer:
    """Does jobs one transaction after the other: in a thread of its own, or in that of a caller that can wait.

    The thread takes jobs in order, and does all that are waiting in one transaction.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.process, self.is_closed = store, os.getpid(), False
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.lock, self.starting = threading.RLock(), threading.Lock()  # of the store, and of the thread
        self.thread: threading.Thread | None = None

    def submit(self, work: Callable[[], T], *, writes: bool | None = True, done: Done | None = None) -> Future[T]:
        """Hand a job over, which nobody can cancel any more. `done` is called before the next transaction begins."""
        job = self._job(work, writes, done)
        with self.starting:
            self._check_open()
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="pocketflow.journal", daemon=True)
                self.thread.start()
            self.jobs.put(job)
        return job.future

    def perform(self, work: Callable[[], T], *, writes: bool | None = True, done: Done | None = None) -> Future[T]:
        """Do a job at once if the database is quick: waking a thread takes longer than a commit."""
        if not self.store.is_quick:
            return self.submit(work, writes=writes, done=done)
        return self._perform(work, writes, done)

    def attempt(self, work: Callable[[], T], *, done: Done | None = None) -> Future[T]:
        """Do a job at once if it has to wait for nobody, else hand it over: an event loop must not wait."""
        if self.store.is_quick and self.lock.acquire(blocking=False):
            try:
                return self._perform(work, True, done, waits=False)
            except Locked:
                pass
            finally:
                self.lock.release()
        return self.submit(work, done=done)

    def do(self, work: Callable[[], T], *, writes: bool | None = True) -> T:
        """The result of the job, for which the thread waits."""
        return self.perform(work, writes=writes).result()

    def close(self) -> None:
        """When all jobs are done."""
        if self.is_closed or os.getpid() != self.process:
            return
        with self.lock, self.starting:  # so that no job comes between a check and its work
            self.is_closed = True
            self.jobs.put(None)
        if self.thread is None:
            self.store.close()
        elif self.thread is not threading.current_thread():  # where the garbage collection may close what nobody closed
            self.thread.join()

    def _perform(
        self, work: Callable[[], T], writes: bool | None, done: Done | None, *, waits: bool = True
    ) -> Future[T]:
        job = self._job(work, writes, done)
        with self.lock:
            self._check_open()
            self._do([job], waits=waits)
        return job.future

    def _job(self, work: Callable[[], T], writes: bool | None, done: Done | None) -> _Job:
        if os.getpid() != self.process:
            raise JournalError(f"{self.store.name} was opened by another process: open a Journal in each process")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        if done:
            future.add_done_callback(done)
        return _Job(work, writes, future)

    def _check_open(self) -> None:
        if self.is_closed:
            raise JournalError(f"{self.store.name}: it was closed; open it again")

    def _run(self) -> None:
        is_open = True
        while is_open:
            waiting = [self.jobs.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.append(self.jobs.get_nowait())
            is_open = None not in waiting
            for _, group in groupby(filter(None, waiting), lambda job: job.writes):
                self._do([*group])
        self.store.close()

    def _do(self, jobs: list[_Job], *, waits: bool = True) -> None:
        transactions: dict[bool | None, Any] = {
            True: partial(self.store.commit, waits=waits),
            False: self.store.read,
            None: lambda work: work(),
        }
        with self.lock:
            try:
                outcomes = transactions[jobs[0].writes](lambda: [_outcome(job) for job in jobs])
            except Locked:
                raise
            except BaseException as error:  # none of them is done
                outcomes = [(None, error)] * len(jobs)
            for job, (result, failure) in zip(jobs, outcomes, strict=True):
                if failure:
                    job.future.set_exception(failure)
                else:
                    job.future.set_result(result)


def _outcome(job: _Job) -> tuple[Any, JournalError | None]:
    """What it returned, or why it was refused; an error of the database fails all jobs of the transaction."""
    try:
        return job.work(), None
    except JournalError as error:
        return None, error


class Owner:
    """Who may write a run: it holds the lock of a fencing token, and every record of the run carries the token.

    is_async: whether an event loop must not wait here.
    lost: why nothing more can be written: after a record that failed, the next would leave a gap.
    """

    def __init__(self, writer: Writer, run_id: str, now: Callable[[], datetime], *, is_async: bool = False) -> None:
        self.store, self.run_id, self.now, self.is_async = writer.store, run_id, now, is_async
        self.writer, self.do = writer, writer.submit if is_async else writer.perform
        self.token = secrets.randbits(62)
        self.last: Future[None] | None = None
        self.lost: JournalError | None = None

    def record(self, kind: str, *columns: Any, **more: Any) -> Record:
        return Record(self.run_id, self.token, iso(self.now()), kind, *columns, **more)

    def take(self, last: Record | None, takeover: bool) -> None:
        """Be the owner, of a run that ends with the record `last`; the next record makes it known."""
        if last is not None and self.store.is_alive(last.token) and not takeover:
            raise RunBusy(f"{self.run_id!r} is being run by another owner: wait for it, or pass takeover=True")
        self.store.lock(self.token)

    def append(self, kind: str, *columns: Any, **more: Any) -> Future[None]:
        """Hand a record over; it is durable when the future is done."""
        record = self.record(kind, *columns, **more)

        def work() -> None:
            if self.lost:
                raise JournalError(f"{self.run_id!r} cannot be recorded any more: {self.lost}") from self.lost
            if self.token not in self.store.held:
                raise RunBusy(f"{self.run_id!r} lost its lock with the connection: run it again")
            self.store.append(record, self.token)

        if self.last is not None and not self.last.done():
            self.last = self.writer.submit(work, done=self.note)  # behind that one
        elif self.is_async:
            self.last = self.writer.attempt(work, done=self.note)
        else:
            self.last = self.writer.perform(work, done=self.note)
        return self.last

    def note(self, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(error, JournalError):
            self.lost = self.lost or error

    def release(self) -> Future[None]:
        return self.do(lambda: self.store.unlock(self.token), writes=None)


def iso(moment: datetime) -> str:
    """The text of a moment in records; such texts sort like the moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
