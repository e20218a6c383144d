"""At most `buffer` events wait, and one for each that is held back, whoever makes them; and nothing is deadlocked."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import emit
from pocketflow.stream import stream
from tests.core.nodes import settle
from tests.memory import memory
from tests.stream.streams import Tokens, alone, events_of

TICK = {"type": "tick"}


class Makes(pf.AsyncNode):
    """Makes events without an end, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []


class Generates(Makes):
    async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
        while True:
            self.made.append(1)
            yield "x"


class Emits(Makes):
    async def exec_async(self, prep_res: Any) -> Any:
        while True:
            self.made.append(1)
            await emit(TICK)


class Visits(Makes):
    async def _run_async(self, shared: Any) -> Any:
        def step(shared: Any) -> Any:
            self.made.append(1)
            return "again"

        node = pf.Node()
        node.post = lambda shared, prep_res, exec_res: step(shared)
        node - "again" >> node
        await pf.AsyncFlow(node).run_async(shared)


@pytest.mark.parametrize("cls", [Generates, Emits, Visits])
@pytest.mark.parametrize("buffer", [1, 3, 64])
async def test_a_slow_consumer_holds_back_who_makes_the_events(cls: type[Makes], buffer: int):
    node = cls()
    async with aclosing(stream(node, {}, buffer=buffer)) as events:
        for taken in range(1, 150):
            await anext(events)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(node.made) <= taken + buffer + 1
    assert len(node.made) >= 50
    assert alone()


@pytest.mark.parametrize("where", ["sync flow", "to_thread"])
async def test_threads_are_held_back(where: str):
    class Sync(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            for n in range(1000):
                emit(TICK)
                waiting.append(n + 1 - taken)
                if n == 5:
                    begun.set()

    class Async(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.to_thread(Sync.exec, self, prep_res)

    waiting: list[int] = []
    taken, begun = 0, threading.Event()
    flow: Any = pf.Flow(Sync()) if where == "sync flow" else pf.AsyncFlow(Async())
    async with aclosing(stream(flow, {}, buffer=8)) as events:
        await anext(events)
        assert await asyncio.to_thread(begun.wait, 30)  # time to run ahead, if nobody held it back
        async for event in events:
            taken += event["type"] == "tick"
    assert len(waiting) == taken == 1000
    assert max(waiting) <= 9


async def test_many_generators_beside_each_other_keep_the_buffer_and_one_each():
    class Many(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(200)

        async def exec_async(self, item: int) -> AsyncIterator[Any]:
            for n in range(20):
                made.append(n)
                yield n

    made: list[int] = []
    async with aclosing(stream(Many(), {}, buffer=64)) as events:
        taken = 0
        async for event in events:
            taken += event["type"] == "chunk"
            assert len(made) - taken <= 64 + 200
    assert (len(made), taken) == (4000, 4000)


async def test_only_what_emits_in_one_go_may_exceed_the_buffer_until_it_awaits():
    class Bursts(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            for _ in range(100):
                emit(TICK)
            burst.set()
            await emit(TICK)
            went_on.set()

    burst, went_on = asyncio.Event(), asyncio.Event()
    async with aclosing(stream(Bursts(), {}, buffer=4)) as events:
        await anext(events)
        await asyncio.wait_for(burst.wait(), 30)
        await settle()
        assert not went_on.is_set()
        rest = [event async for event in events]
    assert went_on.is_set()
    assert len(rest) == 102


async def test_events_of_sync_nodes_come_between_their_visits():
    class Step(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            seen_at.append(len(seen))

    first = node = Step()
    for _ in range(9):
        node = node >> Step()
    seen: list[Any] = []
    seen_at: list[int] = []
    async with aclosing(stream(pf.AsyncFlow(first), {})) as events:
        async for event in events:
            seen.append(event)
    assert seen_at == [2 * n + 2 for n in range(10)]  # the starts and ends of all before, and its own


async def test_a_time_out_is_felt_between_the_visits_of_sync_nodes():
    class Step(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            if len(visits) == 5:
                loop.call_soon(run.cancel)
            visits.append(1)
            return "again"

    async def consume() -> None:
        async with aclosing(stream(pf.AsyncFlow(step), {})) as events:
            async for _ in events:
                pass

    visits: list[int] = []
    step, loop = Step(), asyncio.get_running_loop()
    step - "again" >> step
    run = asyncio.create_task(consume())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 30)
    assert len(visits) < 10


# Threads and loops of all kinds


def in_threads(n: int) -> None:
    """Emit n events from the threads of a pool, and wait for them here."""
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(contextvars.copy_context().run, emit, TICK) for _ in range(n)]
        for future in futures:
            future.result(10)


@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
@pytest.mark.parametrize("flow", [pf.Flow, pf.AsyncFlow])
async def test_a_sync_node_may_wait_for_threads_that_emit_more_than_the_buffer(phase: str, flow: Any):
    node = type("Works", (pf.Node,), {phase: lambda self, *args: in_threads(50)})()
    events = await events_of(flow(node), buffer=4)
    assert sum(event["type"] == "tick" for event in events) == 50


@pytest.mark.parametrize("outer", ["sync flow", "thread of an async node", "thread of a sync node on the loop"])
async def test_a_flow_that_runs_on_a_loop_of_its_own_in_a_thread_is_told_too(outer: str):
    def run() -> None:
        asyncio.run(pf.AsyncFlow(Tokens("x " * 50)).run_async({}))

    class Sync(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            if outer == "sync flow":
                return run()
            thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive()

    class Async(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.to_thread(run)

    flows = {"sync flow": pf.Flow(Sync()), "thread of an async node": pf.AsyncFlow(Async())}
    events = await events_of(flows.get(outer, pf.AsyncFlow(Sync())), buffer=4)
    assert sum(event["type"] == "chunk" for event in events) == 50


# Settings, and memory


@pytest.mark.parametrize("buffer", [0, -1, 2.5, None, "8"], ids=repr)
async def test_a_buffer_is_a_whole_number_of_at_least_1(buffer: Any):
    with pytest.raises(ValueError, match="buffer must be at least 1, not "):
        await events_of(Tokens(), buffer=buffer)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fails", [False, True], ids=["visits", "handled errors"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_long_stream_needs_no_more_memory_than_a_short_one(fails: bool, kind: str):
    def work() -> None:
        big = bytes(1000)  # which the frame of a kept error would hold
        if fails:
            raise ValueError(len(big))

    def count(shared: Any) -> str | None:
        shared["n"] += 1
        return "again" if shared["n"] < 425 else None

    class Async(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            work()

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any: ...

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return count(shared)

    class Sync(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            work()

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any: ...

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return count(shared)

    node: Any = (Async if kind == "async" else Sync)(max_retries=2)
    node - "again" >> node
    node >> pf.Node()
    used: list[int] = []
    shared, at = {"n": 0}, [100, 425]
    async with aclosing(stream(pf.AsyncFlow(node), shared)) as events:
        async for event in events:
            if at and event["type"] == "node_end" and shared["n"] >= at[0]:
                used.append(memory())
                at.pop(0)
    assert used[1] - used[0] < 9_000
