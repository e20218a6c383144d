"""A graph of nodes over a shared store: the whole language of flows, in this one file.

A node works in three phases; a flow follows the action that each node's `post` returns:

    prep(shared) -> prep_res                      read what is needed from the store
    exec(prep_res) -> exec_res                    do the work, without the store; may be retried
    post(shared, prep_res, exec_res) -> action    write to the store, and name the edge to follow

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

`a >> b` is the edge for the action "default", or None; `a - "x" >> b` is the edge for "x";
`a >> None` ends the flow; `a >> [b, c] >> d` runs b and c at once, then d. The classes:

    BaseNode                                        wiring and the three phases
      Node                                          + retries and a fallback
        BatchNode                                   exec once for each item of prep
        AsyncNode                                   the phases as coroutines
          AsyncBatchNode, AsyncParallelBatchNode    (each a BatchNode too)
      Flow                                          follows actions from its start
        BatchFlow                                   the graph once for each entry of prep
        AsyncFlow                                   (an AsyncNode too) for async nodes
          AsyncBatchFlow, AsyncParallelBatchFlow    (each a BatchFlow too)
          AsyncParallelFlow                         branches that run at once

What may surprise you: a visit works on a shallow copy of its node, so what must last belongs in
`shared`; a flow's params replace those of its nodes; the last action inside a nested flow picks
the edge out of it; nothing limits the number of steps; `a >> [b >> c, d]` has a branch that starts
at c, the value of `b >> c`. An error gets notes: its attempts, item, node, and each flow around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import reprlib
import sys
import time
import warnings
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextvars import ContextVar
from numbers import Real
from operator import length_hint
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, overload

__version__ = "0.2.0"
__all__ = [
    "AsyncBatchFlow", "AsyncBatchNode", "AsyncFlow", "AsyncNode", "AsyncParallelBatchFlow", "AsyncParallelBatchNode",
    "AsyncParallelFlow", "BaseNode", "BatchFlow", "BatchNode", "Flow", "FlowWarning", "Node", "name_of", "warn",
    "watcher",
]  # fmt: skip

N = TypeVar("N")
_OF_CLASS: Any = ...  # the default of `max_concurrency`: the class attribute holds (None would mean: no limit)
Wait = float | Callable[[int, Exception], float | None]


watcher: ContextVar[Any] = ContextVar("watcher", default=None)
"""What watches the current run, or None: the only seam of this file, through which `pocketflow.hooks` calls hooks.

do(role, node, work, *args, index=None), do_async: return what `work(*args)` returns. role: "run" by user code,
    "visit", "prep", "exec", "entry" of a batch flow, "branch"; index: that of the item, entry or branch.
