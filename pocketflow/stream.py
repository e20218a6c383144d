"""A run as a stream of events.

>>> import asyncio
>>> from contextlib import aclosing
>>> from pocketflow import AsyncFlow, AsyncNode
>>> class Tokens(AsyncNode):
...     async def exec_async(self, prep_res):
...         for word in ("to", "be"):
...             yield word
>>> async def main():
...     async with aclosing(stream(AsyncFlow(Tokens()), {})) as events:
...         async for event in events:
...             if event["type"] == "chunk":
...                 print(event["chunk"], event["path"])
>>> asyncio.run(main())
to AsyncFlow/0:Tokens
be AsyncFlow/0:Tokens
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import Any

from pocketflow import AsyncNode, BaseNode
from pocketflow.hooks import Hook, Step, called, ended

__all__ = ["stream"]

Event = dict[str, Any]


async def stream(flow: Any, shared: Any, *, buffer: int = 64) -> AsyncGenerator[Event, None]:
    """Run `flow` on `shared`, and yield each event as it happens.

    flow: a flow or node (a sync one runs in a thread); or an async function of `shared`, such as
        `lambda shared: journal.run_async(flow, shared, run_id="monday")`.
    buffer: how many events may wait to be read. When it is full, whatever emits more has to wait,
        each with one event: async generators, `await emit`, threads, and visits of sync nodes.

    An event is a dict with "type", "node" and "path" (the node's) and, in a batch or a branch,
    "item" (its index). A yielded value that is not an event becomes {"type": "chunk", "chunk": value}.
    Beside the events that are emitted inside, there are:

        node_start              of nodes and flows; kind ("node" or "flow")
        node_end                kind, action, seconds; skipped (true) if a hook restored it
        item_start, item_end    of an item, entry or branch; item_end: seconds, skipped as above
        node_retry              error (its repr), attempt (from 0), wait (seconds)
        node_error              error (its repr): once, from the innermost node that failed

    An error of the run is raised after the events before it. Closing the stream cancels the run
    and waits for its end; a sync flow finishes its current step or attempt, and begins no other.
    So write:

        async with contextlib.aclosing(stream(flow, shared)) as events:
            async for event in events: ...
    """
    if not isinstance(buffer, int) or buffer < 1:
        raise ValueError(f"buffer must be at least 1, not {buffer!r}")
    events = _Events(buffer)
    with events:
        run = asyncio.create_task(_run(flow, shared))
    run.add_done_callback(lambda _: events.news.set())
    try:
        while events.waiting or not run.done():
            events.news.clear()
            while events.waiting:
                yield events.waiting.popleft()
            events.room.set()
            if not run.done():
                await events.news.wait()
        run.result()
    finally:
        events.close()
        run.cancel()
        await ended(run)


async def _run(flow: Any, shared: Any) -> None:
    if isinstance(flow, AsyncNode):
        await flow.run_async(shared)
    elif isinstance(flow, BaseNode):
        await _in_thread(flow.run, shared)
    else:
        running = flow(shared) if callable(flow) else None
        if not inspect.isawaitable(running):
            raise TypeError(f"stream({flow!r}): write a flow, a node, or an async function of shared")
        await running


async def _in_thread(function: Callable[..., Any], *args: Any) -> None:
    """Run a function in a thread of its own, and wait for its end even when cancelled: threads cannot be stopped."""
    with ThreadPoolExecutor(1) as executor:
        running = asyncio.wrap_future(executor.submit(contextvars.copy_context().run, called, function, *args))
        try:
            await asyncio.shield(running)
        finally:
            await ended(running)


class _Events(Hook):
    """Makes events of steps, keeps those that wait to be read, and makes those wait that make too many."""

    def __init__(self, buffer: int) -> None:
        self.buffer, self.waiting = buffer, deque[Event]()
        self.news, self.room = asyncio.Event(), asyncio.Event()
        self.turn = asyncio.Lock()  # one at a time waits for room, as each that wakes has to look whether there is
        self.loop, self.thread = asyncio.get_running_loop(), get_ident()
        self.is_closed = False
        self.base: Any = ...  # the step around the run, None if there is none; ... until the first step begins
        self.running: dict[Step, tuple[float, Event, bool]] = {}  # since when; its place; whether in our thread
        self.failed: dict[Step | None, tuple[Step, Exception]] = {}  # below a step that runs: who failed first, and how

    def close(self) -> None:
        self.is_closed = True
        self.waiting.clear()
        self.room.set()

    def on_event(self, step: Step, event: Event) -> Any:
        """Add an event of a step; what is returned, if anything, its maker has to await."""
        if self.is_closed:
            return None
        running = self.running.get(step)
        self.waiting.append({**event, **(running[1] if running else _place(step))})
        is_here = get_ident() == self.thread
        if not is_here:
            self.loop.call_soon_threadsafe(self.news.set)
        elif not self.news.is_set():
            self.news.set()
        if len(self.waiting) <= self.buffer:
            return None
        if step.loop is self.loop:
            return _Room(self)
        if is_here or self.is_blocked_by(step):  # whoever waited here would stop the loop that makes room
            return None
        if step.loop is not None:  # a loop in another thread
            return _Room(self)
        asyncio.run_coroutine_threadsafe(_wait_for(_Room(self)), self.loop).result()
        return None

    async def wait_for_room(self) -> None:
        async with self.turn:
            while len(self.waiting) > self.buffer and not self.is_closed:
                self.room.clear()  # set again when all that waits is taken
                await self.room.wait()

    def is_blocked_by(self, step: Step | None) -> bool:
        """Whether sync work in our thread goes on around a step, maybe to wait for the very thread of the step."""
        while step is not None:
            if step in self.running and self.running[step][2] and not isinstance(step.node, AsyncNode):
                return True
            step = step.parent
        return False

    def on_start(self, step: Step) -> Any:
        if self.is_closed:
            raise asyncio.CancelledError("the stream was closed")
        if self.base is ...:
            self.base = step.parent
        self.running[step] = time.perf_counter(), _place(step), get_ident() == self.thread
        kind = _event_kind(step)
        if kind is None:
            return None
        held = self.on_event(
            step, {"type": "item_start"} if kind == "item" else {"type": "node_start", "kind": step.kind}
        )
        if held is None and step.loop and not isinstance(step.node, AsyncNode):
            return asyncio.sleep(0)  # so that events of sync nodes are taken between their visits
        return held

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> Any:
        if self.is_closed:
            raise asyncio.CancelledError("the stream was closed")
        return self.on_event(step, {"type": "node_retry", "error": repr(error), "attempt": attempt, "wait": wait})

    def on_end(self, step: Step, result: Any) -> Any:
        self.failed.pop(step, None)
        started, place, _ = self.running.pop(step)
        kind = _event_kind(step)
        if kind is None:
            return None
        end = {"type": "item_end"} if kind == "item" else {"type": "node_end", "kind": step.kind, "action": result}
        skipped = {"skipped": True} if step.skipped else {}
        return self.on_event(step, {**end, "seconds": time.perf_counter() - started, **skipped, **place})

    def on_error(self, step: Step, error: BaseException) -> Any:
        self.running.pop(step, None)
        place, inner = self.failed.pop(step, (step, error))
        if not isinstance(error, Exception):
            return None
        if inner is not error:
            place = step
        if step.parent is self.base:
            return self.on_event(place, {"type": "node_error", "error": repr(error)})
        if step.index is None or step.parent not in self.failed:  # of what runs at once the first is the one to leave
            self.failed[step.parent] = (place, error)
        return None


class _Room:
    """Wait until there is room in the buffer, or nobody reads it any more."""

    def __init__(self, events: _Events) -> None:
        self.events = events

    def __await__(self) -> Generator[Any, None, None]:
        events = self.events
        if asyncio.get_running_loop() is not events.loop:  # of a thread that runs a loop of its own
            there = asyncio.run_coroutine_threadsafe(_wait_for(self), events.loop)
            return (yield from asyncio.wrap_future(there).__await__())
        yield from events.wait_for_room().__await__()


async def _wait_for(room: _Room) -> None:
    await room


def _place(step: Step) -> Event:
    """What the events of a step say about where they come from."""
    visit = step.parent if step.kind in ("prep", "exec") and step.parent else step
    if step.index is None:
        return {"node": visit.name, "path": visit.path}
    return {"node": visit.name, "path": visit.path.removesuffix(f"[{step.index}]"), "item": step.index}


def _event_kind(step: Step) -> str | None:
    """Which events a step has: those of an "item", those of a "node", or None."""
    if step.index is not None:
        return "item"
    return "node" if step.kind in ("node", "flow") else None
