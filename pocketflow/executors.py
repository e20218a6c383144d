"""`exec` elsewhere: on threads, on all cores, or on a cluster, while the event loop stays free.

A node is written like a `Node`, with sync phases, and runs in an `AsyncFlow`. `prep` and `post`
run on the loop, so `shared` needs no lock; only `exec` is sent away. Retries, `wait` and
`exec_fallback` stay here, with the caller.

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

With `executor=ProcessPoolExecutor` the same node uses all cores, with the executor of a Dask
client (`client.get_executor()`) a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import pickle
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from pocketflow import AsyncNode, AsyncParallelBatchNode

__all__ = ["ExecutorBatchNode", "ExecutorNode", "MakesExecutor", "WorkerDied", "opened", "run_on"]

MakesExecutor = Executor | Callable[[], Executor] | None

STAYS_HERE = ("successors", "executor", "max_retries", "wait", "max_concurrency")


class WorkerDied(RuntimeError):
    """The process that ran an `exec` is gone; counts as a failed attempt."""


class _Pool:
    """The executor of one visit: the user's own, or one made for the visit and closed after it."""

    def __init__(self, executor: MakesExecutor) -> None:
        if executor is not None and not isinstance(executor, Executor) and not callable(executor):
            raise TypeError(f"executor={executor!r}: write an Executor, or a callable that makes one")
        self.make = None if isinstance(executor, Executor) else executor or ThreadPoolExecutor
        self.executor: Executor = self.make() if self.make else executor  # type: ignore[assignment]  # one of both

    def replace(self, broken: Executor) -> None:
        """Make another one in place of the broken one, unless somebody already has, or it is the user's."""
        if self.make is not None and self.executor is broken:
            self.executor = self.make()

    async def close(self) -> None:
        if self.make is not None:
            await _undisturbed(asyncio.ensure_future(asyncio.to_thread(self.executor.shutdown, cancel_futures=True)))


_pool: contextvars.ContextVar[_Pool] = contextvars.ContextVar("pool")


class _OnExecutor(AsyncNode):
    """What `ExecutorNode` and `ExecutorBatchNode` share."""

    executor: MakesExecutor = None

    def __init__(self, *args: Any, executor: MakesExecutor = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if executor is not None:
            self.executor = executor

    async def _run_async(self, shared: Any) -> Any:
        pool = _Pool(self.executor)
        token = _pool.set(pool)
        try:
            return await super()._run_async(shared)
        finally:
            _pool.reset(token)
            await pool.close()

    async def prep_async(self, shared: Any) -> Any:
        return self.prep(shared)

    async def exec_async(self, prep_res: Any) -> Any:
        pool = _pool.get()
        executor = pool.executor
        try:
            return await _result(self._submit(executor, prep_res))
        except Exception as error:
            if not _is_death(error):
                raise
            pool.replace(executor)
            raise WorkerDied(f"{type(self).__name__}: a worker died while it ran exec({prep_res!r:.100})") from error

    async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
        return self.exec_fallback(prep_res, exc)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return self.post(shared, prep_res, exec_res)

    def _submit(self, executor: Executor, prep_res: Any) -> Future[Any]:
        if isinstance(executor, ThreadPoolExecutor):
            return _submit(executor, self.exec, prep_res)
        attributes = {name: value for name, value in vars(self).items() if name not in STAYS_HERE}
        if isinstance(executor, ProcessPoolExecutor):  # other executors may know more than pickle does
            _check_travels(self, attributes)
        return _submit(executor, _exec_there, type(self), attributes, self.cur_retry, prep_res)


class ExecutorNode(_OnExecutor):
    """A node whose `exec` runs on `executor`, so that the event loop is free meanwhile.

    executor: a `concurrent.futures.Executor`, which stays open; or a callable that makes one for
        each visit, which is closed after it, such as `ProcessPoolExecutor`; None means threads.
        A class attribute, or a keyword, which wins.

    Write `prep`, `exec`, `exec_fallback` and `post` as in a `Node`. Threads get a copy of the
    context, so hooks, `emit` and `cur_retry` work there. To another process travel the class,
    the attributes of the node and the item, not the graph; `emit` does nothing there.

    When a run is cancelled, an `exec` that has not started never does; one that runs is waited
    for, as nobody can stop a thread.

    Raises: `WorkerDied` if the process that ran `exec` is gone. It counts as a failed attempt, and
        a process pool that the node made is made anew for the next. `TypeError` that names the
        attribute which cannot be pickled for a `ProcessPoolExecutor`.
    """


class ExecutorBatchNode(_OnExecutor, AsyncParallelBatchNode):
    """An `ExecutorNode` that runs `exec` once for every item of what `prep` returned, at once.

    The results keep the order of the items, and each item has its own attempts. `max_concurrency`
    is how many items are sent away at once; None means twice as many as there are workers.

    When a process dies, every item that was in the pool has lost an attempt, as the pool cannot
    tell which of them it was.
    """

    async def _exec(self, items: Any) -> Any:
        limit = self.max_concurrency
        if limit is None:
            self.max_concurrency = 2 * _workers(_pool.get().executor)
        try:
            return await super()._exec(items)
        finally:
            self.max_concurrency = limit


def _is_death(error: Exception) -> bool:
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"  # the latter is Dask's


def _workers(executor: Executor) -> int:
    """How many work at once, as far as an executor tells: the standard library keeps it in `_max_workers`."""
    return getattr(executor, "_max_workers", None) or os.cpu_count() or 1


def _exec_there(cls: Any, attributes: dict[str, Any], attempt: int, prep_res: Any) -> Any:
    """In the other process: a node like the one at home runs its `exec`."""
    node = cls.__new__(cls)
    vars(node).update(attributes)
    node.cur_retry = attempt
    return node.exec(prep_res)


def _check_travels(node: Any, attributes: dict[str, Any]) -> None:
    for name, value in [("class", type(node)), *attributes.items()]:
        try:
            pickle.dumps(value)
        except Exception as error:
            what = f"its class {value.__qualname__}" if name == "class" else f"its attribute {name} = {value!r:.100}"
            advice = "define it at the top of a module" if name == "class" else f"make {name} inside of exec"
            raise TypeError(
                f"{type(node).__name__} cannot be sent to another process: {what} cannot be pickled; {advice}"
            ) from error


@contextlib.asynccontextmanager
async def opened(executor: MakesExecutor) -> AsyncIterator[Executor]:
    """The executor itself, or one that is made, and closed at the end."""
    pool = _Pool(executor)
    try:
        yield pool.executor
    finally:
        await pool.close()


async def run_on(executor: Executor | None, function: Callable[..., Any], *args: Any) -> Any:
    """The result of `function(*args)` on an executor; None means a thread of the event loop's own.

    A thread gets a copy of the context. On cancellation, work that runs already is waited for.
    """
    if executor is not None:
        return await _result(_submit(executor, function, *args))
    waiting = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await _undisturbed(waiting)
        raise


def _submit(executor: Executor, function: Callable[..., Any], *args: Any) -> Future[Any]:
    if isinstance(executor, ThreadPoolExecutor):
        return executor.submit(contextvars.copy_context().run, function, *args)
    return executor.submit(function, *args)


async def _result(future: Future[Any]) -> Any:
    """The result of a future; on cancellation it is cancelled, or waited for if it runs already."""
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not future.cancel():
            await _undisturbed(waiting)
        raise


async def _undisturbed(future: asyncio.Future[Any]) -> None:
    """Wait until a future is done, whatever comes of it, even while we are being cancelled."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if not future.cancelled():
        future.exception()  # seen, so that asyncio does not report it as lost
    if cancelled:
        raise cancelled
