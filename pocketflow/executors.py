"""`exec` elsewhere: on threads, on all cores, or on a cluster, while the event loop stays free.

A node is written like a `Node`, with sync phases, and runs in an `AsyncFlow`. `prep` and `post`
run on the loop, so `shared` needs no lock; only `exec` runs elsewhere. Retries, `wait` and
`exec_fallback` stay in the calling process.

    >>> import asyncio
    >>> from pocketflow import AsyncFlow
    >>> class Squares(ExecutorBatchNode):
    ...     def prep(self, shared):
    ...         return range(4)
    ...     def exec(self, item):
    ...         return item * item
    ...     def post(self, shared, items, squares):
    ...         shared["squares"] = squares
    >>> shared = {}
    >>> asyncio.run(AsyncFlow(start=Squares()).run_async(shared))
    >>> shared["squares"]
    [0, 1, 4, 9]

With `executor=ProcessPoolExecutor` the same node uses all cores; with the executor of a Dask
client (`client.get_executor()`) it uses a cluster.
"""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any, Self

from pocketflow import AsyncNode, AsyncParallelBatchNode, name_of, watcher
from pocketflow.hooks import called, ended

__all__ = ["ExecutorBatchNode", "ExecutorNode", "MakesExecutor", "Pool", "RemoteError", "WorkerDied"]

MakesExecutor = Executor | Callable[[], Executor] | None

STAYS_HERE = ("successors", "executor", "max_retries", "wait", "max_concurrency", "cur_retry")


class WorkerDied(RuntimeError):
    """The process that ran an `exec`, or another one of its pool, died; counts as a failed attempt."""


class RemoteError(RuntimeError):
    """Stands for an error of another process that cannot be pickled: has its text, and its traceback as the cause."""


# Where work is sent


