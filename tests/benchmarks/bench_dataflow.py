"""Dataflows against the same graph written by hand with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from pocketflow.dataflow import Dataflow, task
from tests.benchmarks.measure import Row, compare

WIDTH, LENGTH, ROUNDS = 200, 300, 5


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


def timed(work: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], float]:
    """Seconds of ROUNDS runs inside of one loop."""

    async def measured() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for _ in range(ROUNDS):
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


def rows() -> Iterator[Row]:
    what = f"a source, {WIDTH} async tasks, a sink"
    yield compare(what, executed(fan(step)), timed(gathered), against="asyncio.gather by hand", reach="2.5")
    what = f"a source, {WIDTH} sync tasks, a sink"
    yield compare(what, executed(fan(blocking)), timed(threaded), against="asyncio.to_thread by hand")
    yield compare(f"a chain of {LENGTH} tasks", executed(chain()), timed(awaited), against="a task a step by hand")
