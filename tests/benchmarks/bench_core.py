"""The core against bare calls, bare asyncio, and PocketFlow 0.0.3."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pocketflow
from pocketflow.hooks import Hook
from pocketflow.stream import stream
from tests.benchmarks.measure import Row
from tests.benchmarks.measure import compare as compare_by

STEPS, SHORT_FLOWS, SERIAL_ITEMS, ITEMS, SLOW_ITEMS, EVENTS = 2000, 100, 20_000, 100_000, 10_000, 50_000
LIMIT, SLOW_LIMIT = 100, 500
CPU, WALL = time.process_time, time.perf_counter


def pocketflow_003() -> Any:
    """PocketFlow 0.0.3, from a folder of its own, under a name of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "pocketflow==0.0.3"]
        subprocess.run(pip, check=True, capture_output=True)
        spec = importlib.util.spec_from_file_location("pocketflow_003", Path(folder) / "pocketflow" / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def chain(node: Callable[[], Any], length: int = 10) -> Any:
    """`length` nodes in a ring; the ring is left after STEPS visits."""
    nodes = [node() for _ in range(length)]
    for here, following in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        here - "on" >> following
    return nodes[0]


class Phases:
    def prep(self, shared: Any) -> Any:
        return 1

    def exec(self, prep_res: Any) -> Any:
        return prep_res

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["n"] += 1
        if shared["n"] == STEPS:
            raise EndOfRing
        return "on"


class AsyncPhases:
    async def prep_async(self, shared: Any) -> Any:
        return 1

    async def exec_async(self, prep_res: Any) -> Any:
        return prep_res

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return Phases.post(self, shared, prep_res, exec_res)  # type: ignore[arg-type]  # it uses no self


class EndOfRing(Exception):
    """How a ring of nodes is left in both frameworks."""


def sync_steps(framework: Any) -> Callable[[], None]:
    flow = framework.Flow(chain(type("Step", (Phases, framework.Node), {})))

    def run() -> None:
        with contextlib.suppress(EndOfRing):
            flow.run({"n": 0})

    return run


def async_steps(framework: Any) -> Callable[[], float]:
    flow = framework.AsyncFlow(chain(type("Step", (AsyncPhases, framework.AsyncNode), {})))

    async def run() -> None:
        with contextlib.suppress(EndOfRing):
            await flow.run_async({"n": 0})

    return timed(run)


def short_flows(framework: Any) -> Callable[[], None]:
    """Ten nodes and a flow made, wired and run once: what a service does for a request."""

    class Step(Phases, framework.Node):  # type: ignore[misc,name-defined]  # the framework is chosen at run time
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1

    def run() -> None:
        for _ in range(SHORT_FLOWS):
            nodes = [Step() for _ in range(10)]
            for here, following in itertools.pairwise(nodes):
                here >> following
            framework.Flow(start=nodes[0]).run({"n": 0})

    return run


def serial_items(framework: Any) -> Callable[[], None]:
    class Batch(framework.BatchNode):  # type: ignore[misc,name-defined]  # the framework is chosen at run time
        def prep(self, shared: Any) -> Any:
            return range(SERIAL_ITEMS)

        def exec(self, item: Any) -> Any:
            return item

    return lambda: Batch().run({})


def bare_sync() -> None:
    phases, shared = Phases(), {"n": 0}
    with contextlib.suppress(EndOfRing):
        while True:
            phases.post(shared, None, phases.exec(phases.prep(shared)))


async def bare_async() -> None:
    phases, shared = AsyncPhases(), {"n": 0}
    with contextlib.suppress(EndOfRing):
        while True:
            await phases.post_async(shared, None, await phases.exec_async(await phases.prep_async(shared)))


def timed(work: Callable[[], Coroutine[Any, Any, Any]], clock: Callable[[], float] = CPU) -> Callable[[], float]:
    """Seconds inside a running loop: starting one is not what is measured."""

    async def measured() -> float:
        start = clock()
        await work()
        return clock() - start

    return lambda: asyncio.run(measured())


def peak(work: Callable[[], object]) -> Callable[[], float]:
    def measured() -> float:
        tracemalloc.start()
        try:
            work()
            return float(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    return measured


async def no_op(item: Any) -> Any:
    return item


async def ten_ms(item: Any) -> Any:
    await asyncio.sleep(0.01)
    return item


def batch(
    framework: Any,
    work: Any,
    count: int,
    base: str = "AsyncParallelBatchNode",
    clock: Callable[[], float] = CPU,
    **kwargs: Any,
) -> Callable[[], float]:
    async def prep_async(self: Any, shared: Any) -> Any:
        return range(count)

    async def exec_async(self: Any, item: Any) -> Any:
        return await work(item)

    phases = {"prep_async": prep_async, "exec_async": exec_async}
    node = type("Batch", (getattr(framework, base),), phases)(**kwargs)
    return timed(lambda: node.run_async({}), clock)


def gather(work: Any, count: int, limit: int | None = None, clock: Callable[[], float] = CPU) -> Callable[[], float]:
    async def limited(semaphore: asyncio.Semaphore, item: Any) -> Any:
        async with semaphore:
            return await work(item)

    async def run() -> None:
        if limit is None:
            await asyncio.gather(*(work(item) for item in range(count)))
        else:
            semaphore = asyncio.Semaphore(limit)
            await asyncio.gather(*(limited(semaphore, item) for item in range(count)))

    return timed(run, clock)


def streaming() -> Callable[[], float]:
    class Tokens(pocketflow.AsyncNode):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            for n in range(EVENTS):
                yield {"type": "chunk", "chunk": n}

    async def run() -> None:
        async with contextlib.aclosing(stream(Tokens(), {})) as events:
            async for _ in events:
                pass

    return timed(run)


def queued() -> Callable[[], float]:
    """The same by hand: one async generator feeds an `asyncio.Queue(64)`, another reads from it."""

    async def tokens() -> AsyncIterator[Any]:
        for n in range(EVENTS):
            yield {"type": "chunk", "chunk": n}

    async def run() -> None:
        async def feed() -> None:
            async for event in tokens():
                await queue.put(event)
            await queue.put(None)

        async def read() -> AsyncIterator[Any]:
            while (event := await queue.get()) is not None:
                yield event

        queue: asyncio.Queue[Any] = asyncio.Queue(64)
        feeding = asyncio.create_task(feed())
        async for _ in read():
            pass
        await feeding

    return timed(run)


def importing(modules: str, known: str = "time") -> float:
    """Seconds that a fresh interpreter needs to import more than what it knows, as it measures itself."""
    code = f"import time, {known}; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def with_hook(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with Hook():
            return work()

    return run


def rows() -> Iterator[Row]:
    """All but the rows with items of 10 ms and the import count processor time, as they never wait."""
    old, ours = pocketflow_003(), pocketflow
    compare = partial(compare_by, clock=CPU)
    there = "PocketFlow 0.0.3"
    yield compare("sync step", sync_steps(ours), sync_steps(old), against=there, reach="0.45", rounds=15)
    yield compare("sync step", sync_steps(ours), bare_sync, against="three bare calls", rounds=15)
    yield compare("async step", async_steps(ours), async_steps(old), against=there, reach="0.5", rounds=15)
    yield compare("async step", async_steps(ours), timed(bare_async), against="three bare awaits", rounds=15)
    what = "ten nodes and a flow, made and run once"
    yield compare(what, short_flows(ours), short_flows(old), against=there, reach="1.0", rounds=15)
    what = "an item of a serial batch"
    yield compare(f"{what}, sync", serial_items(ours), serial_items(old), against=there, reach="1.1", rounds=15)
    one, other = (batch(framework, no_op, SERIAL_ITEMS, "AsyncBatchNode") for framework in (ours, old))
    yield compare(f"{what}, async", one, other, against=there, reach="1.1", rounds=15)
    yield compare("sync step, one empty hook", with_hook(sync_steps(ours)), sync_steps(ours), against="no hook")
    yield compare("async step, one empty hook", with_hook(async_steps(ours)), async_steps(ours), against="no hook")

    bare, what = gather(no_op, ITEMS), f"{ITEMS:,} no-op items"
    yield compare(f"{what}, no limit", batch(ours, no_op, ITEMS), bare, against="asyncio.gather", reach="1.1")
    yield compare(f"{what}, no limit", batch(ours, no_op, ITEMS), batch(old, no_op, ITEMS), against=there, reach="1.0")
    limited, what = batch(ours, no_op, ITEMS, max_concurrency=LIMIT), f"{what}, {LIMIT} at once"
    yield compare(what, limited, bare, against="asyncio.gather", reach="0.08")
    yield compare(what, limited, gather(no_op, ITEMS, LIMIT), against="gather and a semaphore")
    yield compare(f"{what}: peak memory", peak(limited), peak(bare), against="asyncio.gather", reach="0.06", rounds=3)

    slow, ideal = (
        batch(ours, ten_ms, SLOW_ITEMS, clock=WALL, max_concurrency=SLOW_LIMIT),
        SLOW_ITEMS / SLOW_LIMIT * 0.01,
    )
    what = f"{SLOW_ITEMS:,} items of 10 ms, {SLOW_LIMIT} at once"
    yield compare(what, slow, lambda: ideal, against="the ideal", reach="1.11", rounds=3)
    yield compare(what, slow, gather(ten_ms, SLOW_ITEMS, SLOW_LIMIT, WALL), against="gather and a semaphore", rounds=3)

    yield compare("a streamed event", streaming(), queued(), against="asyncio.Queue(64)", reach="0.8")
    beyond = statistics.median(importing("pocketflow", known="asyncio") for _ in range(9))
    what = f"import, {beyond * 1000:.1f} ms beyond asyncio"
    both, alone = (lambda: importing("asyncio, pocketflow")), (lambda: importing("asyncio"))
    yield compare(what, both, alone, against="import asyncio", reach="5 ms")
