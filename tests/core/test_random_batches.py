"""Random batches, with items that fail, pause, wait and clean up, cancelled at random turns: what always holds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pocketflow as pf
from tests.core.gated import Pause, alone

pytestmark = pytest.mark.new
FACTORIES = [None, *([asyncio.eager_task_factory] if hasattr(asyncio, "eager_task_factory") else [])]
BATCHES = 400


class Chance(pf.AsyncParallelBatchNode):
    """A batch whose items do what a random generator says, and that notes what must never happen."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(max_retries=rng.choice([1, 1, 2]))
        self.max_concurrency = rng.choice([None, 1, 2, 5])
        self.count, self.source = rng.randrange(12), rng.choice(["list", "iterator", "stream"])
        self.turns = [rng.randrange(4) for _ in range(self.count)]
        self.cleaning = [rng.randrange(4) for _ in range(self.count)]
        self.ends = rng.choices([None, KeyError, Pause], [12, 1, 1], k=self.count)
        self.started: list[int] = []
        self.running: set[int] = set()
        self.first_end: BaseException | None = None
        self.wrong: list[str] = []

    async def prep_async(self, shared: Any) -> Any:
        async def stream() -> AsyncIterator[int]:
            for item in range(self.count):
                if item % 3 == 0:
                    await asyncio.sleep(0)
                yield item

        items = range(self.count)
        return {"list": list(items), "iterator": iter(items), "stream": stream()}[self.source]

    async def exec_async(self, item: int) -> Any:
        if not self.cur_retry:
            self.begin(item)
        self.running.add(item)
        try:
            for _ in range(self.turns[item]):
                await asyncio.sleep(0)
            if self.ends[item]:
                raise self.ends[item](item)
            return item
        except asyncio.CancelledError:
            for _ in range(self.cleaning[item]):
                await asyncio.sleep(0)
            raise
        finally:
            self.running.remove(item)

    async def exec_fallback_async(self, item: int, exc: Exception) -> Any:
        self.first_end = self.first_end or exc
        raise exc

    def begin(self, item: int) -> None:
        if self.first_end:
            self.wrong.append(f"{item} started after a failure")
        if self.max_concurrency and len(self.running) >= self.max_concurrency:
            self.wrong.append(f"{item} started above the limit")
        self.started.append(item)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return exec_res


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: getattr(factory, "__name__", "plain"))
async def test_what_always_holds(factory: Any):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    outcomes: set[str] = set()
    for seed in range(BATCHES):
        rng = random.Random(seed)
        node = Chance(rng)
        run = loop.create_task(node.run_async({}))
        was_cancelled = False
        for _ in range(rng.choice([0, 0, 1, 2])):
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            was_cancelled |= run.cancel()
        await asyncio.wait([run], timeout=30)
        outcomes.add(outcome := outcome_of(run))
        assert (outcome == "CancelledError") == was_cancelled, seed
        assert outcome != "KeyError" or run.exception() is node.first_end, seed
        assert outcome != "results" or run.result() == list(range(node.count)), seed
        assert node.wrong == [], seed
        assert node.started == sorted(node.started), seed
        assert node.running == set(), seed
        assert alone(), seed
    assert outcomes == {"results", "KeyError", "Pause", "CancelledError"}


def outcome_of(run: asyncio.Task[Any]) -> str:
    if run.cancelled():
        return "CancelledError"
    return type(run.exception()).__name__ if run.exception() else "results"
