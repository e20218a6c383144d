"""A graph of nodes over a shared store: the whole framework, in this one file.

A node works in three phases; a flow follows the action that each node's `post` returns:

    prep(shared) -> prep_res                      read from the store what is needed
    exec(prep_res) -> exec_res                    do the work, without the store; retried
    post(shared, prep_res, exec_res) -> action    write to the store, name the edge to follow

    >>> class Greet(Node):
    ...     def prep(self, shared):
    ...         return shared["name"]
    ...     def exec(self, name):
    ...         return f"Hello, {name}!"
    ...     def post(self, shared, name, greeting):
    ...         shared["greeting"] = greeting
    >>> shared = {"name": "Ada"}
    >>> Flow(start=Greet()).run(shared)
    >>> shared["greeting"]
    'Hello, Ada!'

`a >> b` follows the action "default", which None and "" mean too; `a - "x" >> b` follows
"x"; `a >> [b, c] >> d` runs b and c at once, then d. The classes, in reading order:

    BaseNode                                        wiring and the three phases
      Node                                          + retries and a fallback
        BatchNode                                   exec once for every item of prep
        AsyncNode                                   the phases as coroutines; streams
          AsyncBatchNode, AsyncParallelBatchNode    (each a BatchNode too)
      Flow                                          follows actions from its start
        BatchFlow                                   the graph once for every entry of prep
        AsyncFlow                                   (an AsyncNode too) for async nodes
          AsyncBatchFlow, AsyncParallelBatchFlow    (each a BatchFlow too)
          AsyncParallelFlow                         branches that run at once

Kept on purpose, and surprising to some: a visit works on a shallow copy of its node, so what
must last belongs in `shared`; a flow's params replace those of its nodes; the last action
inside a nested flow picks the edge out of it; nothing limits the number of steps. And in
`a >> [b >> c, d]` Python hands over the value of `b >> c`, which is c: that branch starts at c.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import reprlib
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar
from itertools import count
from types import CoroutineType
from typing import Any, NamedTuple, TypeVar, overload

__version__ = "0.1.0"
__all__ = [
    "AsyncBatchFlow", "AsyncBatchNode", "AsyncFlow", "AsyncNode", "AsyncParallelBatchFlow", "AsyncParallelBatchNode",
    "AsyncParallelFlow", "BaseNode", "BatchFlow", "BatchNode", "Flow", "FlowWarning", "Hook", "Node", "Skip", "Step",
    "emit", "hooked",
]  # fmt: skip

N = TypeVar("N")
Wait = float | Callable[[int, Exception], float | None]
_OF_THE_CLASS: Any = object()  # a keyword that is not given: what the class says holds


class FlowWarning(UserWarning):
    """The category of every warning given here: make it an error, and flows are strict."""


class BaseNode:
    """Wiring and the three phases. Subclass `Node`, which adds retries."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.successors: dict[str, Any] = {}

    def set_params(self, params: dict[str, Any]) -> None:
        """Called at every visit with the params of the flow, which replace the node's own."""
        self.params = params

    @overload
    def next(self, node: list[Any], action: str = "default") -> AsyncParallelFlow: ...
    @overload
    def next(self, node: N, action: str = "default") -> N: ...
    def next(self, node: Any, action: str = "default") -> Any:
        """Follow `action` to `node`, and return `node`; a list becomes an `AsyncParallelFlow`."""
        _as_node(self)
        node, action = _as_node(node, f"{_name(self)} >> "), action or "default"
        if action in self.successors:
            _warn(f"Overwriting successor for action '{action}'")
        self.successors[action] = node
        _rewired()
        return node

    __rshift__ = next

    def __sub__(self, action: str) -> _Edge:
        if not isinstance(action, str):
            raise TypeError(f'Action must be a string, not {action!r}: write {_name(self)} - "action" >> node')
        return _Edge(self, action)

    def prep(self, shared: Any) -> Any:
        """Read from `shared` what `exec` needs."""

    def exec(self, prep_res: Any) -> Any:
        """Do the work, without `shared`."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Write to `shared`, and return the action."""

    def _exec(self, prep_res: Any) -> Any:
        return self.exec(prep_res)

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not _hooks() else _do("prep", self, self.prep, shared)
        exec_res = self._exec(prep_res)
        return self.post(shared, prep_res, exec_res)

    def run(self, shared: Any) -> Any:
        """Run this node or flow alone, without its successors, and return its action."""
        with _Outermost(self, "Use Flow."):
            return self._run(shared) if not _hooks() else _do("~", self, self._run, shared)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__basicsize__ > BaseNode.__basicsize__ and cls.__copy__ is BaseNode.__copy__:
            cls.__copy__ = None  # type: ignore[assignment]  # with slots or a built-in base: `copy.copy` knows how

    def __copy__(self: N) -> N:
        """The copy that a visit works on: what `copy.copy` does with a plain object, several times faster."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        usual = {"max_retries": 1, "wait": 0, "max_concurrency": None, "start_node": None, "branches": (), "name": ""}
        shown = (f"{key}={value!r}" for key, value in vars(self).items() if value != usual.get(key, value))
        return f"{type(self).__name__}({', '.join(shown)})"


class _Edge(NamedTuple):
    """`node - "action"`, on its way to `>> target`."""

    source: BaseNode
    action: str

    def __rshift__(self, node: Any) -> Any:
        return self.source.next(node, self.action)


class Node(BaseNode):
    """A node whose `exec` is tried again when it fails.

    max_retries: how often `exec` is called at most, the first try included; at least 1.
    wait: seconds between two tries, or a callable `(attempt, error) -> seconds`, with attempt
        counting from 0; an answer of None means: give up now.
    """

    def __init__(self, max_retries: int = 1, wait: Wait = 0) -> None:
        super().__init__()
        self.max_retries, self.wait = max_retries, wait
        _check_settings(self)

    @property
    def cur_retry(self) -> int:
        """The attempt that runs, from 0: every item of a batch, task and thread has its own."""
        node, _, attempt = _now.get()
        return attempt if node is self else 0

    @cur_retry.setter
    def cur_retry(self, attempt: int) -> None:
        _now.set((self, _index(self), attempt))

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        """Called after the last attempt has failed; its result stands for that of `exec`."""
        raise exc

    def _exec(self, prep_res: Any) -> Any:
        return self._retry(prep_res) if not _hooks() else _do("exec", self, self._retry, prep_res)

    def _retry(self, prep_res: Any) -> Any:
        if self.max_retries < 1:
            _check_settings(self)
        if _now.get()[2]:  # left by an item or node before this one
            self.cur_retry = 0
        attempt, earlier = 0, None
        while True:
            try:
                return self.exec(prep_res)
            except Exception as error:
                wait = _wait_before_next(self, attempt, error, earlier)
                if wait is None:
                    return self.exec_fallback(prep_res, error)
                if wait:
                    time.sleep(wait)
                self.cur_retry = attempt = attempt + 1
                earlier = error


class BatchNode(Node):
    """Calls `exec` once for every item of what `prep` returned; `post` gets the list of results.

    `prep` may return None, for no items, or anything that can be iterated; items are pulled as
    they are needed. An iterator reaches `post` as the list of the items that were run, all else
    as it was. Every item has its own attempts and fallback; the first to fail for good ends it.
    """

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not _hooks() else _do("prep", self, self.prep, shared)
        items, prep_res = _recorded(prep_res)
        exec_res = self._exec(items)
        return self.post(shared, prep_res, exec_res)

    def _exec(self, items: Any) -> Any:
        results: list[Any] = []
        for index, item in enumerate(_iterate(self, items)):
            _now.set((self, index, 0))
            results.append(super()._exec(item))
            del index  # none is at hand while the next is pulled, should an error ask
        return results


class Flow(BaseNode):
    """Runs the graph that begins at `start_node`, and is itself a node of other flows."""

    _checked: tuple[Any, tuple[Any, ...]] = (None, ())  # what was checked: the wiring then, and the starts

    def __init__(self, start: Any = None) -> None:
        super().__init__()
        self.start_node: Any = start if start is None else _as_node(start, "start=")

    def start(self, start: N) -> N:
        """Begin at `start`, and return it: `flow.start(a).next(b)`."""
        self.start_node = _as_node(start, "start=")
        _rewired()
        return self.start_node  # type: ignore[no-any-return]  # what _as_node makes of an N is an N

    def get_next_node(self, curr: Any, action: Any) -> Any:
        """The successor of `curr` for `action`; None where the flow ends."""
        successors = curr.successors
        if not successors:
            return None
        if action is not None and not isinstance(action, str):
            raise TypeError(f"{_name(curr)}.post returned {action!r}: return one of {list(successors)}, or None")
        node = successors.get(action or "default")
        if node is None:
            _warn(f"Flow ends: '{action}' not found in {list(successors)}")
        return node

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Return the action of the flow; `exec_res` is the last action inside of it."""
        return exec_res

    def _orch(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        params = params or {**self.params}
        node, action = copy.copy(self.start_node), None
        while node is not None:
            node.set_params(params)
            run = node._run
            action = run(shared) if not _hooks() else _do("visit", node, run, shared)
            node = copy.copy(self.get_next_node(node, action))
        return action

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not _hooks() else _do("prep", self, self.prep, shared)
        _check_graph(self)
        action = self._orch(shared)
        return self.post(shared, prep_res, action)


class BatchFlow(Flow):
    """Runs its graph once for every entry of what `prep` returned, a dict merged over the params.

    `prep` may return what that of a `BatchNode` may; `post` gets None in place of an action.
    """

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not _hooks() else _do("prep", self, self.prep, shared)
        entries, prep_res = _recorded([] if prep_res is None else prep_res)
        _check_graph(self)
        for index, entry in enumerate(_iterate(self, entries)):
            _now.set((self, index, 0))
            params = _merged(self, entry)
            self._orch(shared, params) if not _hooks() else _do("entry", self, self._orch, shared, params)
            del index  # none is at hand while the next is pulled, should an error ask
        return self.post(shared, prep_res, None)


class AsyncNode(Node):
    """A `Node` whose phases are coroutines, in an `AsyncFlow`.

    `exec_async` may be an async generator. What it yields is emitted as it comes, a value that
    is no event as {"type": "chunk", "chunk": value}. Its result is its last event of the type
    `stream_end_type`, without "type"; where there is none, the list of all it yielded.
    """

    stream_end_type = "done"

    async def prep_async(self, shared: Any) -> Any:
        """Read from `shared` what `exec_async` needs."""

    def exec_async(self, prep_res: Any) -> Any:
        """Do the work, without `shared`: an `async def`, with `return` or with `yield`."""
        return _nothing()

    async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
        """Called after the last attempt has failed; its result stands for that of `exec_async`."""
        raise exc

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Write to `shared`, and return the action."""

    def _exec(self, prep_res: Any) -> Any:
        return self._retry(prep_res) if not _hooks() else _do_async("exec", self, self._retry, prep_res)

    async def _retry(self, prep_res: Any) -> Any:
        if self.max_retries < 1:
            _check_settings(self)
        if _now.get()[2]:  # left by an item or node before this one
            self.cur_retry = 0
        attempt, earlier = 0, None
        while True:
            try:
                result = self.exec_async(prep_res)
                return await (result if type(result) is CoroutineType else _outcome(self, result))
            except Exception as error:
                wait = _wait_before_next(self, attempt, error, earlier)
                if wait is None:
                    return await self.exec_fallback_async(prep_res, error)
                if wait:
                    await asyncio.sleep(wait)
                self.cur_retry = attempt = attempt + 1
                earlier = error

    async def _run_async(self, shared: Any) -> Any:
        prep_res = await (self.prep_async(shared) if not _hooks() else _do_async("prep", self, self.prep_async, shared))
        exec_res = await self._exec(prep_res)
        return await self.post_async(shared, prep_res, exec_res)

    async def run_async(self, shared: Any) -> Any:
        """Run this node or flow alone, without its successors, and return its action."""
        with _Outermost(self, "Use AsyncFlow."):
            return await (self._run_async(shared) if not _hooks() else _do_async("~", self, self._run_async, shared))

    def _run(self, shared: Any) -> Any:
        raise RuntimeError(f"{_name(self)} is async. Use run_async.")

    async def stream(self, shared: Any, *, buffer: int = 64) -> AsyncGenerator[dict[str, Any], None]:
        """Run, and give every event as it happens: a dict with "type", "node", "path" and, in a batch, "item".

        Beside the events emitted inside there are node_start, node_end (with "action" and
        "seconds"), retry, and error, once, from the node that failed. An async generator is held
        back while `buffer` events wait to be taken. An error of the run is raised after the
        events before it. Closing the stream cancels the run and waits for it, so write:

            async with contextlib.aclosing(flow.stream(shared)) as events:
                async for event in events: ...
        """
        stream = _Stream(buffer)
        with hooked(stream):
            run = asyncio.create_task(self.run_async(shared))
        run.add_done_callback(lambda _: stream.news.set())
        try:
            while not (run.done() and not stream.events):
                await stream.news.wait()
                stream.news.clear()
                while stream.events:
                    yield stream.take()
            run.result()
        finally:
            await _cancel([run])


async def _nothing() -> None:
    """What `exec_async` does by default; apart, as a plain def may be overridden with `yield` as well."""


class AsyncFlow(Flow, AsyncNode):
    """A `Flow` of async and sync nodes, with `prep_async` and `post_async`."""

    _run = AsyncNode._run  # which refuses; that of Flow would come first

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Return the action of the flow; `exec_res` is the last action inside of it."""
        return exec_res

    async def _orch_async(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        params = params or {**self.params}
        node, action = copy.copy(self.start_node), None
        while node is not None:
            node.set_params(params)
            if isinstance(node, AsyncNode):
                run = node._run_async
                action = await (run(shared) if not _hooks() else _do_async("visit", node, run, shared))
            else:
                run = node._run
                action = run(shared) if not _hooks() else _do("visit", node, run, shared)
            node = copy.copy(self.get_next_node(node, action))
        return action

    async def _run_async(self, shared: Any) -> Any:
        prep_res = await (self.prep_async(shared) if not _hooks() else _do_async("prep", self, self.prep_async, shared))
        _check_graph(self)
        action = await self._orch_async(shared)
        return await self.post_async(shared, prep_res, action)


class _AsyncBatchNode(AsyncNode, BatchNode):
    """Both the serial and the parallel class, neither of which may be a subclass of the other."""

    max_concurrency: int | None = 1

    async def _run_async(self, shared: Any) -> Any:
        prep_res = await (self.prep_async(shared) if not _hooks() else _do_async("prep", self, self.prep_async, shared))
        items, prep_res = _recorded(prep_res)
        exec_res = await self._exec(items)
        return await self.post_async(shared, prep_res, exec_res)

    async def _exec(self, items: Any) -> Any:
        return await _gather(self, items, super()._exec)


class _AsyncBatchFlow(AsyncFlow, BatchFlow):
    """Both the serial and the parallel class, neither of which may be a subclass of the other."""

    max_concurrency: int | None = 1

    async def _run_async(self, shared: Any) -> Any:
        prep_res = await (self.prep_async(shared) if not _hooks() else _do_async("prep", self, self.prep_async, shared))
        entries, prep_res = _recorded([] if prep_res is None else prep_res)
        _check_graph(self)
        await _gather(self, entries, lambda entry: self._run_entry(shared, _merged(self, entry)))
        return await self.post_async(shared, prep_res, None)

    def _run_entry(self, shared: Any, params: dict[str, Any]) -> Awaitable[Any]:
        orch = self._orch_async
        return orch(shared, params) if not _hooks() else _do_async("entry", self, orch, shared, params)


class _Parallel:
    """`max_concurrency`: how many run at once at most, started in order; None means all.

    A class attribute, or a keyword, which wins. With a limit, workers pull the next item when they
    are free, so a million items need no million tasks. When one fails for good, the others are
    cancelled and awaited before its error is raised: nothing touches `shared` afterwards.
    """

    max_concurrency: int | None = None

    def __init__(self, *args: Any, max_concurrency: int | None = _OF_THE_CLASS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if max_concurrency is not _OF_THE_CLASS:
            self.max_concurrency = max_concurrency
        _check_settings(self)


class AsyncBatchNode(_AsyncBatchNode):
    """A `BatchNode` of coroutines, one item after the other; `prep_async` may return an async iterable."""


class AsyncParallelBatchNode(_Parallel, _AsyncBatchNode):
    __doc__ = f"An `AsyncBatchNode` that runs its items at once, the results in their order.\n\n{_Parallel.__doc__}"


class AsyncBatchFlow(_AsyncBatchFlow):
    """A `BatchFlow` of async and sync nodes, one entry after the other."""


class AsyncParallelBatchFlow(_Parallel, _AsyncBatchFlow):
    __doc__ = f"An `AsyncBatchFlow` that runs its entries at once.\n\n{_Parallel.__doc__}"


class AsyncParallelFlow(_Parallel, AsyncFlow):
    """Runs branches at once, each from its node on: what `[b, c]` becomes in `a >> [b, c] >> d`.

    `post_async` gets the list of the branches' last actions, in order, and returns None.
    """

    def __init__(self, *branches: Any, max_concurrency: int | None = _OF_THE_CLASS) -> None:
        self.branches = tuple(_as_node(branch, "branch ") for branch in branches)
        super().__init__(max_concurrency=max_concurrency)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        """Go on along "default"."""

    async def _run_async(self, shared: Any) -> Any:
        prep_res = await (self.prep_async(shared) if not _hooks() else _do_async("prep", self, self.prep_async, shared))
        _check_graph(self)
        actions = await _gather(self, self.branches, lambda start: self._run_branch(shared, start))
        return await self.post_async(shared, prep_res, actions)

    def _run_branch(self, shared: Any, start: Any) -> Any:
        branch = copy.copy(self)
        branch.start_node = start
        orch = branch._orch_async
        return orch(shared) if not _hooks() else _do_async("entry", self, orch, shared)


async def _gather(node: Any, items: Any, work: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """The results of `work(item)` in the order of the items, `node.max_concurrency` at once."""
    _check_settings(node)
    pull, limit = _puller(node, items), node.max_concurrency
    results: dict[int, Any] = {}
    tasks: list[asyncio.Task[None]] = []
    failures: list[BaseException] = []

    async def worker(pulled: tuple[int, Any] | None) -> None:
        try:
            while pulled:
                index, item = pulled
                _now.set((node, index, 0))
                results[index] = await work(item)
                del index  # none is at hand while the next is pulled, should an error ask
                pulled = await pull()
        except BaseException as error:
            failures.append(error)
            for feeder in tasks[:1]:  # which may be waiting for an item
                feeder.cancel()
            raise

    async def feed() -> None:
        while len(tasks) - 1 != limit and (pulled := await pull()):
            tasks.append(asyncio.create_task(worker(pulled)))

    try:
        if limit == 1:
            await worker(await pull())
        else:
            tasks.append(asyncio.create_task(feed()))
            await tasks[0]
            await asyncio.gather(*tasks)
    except BaseException as error:
        failures.append(error)
    await _cancel(tasks)
    if hasattr(items, "aclose"):
        await items.aclose()
    if failures:
        raise failures[0]  # not inside `except`, where it would lose the context it has
    return [results[index] for index in range(len(results))]


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel what is not done and wait until all is, even while we are being cancelled."""
    cancelled = None
    for task in tasks:
        if not task.cancelling():  # a second time would interrupt its cleaning up
            task.cancel()
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report it as lost
    if cancelled:
        raise cancelled


# Decisions that the sync and the async half share


class _Outermost:
    """Around a run that user code starts."""

    def __init__(self, node: Any, advice: str) -> None:
        _check_node(node)
        if node.successors:
            _warn(f"Node won't run successors. {advice}")

    def __enter__(self) -> None:
        self.now = _now.get()

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        _now.set(self.now)
        if isinstance(error, Exception):
            _add_notes(error)


def _index(node: Any) -> int | None:
    """The index of the item or entry of `node` at hand; None where it has none."""
    now = _now.get()
    return now[1] if now[0] is node else None


def _wait_before_next(node: Node, attempt: int, error: Exception, earlier: Exception | None) -> float | None:
    """Seconds to wait before the next attempt; None means: give up."""
    if any(str(note).startswith(_HOOK) for note in getattr(error, "__notes__", ())):
        raise error
    _link(error, earlier)
    if attempt + 1 >= node.max_retries:
        return None
    wait = node.wait(attempt, error) if callable(node.wait) else node.wait
    if wait is not None and not (isinstance(wait, (int, float)) and wait >= 0):  # NaN is not >= 0
        raise ValueError(f"{_name(node)}: wait gave {wait!r}; return seconds of at least 0, or None to give up")
    step = _step.get()
    if wait is not None and step is not None:
        for hook in _hooks():
            _call(hook.on_retry, step, error, attempt, wait)
        step.attempt = attempt + 1
    return wait


def _link(error: BaseException, earlier: BaseException | None) -> None:
    """Put the error of the attempt before at the end of the context chain of `error`."""
    chain = [error]
    while chain[-1].__context__ is not None and chain[-1] is not earlier and chain[-1].__context__ not in chain:
        chain.append(chain[-1].__context__)
    if chain[-1] is not earlier and chain[-1].__context__ is None:
        with contextlib.suppress(AttributeError):  # an exception may be frozen
            chain[-1].__context__ = earlier


def _iterate(node: Any, items: Any) -> Iterator[Any]:
    try:
        return iter(items if hasattr(items, "__iter__") else items or ())
    except TypeError as error:
        raise TypeError(f"{_name(node)}: prep returned {items!r}; return an iterable of items, or None") from error


def _puller(node: Any, items: Any) -> Callable[[], Awaitable[tuple[int, Any] | None]]:
    """A function that gives the next item with its index, None after the last; many may await it at once."""
    numbers = count()
    if not isinstance(items, AsyncIterable):
        source = enumerate(_iterate(node, items))

        async def pull() -> tuple[int, Any] | None:
            return next(source, None)
    else:
        stream, lock = aiter(items), asyncio.Lock()

        async def pull() -> tuple[int, Any] | None:
            async with lock:
                async for item in stream:
                    return next(numbers), item
            return None

    return pull


def _recorded(prep_res: Any) -> tuple[Any, Any]:
    """The items for `_exec`, and what `post` gets: a list in place of what can be read only once."""
    seen: list[Any] = []

    def keep(item: Any) -> Any:
        seen.append(item)
        return item

    if isinstance(prep_res, AsyncIterable):
        return _kept_async(prep_res, keep), seen
    if isinstance(prep_res, Iterator):
        return map(keep, prep_res), seen
    return prep_res, prep_res


async def _kept_async(items: Any, keep: Callable[[Any], Any]) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield keep(item)
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


def _merged(flow: Flow, entry: Any) -> dict[str, Any]:
    try:
        return {**flow.params, **entry}
    except TypeError:
        raise TypeError(f"{_name(flow)}: prep returned the entry {entry!r}; write a dict of params") from None


# Errors and warnings


def _name(node: Any) -> str:
    name = getattr(node, "name", None)
    return name if isinstance(name, str) and name else type(node).__name__


def _as_node(target: Any, before: str = "") -> Any:
    """What may stand in a graph: a node, a list of branches, or anything else that has `_run`."""
    if isinstance(target, list):
        return AsyncParallelFlow(*target)
    if isinstance(target, _Edge):
        name = _name(target.source)
        raise TypeError(f'an edge is no node: write {before}{name} and {name} - "{target.action}" >> ... on two lines')
    if isinstance(target, type):
        raise TypeError(f"a class is no node: write {before}{target.__name__}()")
    if not hasattr(target, "_run"):
        raise TypeError(f'{target!r} is no node; to name an action, write node - "action" >> other')
    if not hasattr(target, "successors"):
        raise TypeError(f"{_name(target)} is not set up: begin its __init__ with super().__init__()")
    return target


def _warn(message: str) -> None:
    """Warn at the first frame outside of this package, and of the event loop that runs it."""
    level, frame = 1, sys._getframe()
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith((f"{__name__}.", "asyncio.")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, FlowWarning, stacklevel=level)


def _add_notes(error: Exception) -> None:
    """Note where the error arose: the path down to the node, the attempts made, the params.

    The frames of the traceback know all of it, so nothing has to be kept for the good case.
    """
    path: list[str] = []
    attempts, params = 0, None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        function, here = frame.f_code.co_name, frame.f_locals
        if frame.f_globals is not globals():
            continue
        if function in ("run", "run_async", "_orch", "_orch_async"):
            node = here.get("node", here["self"])
            path, params, attempts = [*path, _name(node)], getattr(node, "params", {}), 0
        elif function in ("_exec", "_run", "worker") and "index" in here and path:  # of an item or entry
            path[-1] += f"[{here['index']}]"
        elif function == "_retry":
            attempts = here.get("attempt", -1) + 1
    made = f", attempts: {attempts}" if attempts else ""
    notes = [note for note in getattr(error, "__notes__", ()) if not str(note).startswith(_PLACE)]
    with contextlib.suppress(AttributeError):  # an exception may be frozen
        error.__notes__ = [*notes, f"{_PLACE}{' > '.join(path)}{made}, params: {params}"]


def _rewired() -> None:
    global _wiring
    _wiring = object()


def _check_settings(node: Any) -> None:
    for setting, least in (("max_retries", 1), ("wait", 0), ("max_concurrency", 1)):
        value = getattr(node, setting, least)
        kind = (int, float) if setting == "wait" else int
        exempt = callable(value) if setting == "wait" else value is None and setting == "max_concurrency"
        if not exempt and not (isinstance(value, kind) and value >= least):  # NaN is not >= 0
            raise ValueError(f"{_name(node)}: {setting} must be at least {least}, not {value!r}")


@functools.lru_cache(1024)
def _misnamed(cls: Any) -> tuple[str, ...]:
    """The phases that a class wrote for the other kind of node: async ones, or ignored sync ones."""

    def is_async(phase: str) -> bool:
        written = getattr(cls, phase)
        return inspect.iscoroutinefunction(written) or inspect.isasyncgenfunction(written)

    def is_ours(phase: str) -> bool:
        return getattr(getattr(cls, phase), "__module__", None) == __name__

    phases = [phase for phase in ("prep", "exec", "post", "exec_fallback") if hasattr(cls, phase)]
    if not is_ours("_run_async" if issubclass(cls, AsyncNode) else "_run"):
        return ()  # who writes that, calls the phases as well
    if not issubclass(cls, AsyncNode):
        return tuple(phase for phase in phases if is_async(phase))
    return tuple(phase for phase in phases if not is_ours(phase) and is_ours(f"{phase}_async"))


def _check_node(node: Any) -> None:
    """Refuse what cannot work before anything runs."""
    _as_node(node)
    if not isinstance(node, BaseNode):
        return
    _check_settings(node)
    cls: Any = type(node)
    for phase in _misnamed(cls):
        if not isinstance(node, AsyncNode):
            raise TypeError(f"{_name(node)}.{phase} is async: derive from AsyncNode, and name it {phase}_async")
        _warn(f"{_name(node)}.{phase} is never called, as the node is async: name it {phase}_async")


def _check_graph(flow: Any) -> None:
    """Refuse a graph that cannot run, nested flows included, before any of its nodes has run.

    What was checked is checked again only after some graph has been wired: a run of a chain
    would else take twice its time.
    """
    starts = _starts(flow)
    wiring, before = flow._checked
    if wiring is _wiring and [*map(id, before)] == [*map(id, starts)]:
        return
    if not starts:
        advice = "node, ..." if isinstance(flow, AsyncParallelFlow) else "start=node"
        raise ValueError(f"{_name(flow)} has no start: write {_name(flow)}({advice})")
    flow._checked = (_wiring, starts)  # at once, as a flow may be inside of itself
    todo, seen = list(starts), set()
    try:
        while todo:
            node = todo.pop()
            if id(node) not in seen:
                seen.add(id(node))
                _check_node(node)
                _check_kind(flow, node)
                todo += node.successors.values()
    except BaseException:
        flow._checked = (None, ())
        raise


def _check_kind(flow: Any, node: Any) -> None:
    # By its method and not by its class, as an async node that writes `_run` as well may be used.
    if not isinstance(flow, AsyncNode) and getattr(node._run, "__func__", None) is AsyncNode._run:
        raise RuntimeError(f"{_name(node)} is async, {_name(flow)} is not: make it an AsyncFlow. Use run_async.")
    if isinstance(node, Flow) and (_starts(node) or not _may_set_start(node)):
        _check_graph(node)


def _may_set_start(flow: Any) -> bool:
    """Whether a flow has code of its own that may give it a start when it runs."""
    methods = ("prep", "prep_async", "_run", "_run_async", "_orch", "_orch_async")
    return any(getattr(getattr(flow, name, None), "__module__", __name__) != __name__ for name in methods)


def _starts(flow: Any) -> tuple[Any, ...]:
    starts = getattr(flow, "branches", None) or (flow.start_node,)
    return tuple(start for start in starts if start is not None)


# Steps, hooks and events


class Step:
    """One unit of work, as hooks see it.

    kind: "flow" or "node" for a visit, "prep" for its prep, "exec" for the exec of one item;
        an entry of a batch flow and a parallel branch are a "flow".
    node, name: whose work it is; its `name` attribute if it has one, else the name of its class.
    parent: the step inside of which this one runs; None for the outermost.
    index: of the item, entry or branch; None elsewhere.
    shared: the store; None in an exec step.
    input: the item or prep result of an exec step, the params of a batch entry; None elsewhere.
    attempt: of an exec step, from 0.
    skipped: whether the `Skip` of a hook stands for the work.
    path: where in the run; the same however the run is executed, or resumed:

        NAME             the outermost flow or node
        PARENT/N:NAME    the N-th visit of one orchestration, from 0
        PARENT[I]        the I-th entry of a batch flow, or branch
        PARENT/prep      the prep of a visit
        PARENT/exec      the exec of a node
        PARENT/exec[I]   the exec of the I-th item of a batch
        PARENT/~N:NAME   the N-th flow or node that user code runs inside of a step

        Each of `/ [ ] : ~ %` in a name stands there as % and its two hexadecimal digits.
    """

    def __init__(self, role: str, node: Any, args: tuple[Any, ...]) -> None:
        """role: "prep", "exec", "entry", "visit", or "~" for a run by user code; args: those of its work."""
        self.node, self.name, self.parent = node, _name(node), _step.get()
        self.kind = role if role in ("prep", "exec") else "flow" if isinstance(node, Flow) else "node"
        self.index = _index(node) if role in ("exec", "entry") else None
        self.shared: Any = None if role == "exec" else args[0]
        self.input: Any = args[0] if role == "exec" else args[1] if role == "entry" and args[1:] else None
        self.attempt, self.skipped = 0, False
        self.path: str = self._path(role)
        self._visits = self._runs = 0  # how many steps of either kind have begun inside of this one
        self._told: list[Hook] = []
        self._result: Any = None

    def _path(self, role: str) -> str:
        outer = self.parent
        if outer is None:
            return self.name.translate(_ESCAPES)
        if role == "visit":
            outer._visits += 1
            return f"{outer.path}/{outer._visits - 1}:{self.name.translate(_ESCAPES)}"
        if role == "~":
            outer._runs += 1
            return f"{outer.path}/~{outer._runs - 1}:{self.name.translate(_ESCAPES)}"
        item = "" if self.index is None else f"[{self.index}]"
        return f"{outer.path}{item}" if role == "entry" else f"{outer.path}/{role}{item}"

    def __repr__(self) -> str:
        return f"Step({self.path!r}, kind={self.kind!r})"

    def __enter__(self) -> Step:
        try:
            for hook in _hooks():
                answer = _call(hook.on_start, self)
                self._told.append(hook)
                if isinstance(answer, Skip) and not self.skipped:
                    self.skipped, self._result = True, answer.result
        except BaseException as error:
            self.__exit__(None, error, None)
            raise
        _step.set(self)
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        """Tell the end to every hook that was told the start, also where one of them fails."""
        _step.set(self.parent)
        failure = error
        for hook in reversed(self._told):
            try:
                _call(hook.on_end, self, self._result) if failure is None else _call(hook.on_error, self, failure)
            except BaseException as raised:
                failure = raised
        if failure is not error and failure is not None:
            raise failure


def _do(role: str, node: Any, work: Callable[..., Any], *args: Any) -> Any:
    """`work(*args)` as a step."""
    with Step(role, node, args) as step:
        if not step.skipped:
            step._result = work(*args)
    return step._result


async def _do_async(role: str, node: Any, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """`await work(*args)` as a step."""
    with Step(role, node, args) as step:
        if not step.skipped:
            step._result = await work(*args)
    return step._result


class Skip:
    """Returned by `Hook.on_start`: do not do the work; `result` is what it would have returned."""

    def __init__(self, result: Any = None) -> None:
        self.result = result


class Hook:
    """Sees every step of what runs inside of `with hooked(hook):`. Override what you need.

    Whoever got an `on_start` gets one `on_end` or `on_error`. A hook is called in the thread
    that does the work. Its own exception fails the run, is never retried, and names the hook.
    """

    def on_start(self, step: Step) -> Skip | None:
        """`step` begins. Return `Skip(result)` to have it not done; the first Skip wins."""

    def on_event(self, step: Step, event: dict[str, Any]) -> Awaitable[None] | None:
        """`event` was emitted inside of `step`: that very dict, so a hook may answer by writing into it.

        What an async generator yields waits for the awaitable returned here. `emit` does not:
        return an object that may be left alone, such as a future.
        """

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        """Attempt number `attempt`, from 0, failed; the next begins in `wait` seconds."""

    def on_end(self, step: Step, result: Any) -> None:
        """`step` is done; `result` is the action of a visit, and what prep or exec returned."""

    def on_error(self, step: Step, error: BaseException) -> None:
        """`step` failed for good, or was cancelled (`asyncio.CancelledError`)."""


_wiring = object()  # another one each time that a graph is wired
_PLACE = "at "
_HOOK = "raised by the hook "
_ESCAPES = {ord(char): f"%{ord(char):02X}" for char in "/[]:~%"}
_HOOKS: ContextVar[tuple[Hook, ...]] = ContextVar("hooks", default=())
_hooks = _HOOKS.get
_step: ContextVar[Step | None] = ContextVar("step", default=None)
_now: ContextVar[tuple[Any, int | None, int]] = ContextVar("now", default=(None, None, 0))
"""What is being worked on: the node, the index of its item or entry if it has one, and the attempt."""


class hooked:
    """Install hooks for all that runs inside of `with hooked(hook, ...):`, its tasks and threads included.

    A thread sees them if it runs in a copy of the context, as `asyncio.to_thread` does. Blocks
    nest: inner hooks hear of starts after the outer ones, and of ends and errors before them.
    """

    def __init__(self, *hooks: Hook) -> None:
        for hook in hooks:
            if not isinstance(hook, Hook):
                raise TypeError(f"hooked({hook!r}): not an instance of Hook")
        self.hooks, self.outer = hooks, list[tuple[Hook, ...]]()

    def __enter__(self) -> None:
        self.outer.append(_hooks())
        _HOOKS.set(_hooks() + self.hooks)

    def __exit__(self, *_: Any) -> None:
        _HOOKS.set(self.outer.pop())


def emit(event: dict[str, Any]) -> None:
    """Send an event, a dict with a "type", from inside a node to the hooks; without a hook, do nothing."""
    if not isinstance(event, dict) or "type" not in event:
        raise TypeError(f'emit({event!r}): write a dict with a "type"')
    step = _step.get()
    if step is not None:
        for hook in _hooks():
            _call(hook.on_event, step, event)


async def _outcome(node: AsyncNode, stream: Any) -> Any:
    """The result of an `exec_async`; what an async generator yields is emitted, held back by the hooks that want it."""
    if hasattr(stream, "__await__"):
        return await stream
    if not hasattr(stream, "__aiter__"):
        raise TypeError(f"{_name(node)}.exec_async returned {stream!r}: write it as `async def`")
    step, hooks = _step.get(), _hooks()
    end, values = None, []
    closing: Any = contextlib.aclosing(stream) if hasattr(stream, "aclose") else contextlib.nullcontext()
    async with closing:
        async for value in stream:
            values.append(value)
            event = value if isinstance(value, dict) and "type" in value else {"type": "chunk", "chunk": value}
            if event["type"] == node.stream_end_type:
                end = event
            for hook in hooks:
                held = _call(hook.on_event, step, event)
                if held is not None:
                    try:
                        await held
                    except Exception as error:
                        _blame(error, hook.on_event)
                        raise
    return values if end is None else {key: value for key, value in end.items() if key != "type"}


def _call(method: Callable[..., Any], *args: Any) -> Any:
    try:
        return method(*args)
    except Exception as error:
        _blame(error, method)
        raise


def _blame(error: Exception, method: Callable[..., Any]) -> None:
    """Note whose exception it is, which also keeps it from being retried."""
    with contextlib.suppress(AttributeError):  # an exception may be frozen
        error.add_note(f"{_HOOK}{method.__qualname__}")


class _Stream(Hook):
    """Turns steps and emitted events into the events of `AsyncNode.stream`."""

    def __init__(self, buffer: int) -> None:
        if buffer < 1:
            raise ValueError(f"buffer must be at least 1, not {buffer!r}")
        self.buffer, self.events = buffer, deque[dict[str, Any]]()
        self.news, self.room = asyncio.Event(), asyncio.Event()
        self.loop, self.thread = asyncio.get_running_loop(), threading.get_ident()
        self.starts: dict[Step, float] = {}
        self.outermost: Step | None = None
        self.places: dict[int, tuple[Step, BaseException]] = {}  # where each error was first seen

    def __await__(self) -> Generator[Any, None, None]:
        while len(self.events) >= self.buffer:
            self.room.clear()
            yield from self.room.wait().__await__()

    def take(self) -> dict[str, Any]:
        self.room.set()
        return self.events.popleft()

    def on_event(self, step: Step, event: dict[str, Any]) -> _Stream | None:
        visit = step.parent if step.kind in ("prep", "exec") and step.parent else step
        event = {**event, "node": visit.name, "path": visit.path}
        if step.kind == "exec" and step.index is not None:
            event["item"] = step.index
        if threading.get_ident() == self.thread:
            self.put(event)
            return self if len(self.events) >= self.buffer else None
        self.loop.call_soon_threadsafe(self.put, event)
        return None

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.news.set()

    def on_start(self, step: Step) -> None:
        self.outermost = self.outermost or step
        if step.kind == "node":
            self.starts[step] = time.perf_counter()
            self.on_event(step, {"type": "node_start"})

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        self.on_event(step, {"type": "retry", "attempt": attempt, "wait": wait, "error": repr(error)})

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "node":
            seconds = time.perf_counter() - self.starts.pop(step)
            self.on_event(step, {"type": "node_end", "action": result, "seconds": seconds})

    def on_error(self, step: Step, error: BaseException) -> None:
        self.starts.pop(step, None)
        place, _ = self.places.setdefault(id(error), (step, error))
        if step is self.outermost and isinstance(error, Exception):
            self.on_event(place, {"type": "error", "error": repr(error)})
