"""Dataflows against the same graph written by hand with asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pocketflow.dataflow import Dataflow, task
from tests.benchmarks.measure import Row, compare

WIDTH, LENGTH, ROUNDS = 200, 300, 5
RUNS, CALLS, SLOTS, SECONDS = 5, 4, 4, 0.1  # of a server


async def source() -> int:
    return 1


async def step(value: int) -> int:
    return value + 1


def blocking(value: int) -> int:
    return value + 1


def fan(function: Callable[..., Any]) -> Dataflow:
    """One source, WIDTH tasks that need it alone, and one sink that needs them all."""
    middle = [task(function, name=f"t{n}", mapping={"value": "source"}) for n in range(WIDTH)]
    names = ", ".join(node.name for node in middle)
    namespace: dict[str, Any] = {}
    exec(f"async def sink({names}): return sum([{names}])", namespace)
    return Dataflow(source, *middle, namespace["sink"], final_vars=["sink"])


def chain() -> Dataflow:
    first = task(source, name="t0")
    return Dataflow(first, *(task(step, name=f"t{n}", mapping={"value": f"t{n - 1}"}) for n in range(1, LENGTH)))


def executed(flow: Dataflow) -> Callable[[], float]:
    return timed(lambda: flow.execute_async())


def timed(work: Callable[[], Coroutine[Any, Any, Any]], rounds: int = ROUNDS) -> Callable[[], float]:
    """Seconds of so many runs inside one loop."""

    async def measured() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(rounds):
            await work()
        return loop.time() - start

    return lambda: asyncio.run(measured())


async def gathered() -> int:
    value = await source()
    return sum(await asyncio.gather(*(step(value) for _ in range(WIDTH))))


async def threaded() -> int:
    value = await source()
    return sum(await asyncio.gather(*(asyncio.to_thread(blocking, value) for _ in range(WIDTH))))


async def awaited() -> int:
    value = await source()
    for _ in range(1, LENGTH):
        value = await asyncio.create_task(step(value))
    return value


async def call(item: int, slots: asyncio.Semaphore) -> None:
    async with slots:
        await asyncio.sleep(SECONDS)


def blocking_call(item: int) -> None:
    time.sleep(SECONDS)


async def served(flow: Dataflow, **shared: Any) -> None:
    """What a server does: all runs at once."""
    inputs = {"items": range(CALLS), **shared}
    await asyncio.gather(*(flow.execute_async(inputs) for _ in range(RUNS)))


async def under_a_semaphore() -> None:
    await served(Dataflow(task(call, each={"item": "items"})), slots=asyncio.Semaphore(SLOTS))


async def by_hand() -> None:
    slots = asyncio.Semaphore(SLOTS)
    await asyncio.gather(*(call(item, slots) for item in range(RUNS * CALLS)))


def shared_limits() -> Iterator[Row]:
    """All runs together under one limit: as long as the calls take that it lets through, and no longer."""
    what = f"{RUNS} runs of {CALLS} calls of {SECONDS} s, one Semaphore({SLOTS})"
    yield compare(what, timed(under_a_semaphore, 1), timed(by_hand, 1), against="the calls by hand", rounds=3)
    with ThreadPoolExecutor(SLOTS) as threads:
        flow = Dataflow(task(blocking_call, each={"item": "items"}), executor=threads)
        ours, bare = timed(lambda: served(flow), 1), lambda: list(threads.map(blocking_call, range(RUNS * CALLS)))
        yield compare(f"the same, one executor of {SLOTS} threads", ours, bare, against="executor.map", rounds=3)


def rows() -> Iterator[Row]:
    what = f"a source, {WIDTH} async tasks, a sink"
    yield compare(what, executed(fan(step)), timed(gathered), against="asyncio.gather by hand", reach="2.0")
    what = f"a source, {WIDTH} sync tasks, a sink"
    yield compare(what, executed(fan(blocking)), timed(threaded), against="asyncio.to_thread by hand")
    yield compare(
        f"a chain of {LENGTH} tasks", executed(chain()), timed(awaited), against="a task a step by hand", reach="2.0"
    )
    yield from shared_limits()