executing: inside an "exec", its node, else None; so `_exec` knows whether `do` has begun.
tell(method, *args): returns what there is to wait for, or None; a sync node does not wait.
"""
_watching = watcher.get  # asked inline where work begins: a call there would make a step a third slower


class FlowWarning(UserWarning):
    """The category of all warnings of this package. Turn it into an error to make flows strict."""


class BaseNode:
    """Wiring and the three phases. Subclass `Node`, which adds retries."""

    begun_edges: tuple[str, ...] = ()  # the actions of each `node - "action"`, for `pocketflow.graph.check`
    is_led_to = False  # for the same: whether any edge leads here; then it is probably not the start of a flow

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.successors: dict[Any, Any] = {}

    def set_params(self, params: dict[str, Any]) -> None:
        """Called at each visit with the params of the flow, which replace the node's own."""
        self.params = params

    @overload
    def next(self, node: list[Any], action: Any = "default") -> AsyncParallelFlow: ...
    @overload
    def next(self, node: N, action: Any = "default") -> N: ...
    def next(self, node: Any, action: Any = "default") -> Any:
        """Follow `action` to `node`, and return `node`; None ends the flow, a list becomes an `AsyncParallelFlow`."""
        if isinstance(node, BaseNode):
            node.is_led_to = True
        else:
            node = _target(node)
        try:
            if (action := action or "default") in self.successors:
                warn(f"Overwriting successor for action '{action}'")
        except (AttributeError, TypeError, ValueError):  # no `successors`; an action without a hash; without a truth
            _refuse_edge(self, action)
        self.successors[action] = node
        return node

    @overload
    def __rshift__(self, node: list[Any]) -> AsyncParallelFlow: ...
    @overload
    def __rshift__(self, node: N) -> N: ...
    def __rshift__(self, node: Any) -> Any:
        return self.next(node)

    def __sub__(self, action: str) -> _Edge:
        if not isinstance(action, str):
            raise TypeError(f'Action must be a string, not {action!r}: write {name_of(self)} - "action" >> node')
        self.begun_edges += (action,)
        return _Edge(self, action)

    def prep(self, shared: Any, /) -> Any:
        """Read what `exec` needs from `shared`."""

    def exec(self, prep_res: Any, /) -> Any:
        """Do the work, without `shared`."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write to `shared`, and return the action."""

    def _exec(self, prep_res: Any, /) -> Any:
        return self.exec(prep_res)

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not (watch := _watching()) else watch.do("prep", self, self.prep, shared)
        exec_res = self._exec(prep_res)
        return self.post(shared, prep_res, exec_res)

    def run(self, shared: Any) -> Any:
        """Run this node or flow alone, without its successors, and return its action."""
        try:
            if self.successors:
                warn("Node won't run successors. Use Flow.")
            return self._run(shared) if not (watch := _watching()) else watch.do("run", self, self._run, shared)
        except Exception as error:
            _note_visit(error, self)
            raise

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise an error for an `async def` among sync phases, and keep the way of copying that a class defines."""
        super().__init_subclass__(**options)
        if not hasattr(cls, "_run_async") and cls._run.__module__ == __name__:  # an own `_run` may await its phases
            for phase in ("prep", "exec", "post", "exec_fallback"):
                written = getattr(cls, phase, None)
                if inspect.iscoroutinefunction(written) or inspect.isasyncgenfunction(written):
                    raise TypeError(f"{cls.__name__}.{phase} is async: an AsyncNode or AsyncFlow has {phase}_async")
        asked = ("__new__", "__reduce__", "__reduce_ex__", "__getstate__")  # by `copy.copy`, as is __setstate__
        says_how = hasattr(cls, "__setstate__") or any(getattr(cls, it) is not getattr(object, it) for it in asked)
        if cls.__copy__ is BaseNode.__copy__ and (says_how or cls.__basicsize__ != BaseNode.__basicsize__):  # __slots__
            cls.__copy__ = None  # type: ignore[assignment]  # so that `copy.copy` passes by the fast one below

    def __copy__(self: N) -> N:
        """The copy that a visit works on: what `copy.copy` does with a plain object, several times faster."""
        twin = object.__new__(type(self))
        twin.__dict__ = self.__dict__.copy()
        return twin


class _Edge(NamedTuple):
    """`node - "action"`, before its `>> target`."""

    source: BaseNode
    action: str

    def __rshift__(self, node: N) -> N:
        return self.source.next(node, self.action)


class Node(BaseNode):
    """A node whose `exec` is tried again when it fails.

    max_retries: how many times `exec` is called at most, the first one included; at least 1.
    wait: seconds between two attempts, or a callable `(attempt, error) -> seconds`, with attempt
        counting from 0; if it returns None, no further attempt is made.
    cur_retry: the current attempt, from 0; after `exec`, the last one, or 0 in an async node.
    """

    cur_retry: int = 0

    def __init__(self, max_retries: int = 1, wait: Wait = 0) -> None:
        super().__init__()
        self.max_retries: int = _check(self, "max_retries", max_retries, 1)
        self.wait: Wait = wait if callable(wait) else _check(self, "wait", wait, 0)

    def exec_fallback(self, prep_res: Any, exc: Exception, /) -> Any:
        """Called after the last attempt has failed; its result is used in place of that of `exec`."""
        raise exc

    def _exec(self, prep_res: Any, /) -> Any:
        if (watch := _watching()) and watch.executing is not self:  # `do` has not begun: it calls back
            return watch.do("exec", self, lambda item: Node._exec(self, item), prep_res)
        failures: list[str] = []
        while True:
            self.cur_retry = len(failures)
            try:
                return self.exec(prep_res)
            except Exception as error:
                if (wait := _wait_before_next(self, error, failures)) is None:
                    return self.exec_fallback(prep_res, error)
                if watch:
                    watch.tell("on_retry", error, len(failures) - 1, wait)
            if wait:
                time.sleep(wait)


class BatchNode(Node):
    """Calls `exec` once for each item that `prep` returned; `post` gets the list of results.

    `prep` may return any iterable, or None for no items; items are taken as they are needed. Each
    item has its own attempts and fallback. The first item that fails for good ends the batch.
    """

    def _exec(self, items: Any, /) -> Any:
        one, results, watch = super()._exec, [], _watching()  # one item with its attempts: `_exec` of Node
        for index, item in enumerate(_iterate(self, items)):
            try:
                results.append(one(item) if not watch else watch.do("exec", self, one, item, index=index))
            except Exception as error:
                _note(error, f"item {index}:", item)
                raise
        return results


# Flows


class Flow(BaseNode):
    """Runs the graph that begins at `start_node`, and is itself a node of other flows."""

    def __init__(self, start: Any = None) -> None:
        super().__init__()
        self.start_node: Any = _target(start)

    def start(self, start: N) -> N:
        """Begin at `start`, and return it: `flow.start(a).next(b)`."""
        self.start_node = _target(start)
        return self.start_node  # type: ignore[no-any-return]  # what _target makes of an N is an N

    def get_next_node(self, curr: Any, action: Any) -> Any:
        """The successor of `curr` for `action`; None where the flow ends."""
        try:
            return curr.successors[action or "default"] if curr.successors else None
        except KeyError:
            warn(f"Flow ends: '{action}' not found in {list(curr.successors)}, the actions of {name_of(curr)}")
        except (AttributeError, TypeError, ValueError):  # as in `next`
            _refuse_edge(curr, action)

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Return the action of the flow; `exec_res` is the last action inside it."""
        return exec_res

    def _orch(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        params = params or {**self.params}
        node, action = copy.copy(_start_of(self)), None
        while node is not None:
            node.set_params(params)
            try:
                action = node._run(shared) if not (watch := _watching()) else watch.do("visit", node, node._run, shared)
            except Exception as error:
                _note_visit(error, node)
                raise
            node = copy.copy(self.get_next_node(node, action))
        return action

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not (watch := _watching()) else watch.do("prep", self, self.prep, shared)
        action = self._orch(shared)
        return self.post(shared, prep_res, action)


class BatchFlow(Flow):
    """Runs its graph once for each entry that `prep` returned, a dict that is merged over the params.

    `prep` may return any iterable, or None; `post` gets None in place of an action.
    """

    def _run(self, shared: Any) -> Any:
        prep_res = self.prep(shared) if not (watch := _watching()) else watch.do("prep", self, self.prep, shared)
        entries = prep_res or []

        def work(entry: Any) -> Any:
            return self._orch(shared, _merged(self, entry))

        for index, entry in enumerate(_iterate(self, entries)):
            try:
                work(entry) if not watch else watch.do("entry", self, work, entry, index=index)
            except Exception as error:
                _note(error, f"entry {index}:", entry)
                raise
        return self.post(shared, entries, None)


# The async twins

_retrying: ContextVar[tuple[Any, int]] = ContextVar("retrying", default=(None, 0))
"""The async node whose exec is retried here, and the attempt, from 1; not set on a first attempt, to save time."""


class AsyncNode(Node):
    """A `Node` whose phases are coroutines, in an `AsyncFlow`.

    `exec_async` may be an async generator. Hooks and streams get each value as it is yielded; a dict
    with a "type" is an event. The result is the last event whose type is `stream_end_type`, without
    its "type"; if there is none, it is the list of the yielded values that are not events.

    For a timeout, or one limit on the calls of all nodes and requests, wrap the call itself:

        >>> llm_slots = asyncio.Semaphore(20)  # or an aiolimiter.AsyncLimiter, for calls a minute
        >>> class Ask(AsyncNode):
        ...     async def exec_async(self, prompt):
        ...         async with llm_slots, asyncio.timeout(30):
        ...             return await call_llm(prompt)
    """

    stream_end_type = "done"

    if not TYPE_CHECKING:  # to a checker it is the int that it is in Node

        @property
        def cur_retry(self) -> int:
            """The attempt of the current item, from 0, whatever else runs at once."""
            node, attempt = _retrying.get()
            if node is not self:  # on a first attempt; or in a thread without our context, which gets the last one
                attempt = 0 if asyncio._get_running_loop() else vars(self).get("cur_retry", 0)
            return attempt

        @cur_retry.setter
        def cur_retry(self, attempt: int) -> None:
            vars(self)["cur_retry"] = attempt  # for threads; and a user's own `self.cur_retry = 0` does no harm

    async def prep_async(self, shared: Any, /) -> Any:
        """Read what `exec_async` needs from `shared`."""

    def exec_async(self, prep_res: Any, /) -> Any:
        """Do the work, without `shared`. Write an `async def`, with `return` or with `yield`."""
        return _nothing()

    async def exec_fallback_async(self, prep_res: Any, exc: Exception, /) -> Any:
        """Called after the last attempt has failed; its result is used in place of that of `exec_async`."""
        raise exc

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write to `shared`, and return the action."""

    async def _exec(self, prep_res: Any, /) -> Any:
        if (watch := _watching()) and watch.executing is not self:  # `do_async` has not begun: it calls back
            return await watch.do_async("exec", self, lambda item: AsyncNode._exec(self, item), prep_res)
        failures: list[str] = []
        outer = None  # from the second attempt on, what `_retrying` held before the first
        try:
            while True:
                try:
                    result = self.exec_async(prep_res)  # that of an `async def` needs no second coroutine around it
                    return await (result if type(result) is CoroutineType else _outcome(self, result))
                except Exception as error:
                    if (wait := _wait_before_next(self, error, failures)) is None:
                        return await self.exec_fallback_async(prep_res, error)
                    if watch and (held := watch.tell("on_retry", error, len(failures) - 1, wait)):
                        await held
                if wait:
                    await asyncio.sleep(wait)
                outer = outer or _retrying.get()
                self.cur_retry = len(failures)
                _retrying.set((self, len(failures)))
        finally:
            if outer:
                self.cur_retry = 0
                _retrying.set(outer)

    async def _run_async(self, shared: Any) -> Any:
        prep = self.prep_async
        prep_res = await (prep(shared) if not (watch := _watching()) else watch.do_async("prep", self, prep, shared))
        exec_res = await self._exec(prep_res)
        return await self.post_async(shared, prep_res, exec_res)

    async def run_async(self, shared: Any) -> Any:
        """Run this node or flow alone, without its successors, and return its action."""
        try:
            if self.successors:
                warn("Node won't run successors. Use AsyncFlow.")
            run = self._run_async
            return await (run(shared) if not (watch := _watching()) else watch.do_async("run", self, run, shared))
        except Exception as error:
            _note_visit(error, self)
            raise

    def _run(self, shared: Any) -> Any:
        raise RuntimeError(f"{name_of(self)} is async: put it into an AsyncFlow. Use run_async.")


async def _nothing() -> None:
    """What `exec_async` does by default; the method is a plain def, so that a generator may override it."""


class AsyncBatchNode(AsyncNode, BatchNode):
    """A `BatchNode` of coroutines, one item after the other; `prep_async` may return an async iterable."""

    async def _exec(self, items: Any, /) -> Any:
        return await _Work(self, "exec", super()._exec).on(items)


class AsyncFlow(Flow, AsyncNode):
    """A `Flow` of async and sync nodes, with `prep_async` and `post_async`."""

    _run = AsyncNode._run  # pyright: ignore[reportAssignmentType]  # which refuses; that of Flow would come first

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Return the action of the flow; `exec_res` is the last action inside it."""
        return exec_res

    async def _orch_async(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        params = params or {**self.params}
        node, action = copy.copy(_start_of(self)), None
        while node is not None:
            node.set_params(params)
            try:
                if watch := _watching():
                    run = node._run_async if isinstance(node, AsyncNode) else node._run
                    action = await watch.do_async("visit", node, run, shared)
                else:
                    action = await node._run_async(shared) if isinstance(node, AsyncNode) else node._run(shared)
            except Exception as error:
                _note_visit(error, node)
                raise
            node = copy.copy(self.get_next_node(node, action))
        return action

    async def _run_async(self, shared: Any) -> Any:
        prep = self.prep_async
        prep_res = await (prep(shared) if not (watch := _watching()) else watch.do_async("prep", self, prep, shared))
        action = await self._orch_async(shared)
        return await self.post_async(shared, prep_res, action)


class AsyncBatchFlow(AsyncFlow, BatchFlow):
    """A `BatchFlow` of async and sync nodes, one entry after the other."""

    async def _run_async(self, shared: Any) -> Any:
        prep = self.prep_async
        prep_res = await (prep(shared) if not (watch := _watching()) else watch.do_async("prep", self, prep, shared))
        entries = prep_res or []
        await _Work(self, "entry", lambda entry: self._orch_async(shared, _merged(self, entry))).on(entries)
        return await self.post_async(shared, entries, None)


# What runs at once


class AsyncParallelBatchNode(AsyncNode, BatchNode):
    """An `AsyncBatchNode` that runs its items at once; results are in the order of the items.

    max_concurrency: how many run at once at most, started in order; None means all. Set it on
        the class or as a keyword, which wins. With a limit, a million items need no million tasks.

    When an item fails for good, no other begins, and those that run are cancelled and awaited
    before its error is raised: nothing touches `shared` afterwards. If the error is not an
    `Exception` (that of a pause, for example), the running items may finish first, and the item
    that is awaited from an async iterable may come, but does not begin.
    """

    max_concurrency: int | None = None

    def __init__(self, max_retries: int = 1, wait: Wait = 0, *, max_concurrency: int | None = _OF_CLASS) -> None:
        super().__init__(max_retries, wait)
        _set_limit(self, max_concurrency)

    async def _exec(self, items: Any, /) -> Any:
        return await _Work(self, "exec", super()._exec).on(items)


class AsyncParallelBatchFlow(AsyncFlow, BatchFlow):
    """An `AsyncBatchFlow` that runs its entries at once; `max_concurrency` as in `AsyncParallelBatchNode`."""

    max_concurrency: int | None = None

    def __init__(self, start: Any = None, *, max_concurrency: int | None = _OF_CLASS) -> None:
        super().__init__(start)
        _set_limit(self, max_concurrency)

    _run_async = AsyncBatchFlow._run_async  # which is not a base of this class


class AsyncParallelFlow(AsyncFlow):
    """Runs branches at once, each from its first node on; `a >> [b, c] >> d` makes one of `[b, c]`.

    `post_async` gets the branches' last actions, in order, and returns None. `max_concurrency` as above.
    """

    max_concurrency: int | None = None

    def __init__(self, *branches: Any, max_concurrency: int | None = _OF_CLASS) -> None:
        super().__init__()
        self.branches = tuple(_target(branch) for branch in branches)
        _set_limit(self, max_concurrency)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Go on along "default"."""

    async def _orch_async(self, shared: Any, params: dict[str, Any] | None = None) -> Any:
        async def branch(start: Any) -> Any:
            flow = copy.copy(self)
            flow.start_node = start
            return await AsyncFlow._orch_async(flow, shared, params)

        return await _Work(self, "branch", branch).on(self.branches)


class _Work:
    """Does `work(item)` for each item, in as many tasks as the node allows; if that is 1, in the caller's own task."""

    def __init__(self, node: Any, role: str, work: Callable[[Any], Awaitable[Any]]) -> None:
        self.step, self.limit = (role, node, work), _limit(node)  # the step as `watch.do_async` takes it
        self.results: list[Any] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.failed: list[BaseException] = []  # the first is raised; once there is one, nothing more begins
        self.all_done: asyncio.Future[Any] | None = None  # what the caller awaits; cancelled when the caller is

    async def on(self, items: Any) -> list[Any]:
        """The results, in the order of the items."""
        pairs, workers = self.source(items)
        for _ in range(workers):
            if self.limit == 1:
                await self.pull(pairs)
            else:
                self.tasks.append(asyncio.create_task(self.pull(pairs)))
        while pending := [task for task in self.tasks if not task.done()]:
            try:  # shielded, so that a second cancellation does not interrupt a cleaning up
                self.all_done = asyncio.shield(asyncio.gather(*pending, return_exceptions=True))
                self.failed += filter(None, await self.all_done)  # of tasks that were cancelled before they began
            except asyncio.CancelledError as error:
                self.stop(error)
                self.failed.insert(0, error)  # it wins over failures
        if self.failed:
            if close := getattr(getattr(self, "stream", None), "aclose", None):
                await close()
            del self.failed[1:]  # as tracebacks keep what they lead to alive, this list among it
            raise self.failed.pop()
        return self.results

    def source(self, items: Any) -> tuple[Iterator[tuple[int, Any]] | None, int]:
        """The iterator that all workers share, None for a stream; and how many workers there are at first."""
        if isinstance(items, AsyncIterable):
            self.stream, self.turn = aiter(items), asyncio.Lock()
            return None, self.limit or 1
        pulled: Any = (iter if self.limit else list)(_iterate(self.step[1], items))  # a list has a length
        return enumerate(pulled), min(self.limit or len(pulled), length_hint(pulled, self.limit or 0) or 1)

    async def pull(self, pairs: Iterator[tuple[int, Any]] | None) -> None:
        """Do one item after the other until none is left; without a limit, only one."""
        failed, results, work, watch = self.failed, self.results, self.step[2], _watching()
        index = item = None
        try:
            while (index is None or self.limit) and not failed and not (self.all_done and self.all_done.cancelled()):
                index = None  # no item is to blame if the next cannot be had
                pair = next(pairs, None) if pairs else await self.pull_stream()
                if pair is None or failed:
                    break
                index, item = pair
                results.append(None)
                results[index] = await (work(item) if not watch else watch.do_async(*self.step, item, index=index))
        except BaseException as error:
            if index is not None:
                _note(error, f"{'item' if self.step[0] == 'exec' else self.step[0]} {index}:", item)
            self.stop(error)
            failed.append(error)

    async def pull_stream(self) -> tuple[int, Any] | None:
        async with self.turn:
            async for item in self.stream:
                if self.limit is None:  # then each item has a worker, and the next one waits for the next item
                    self.tasks.append(asyncio.create_task(self.pull(None)))
                return len(self.results), item
        return None

    def stop(self, error: BaseException) -> None:
        """Cancel what runs, but only once, as it may be cleaning up; after a pause, let it finish."""
        ends = (Exception, asyncio.CancelledError)
        if isinstance(error, ends) and not any(isinstance(before, ends) for before in self.failed):
            for task in self.tasks:
                task.cancel()


# What the sync and the async half share


def _refuse_edge(node: Any, action: Any) -> NoReturn:
    """Raise an error that says what is wrong with the node, or with an action that cannot be a key or has no truth."""
    if not hasattr(node, "successors"):
        raise TypeError(f"{name_of(node)} is not set up: begin its __init__ with super().__init__()") from None
    raise TypeError(f"{name_of(node)}: the action {_short(action)} cannot pick an edge; use a string") from None


def _target(node: Any) -> Any:
    """What an edge or a flow may lead to: a node, which is anything that can run; a list becomes branches."""
    if isinstance(node, list):
        return AsyncParallelFlow(*node)
    if isinstance(node, _Edge):
        raise TypeError(f'an edge is not a node: write {name_of(node.source)} - "{node.action}" >> b on its own line')
    if isinstance(node, type):
        raise TypeError(f"a class is not a node: write {node.__name__}()")
    if not (node is None or hasattr(node, "_run")):
        raise TypeError(f'{_short(node)} is not a node; an action is written a - "x" >> b, and branches a >> [b, c]')
    return node


def _start_of(flow: Flow) -> Any:
    if flow.start_node is None:
        raise ValueError(f"{name_of(flow)} has no start: write {type(flow).__name__}(start=node)")
    return flow.start_node


def _iterate(node: Any, items: Any) -> Iterator[Any]:
    try:
        return iter(items if hasattr(items, "__iter__") else items or ())
    except TypeError as error:
        raise TypeError(f"{name_of(node)}: prep returned {_short(items)}; return an iterable, or None") from error


def _merged(flow: Flow, entry: Any) -> dict[str, Any]:
    try:
        return {**flow.params, **entry}
    except TypeError:
        raise TypeError(f"{name_of(flow)}: prep returned the entry {_short(entry)}; write a dict of params") from None


def _wait_before_next(node: Node, error: Exception, failures: list[str]) -> float | None:
    """Seconds until the next attempt, with `error` added to `failures`; None to give up, with a note on `error`."""
    attempt = len(failures)  # the one that failed just now, from 0
    wait = None
    if attempt + 1 < node.max_retries:
        wait = node.wait(attempt, error) if callable(node.wait) else node.wait
    if wait is not None:
        failures.append(_short(error))  # its text, as an error would keep the frames of its traceback
        return _check(node, "wait", wait, 0)  # type: ignore[no-any-return]  # it returns what it got
    if failures:
        _note(error, f"attempts: {attempt + 1}, before with {', '.join(failures)}")
    return None


async def _outcome(node: AsyncNode, stream: Any) -> Any:
    """The result of what `exec_async` returned: an awaitable, or an async iterator whose events go to the hooks."""
    if inspect.isawaitable(stream):
        return await stream
    if not hasattr(stream, "__aiter__"):
        raise TypeError(f"{name_of(node)}.exec_async returned {_short(stream)}: write it as `async def`")
    end, values = None, list[Any]()
    closing: Any = contextlib.aclosing(stream) if hasattr(stream, "aclose") else contextlib.nullcontext()
    async with closing:
        async for value in stream:
            is_event = isinstance(value, dict) and "type" in value
            if is_event and value["type"] == node.stream_end_type:
                end, values = value, []
            elif not is_event and end is None:
                values.append(value)
            event = value if is_event else {"type": "chunk", "chunk": value}
            if (watch := _watching()) and (held := watch.tell("on_event", event)):
                await held
    return values if end is None else {key: value for key, value in end.items() if key != "type"}


def _check(node: Any, setting: str, value: Any, least: Any) -> Any:
    """Raise an error for a setting that is too small or not a number; all but `wait` are whole numbers."""
    if not (isinstance(value, Real) and value >= least and (setting == "wait" or hasattr(value, "__index__"))):
        raise ValueError(f"{name_of(node)}: {setting} must be at least {least}, not {value!r}")
    return value


def _set_limit(node: Any, limit: Any) -> None:
    if limit is not _OF_CLASS:
        node.max_concurrency = limit if limit is None else _check(node, "max_concurrency", limit, 1)


def _limit(node: Any) -> int | None:
    """How many may run at once, None for all. A `max_concurrency` that is not a number is something of the user's."""
    limit = 1 if isinstance(node, AsyncBatchNode | AsyncBatchFlow) else node.max_concurrency
    return int(_check(node, "max_concurrency", limit, 1)) if isinstance(limit, Real) else None


def _note(error: BaseException, text: str, *values: Any) -> None:
    with contextlib.suppress(Exception):  # an exception may be frozen, and the repr of a value may fail
        error.add_note(" ".join([text, *map(_short, values)]))


def _note_visit(error: Exception, node: Any) -> None:
    given = (node.params,) if isinstance(node, Flow) and getattr(node, "params", None) else ()
    _note(error, f"in {name_of(node)}{' with params' if given else ''}", *given)
    if isinstance(node, BaseNode) and not hasattr(node, "successors"):
        _note(error, f"{name_of(node)} is not set up: begin its __init__ with super().__init__()")
    if isinstance(node, AsyncNode) and isinstance(error, TypeError) and "await" in str(error):
        for phase in ("prep_async", "exec_fallback_async", "post_async"):
            if not inspect.iscoroutinefunction(getattr(node, phase)):
                _note(error, f"{name_of(node)}.{phase} is not a coroutine: write `async def {phase}`, with no `yield`")


_texts = reprlib.Repr()
_texts.maxother = _texts.maxstring = 100
_texts.repr_bytes = _texts.repr_str  # type: ignore[attr-defined]  # found by its name; else megabytes are written first
_short = _texts.repr  # of any value, cut


def name_of(node: Any) -> str:
    """The name of a node in messages, paths and pictures: its `name` if that is a string, else its class."""
    return name if isinstance(name := getattr(node, "name", None), str) and name else type(node).__name__


def warn(message: str) -> None:
    """Issue a `FlowWarning` at the user's line: the first frame outside of this package and of asyncio."""
    level, frame = 1, sys._getframe()
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith((f"{__name__}.", "asyncio.")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, FlowWarning, stacklevel=level)