class Pool:
    """Where functions run: the user's executor, which stays open, or one of its own, which `close` closes.

    executor: a `concurrent.futures.Executor`; or a callable that makes one, on first use and
        again after a worker died; None means threads of its own.
    threads: how many of them; None means the default of `ThreadPoolExecutor`.
    """

    def __init__(self, executor: MakesExecutor = None, threads: int | None = None) -> None:
        if executor is not None and not isinstance(executor, Executor) and not callable(executor):
            raise TypeError(f"executor={executor!r}: write an Executor, or a callable that makes one")
        is_given = isinstance(executor, Executor)
        self._make: Any = None if is_given else executor or partial(ThreadPoolExecutor, threads)
        self._executor: Any = executor if is_given else None

    @property
    def executor(self) -> Executor:
        if self._executor is None:
            self._executor = self._make()
        return self._executor  # type: ignore[no-any-return]  # what a callable made

    @property
    def workers(self) -> int | None:
        """How many workers there are; None if the executor does not say, as that of a cluster."""
        return getattr(self.executor, "_max_workers", None)  # where the standard library keeps it

    async def run(self, title: Callable[[], str], function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`; `title` gives its name in errors.

        A thread gets a copy of the context. On cancellation, work that has not begun never begins;
        work that runs is awaited, as a thread cannot be stopped.

        Raises: `WorkerDied`; `TypeError` for what cannot be pickled; `RemoteError`.
        """
        executor = self.executor
        try:
            if not isinstance(executor, ProcessPoolExecutor):
                return await _result(_submit(executor, function, *args))
            parcel = _packed(title, function, args)
            return _unpacked(title, await _result(executor.submit(_work_there, parcel)))
        except Exception as error:
            if not _is_death(error):
                raise
            if self._make and self._executor is executor:  # else somebody has already made another
                self._executor = None
            raise WorkerDied(f"{title()} was in a pool whose worker died") from error

    async def close(self) -> None:
        """Close the executor that was made here, without needing a thread of anybody else."""
        executor, make = self._executor, self._make
        if make is None or executor is None:
            return
        self._executor = None
        if isinstance(executor, ThreadPoolExecutor):  # what ran there has been awaited
            executor.shutdown(wait=False, cancel_futures=True)
            return
        closer = ThreadPoolExecutor(1)
        closed = closer.submit(executor.shutdown, cancel_futures=True)
        closer.shutdown(wait=False)
        await ended(asyncio.wrap_future(closed))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _result(future: Future[Any]) -> Any:
    """The result of a future; on cancellation the future is cancelled, or awaited if it runs already."""
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not future.cancel():
            await ended(waiting)
        raise


def _submit(executor: Executor, function: Callable[..., Any], *args: Any) -> Future[Any]:
    if isinstance(executor, ThreadPoolExecutor):
        return executor.submit(contextvars.copy_context().run, called, function, *args)
    return executor.submit(_work_on_cluster, function, *args)


def _is_death(error: Exception) -> bool:
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"  # the latter is Dask's


# Nodes


class ExecutorNode(AsyncNode):
    """A node whose `exec` runs on `executor`, so that the event loop stays free.

    executor: a `concurrent.futures.Executor`, which stays open; or a callable that makes one for
        each visit, which is closed before `post`, such as `ProcessPoolExecutor`; or a `Pool`; None
        means a thread of its own. Set it on the class or as a keyword, which wins.

    Write `prep`, `exec`, `exec_fallback` and `post` as in a `Node`. Threads get a copy of the
    context, so hooks, `emit` and `cur_retry` work there. Another process gets the class, the
    attributes of the node and the item, but not the graph; `emit` is an error there.

    When a run is cancelled, an `exec` that has not started never starts; one that runs is
    awaited, as a thread cannot be stopped.

    Raises: `WorkerDied` if a process of the pool died. It counts as a failed attempt, and if the
        node made the pool, the next attempt gets a new one. `TypeError` that names what cannot
        be pickled for a process; `RemoteError` for an error that cannot be pickled.
    """

    executor: MakesExecutor | Pool = None

    def __init__(self, *args: Any, executor: MakesExecutor | Pool = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if executor is not None:
            self.executor = executor

    async def prep_async(self, shared: Any) -> Any:
        return self.prep(shared)

    async def exec_async(self, prep_res: Any, /) -> Any:
        if isinstance(self.pool.executor, ThreadPoolExecutor):
            return await self.elsewhere(prep_res, self.exec, prep_res)
        attributes = {name: value for name, value in vars(self).items() if name not in STAYS_HERE}
        return await self.elsewhere(prep_res, _exec_there, type(self), attributes, self.cur_retry, prep_res)

    async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
        return self.exec_fallback(prep_res, exc)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return self.post(shared, prep_res, exec_res)

    @property
    def pool(self) -> Pool:
        """Where the current visit sends its exec."""
        return _visit.get()[1]

    async def elsewhere(self, prep_res: Any, function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`, which is the exec of `prep_res`, on the executor of this visit."""
        return await self.pool.run(lambda: f"{name_of(self)}: exec({prep_res!r:.100})", function, *args)

    async def _exec(self, prep_res: Any) -> Any:
        """The pool is closed before `post`, so that nothing is awaited between what that writes and the end."""
        pool = self.executor if isinstance(self.executor, Pool) else Pool(self.executor, self.threads)
        around = _visit.set((self, pool))
        try:
            return await super()._exec(prep_res)
        finally:
            _visit.reset(around)
            if pool is not self.executor:
                await pool.close()

    @property
    def threads(self) -> int | None:
        """How many threads a visit without an executor has; None means the default of `ThreadPoolExecutor`."""
        return 1


class _TwiceTheWorkers:
    """The limit of a batch that sets none, while it runs; an attribute of the node or its class comes before it."""

    def __get__(self, node: Any, owner: type) -> int | None:
        visited, pool = _visit.get((None, None))
        workers = pool.workers if pool and visited is node else None
        return workers and 2 * workers


class ExecutorBatchNode(ExecutorNode, AsyncParallelBatchNode):
    """An `ExecutorNode` that runs `exec` once for each item that `prep` returned, all at once.

    The results keep the order of the items, and each item has its own attempts. `max_concurrency`
    is how many items are sent at once and, without an executor, the number of threads; None means
    twice as many items as there are workers, or all items for a cluster, which does not say how
    many workers it has.

    When a process dies, each item that was in the pool has lost an attempt, as the pool cannot
    tell which one it was.
    """

    max_concurrency: Any = _TwiceTheWorkers()

    def __init__(self, *args: Any, max_concurrency: int | None = None, **kwargs: Any) -> None:
        limit: dict[str, Any] = {} if max_concurrency is None else {"max_concurrency": max_concurrency}
        super().__init__(*args, **limit, **kwargs)

    @property
    def threads(self) -> int | None:
        return self.max_concurrency  # type: ignore[no-any-return]  # a number or None


_visit: contextvars.ContextVar[tuple[Any, Pool]] = contextvars.ContextVar("visit")
"""The node whose exec runs, and its pool, which belongs to the visit: a node may run several times at once."""


# In the other process


class _Outside:
    """What `pocketflow.watcher` holds in a worker process: work is done as usual, but there are no hooks."""

    def __init__(self, executing: Any = None) -> None:
        self.executing = executing

    def do(self, role: str, node: Any, work: Callable[..., Any], *args: Any, index: int | None = None) -> Any:
        around = watcher.set(_Outside(node if role == "exec" else None))
        try:
            return work(*args)
        finally:
            watcher.reset(around)

    async def do_async(
        self, role: str, node: Any, work: Callable[..., Any], *args: Any, index: int | None = None
    ) -> Any:
        around = watcher.set(_Outside(node if role == "exec" else None))
        try:
            result = work(*args)
            return await result if hasattr(result, "__await__") else result
        finally:
            watcher.reset(around)

    def tell(self, method: str, *args: Any) -> None:
        if method == "on_event":
            raise RuntimeError(
                f"{args[0]!r:.100} was emitted in a worker process, outside of the run: return it from exec, "
                "and emit it in post"
            )


def _work_outside(context: contextvars.Context, function: Callable[..., Any], *args: Any) -> Any:
    context.run(watcher.set, _Outside())
    return context.run(function, *args)


def _work_on_cluster(function: Callable[..., Any], *args: Any) -> Any:
    context = contextvars.copy_context()  # in which Dask keeps its worker
    return _work_outside(context, called, function, *args)


def _exec_there(cls: Any, attributes: dict[str, Any], attempt: int, prep_res: Any) -> Any:
    """Run the `exec` of a copy of the node that sent this work."""
    node = cls.__new__(cls)
    vars(node).update(attributes)
    node.cur_retry = attempt
    return node.exec(prep_res)


# What goes to a process pool and back: bytes, as an object that cannot be unpickled would break the pool


class _Traceback(Exception):
    """The traceback of an error in another process, as text; its cause here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _packed(title: Callable[[], str], function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((function, args))
    except Exception as error:
        raise TypeError(f"{title()} cannot be sent to another process: {_culprit(function, args)}") from error


def _culprit(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """Which part of the work cannot be pickled, and what to write instead."""
    if function is _exec_there:
        cls, attributes, *_ = args
        if not _travels(cls):
            return f"its class {cls.__qualname__} cannot be pickled; define it at the top of a module"
        for name, value in attributes.items():
            if not _travels(value):
                return f"its attribute {name} = {value!r:.100} cannot be pickled; make {name} inside exec"
        return "its item cannot be pickled; send what makes it, such as a path"
    if not _travels(function):
        return f"{function!r:.100} cannot be pickled; define it at the top of a module"
    return f"its arguments {args!r:.200} cannot be pickled; send what makes them, such as a path"


def _travels(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True


def _work_there(parcel: bytes) -> bytes:
    """In the worker: the result or the error of the work, and the traceback."""
    try:
        function, args = pickle.loads(parcel)
        result = _work_outside(contextvars.Context(), function, *args)
    except BaseException as error:
        return _packed_error(error)
    try:
        return pickle.dumps((result, None, ""))
    except Exception as error:
        return _packed_error(TypeError(f"its result {result!r:.100} cannot be pickled: {error}"))


def _packed_error(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        parcel = pickle.dumps((None, error, text))
        pickle.loads(parcel)
    except Exception:  # an error may be pickled and yet not be read again, as one whose __init__ needs a keyword
        summary = "".join(traceback.format_exception_only(error)).strip()
        return pickle.dumps((None, RemoteError(summary), text))
    return parcel


def _unpacked(title: Callable[[], str], parcel: bytes) -> Any:
    try:
        result, error, text = pickle.loads(parcel)
    except Exception as error:
        raise TypeError(f"{title()} returned a value that cannot be unpickled here: {error!r}") from error
    if error is not None:
        raise error from _Traceback(text)
    return result
