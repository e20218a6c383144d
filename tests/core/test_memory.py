"""A long run needs no more memory than a short one."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

import pocketflow as pf
from tests.kits import SyncKit

SHORT, LONG, SLACK = 100, 1_000, 20_000
"""Between this many visits (or errors, or items) memory may grow by so many bytes: 22 of them a visit."""


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("traced")
def test_visits_leave_nothing_behind(kit: SyncKit):
    class Count(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            return bytes(1000)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            if shared["n"] in (SHORT, LONG):
                used.append(memory())
            return "again" if shared["n"] < LONG else None

    used: list[int] = []
    count = Count()
    count - "again" >> count
    count >> kit.Node()
    kit.run(kit.Flow(count), {"n": 0})
    assert used[1] - used[0] < SLACK


@pytest.mark.usefixtures("traced")
def test_errors_that_were_handled_leave_nothing_behind(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            big = bytes(1000)  # which the frame of a kept error would hold
            raise ValueError(len(big))

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return None

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            if shared["n"] in (SHORT, LONG):
                used.append(memory())
            return "again" if shared["n"] < LONG else None

    used: list[int] = []
    fails = Fails(max_retries=2)
    fails - "again" >> fails
    fails >> kit.Node()
    kit.run(kit.Flow(fails), {"n": 0})
    assert used[1] - used[0] < SLACK


@pytest.mark.new
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("make", [iter, list], ids=["iterator", "list"])
async def test_a_limited_batch_costs_its_results_and_not_its_items(make: Any):
    class Many(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return make(range(LONG))

        async def exec_async(self, item: int) -> Any:
            await asyncio.sleep(0)
            if item in (SHORT, LONG - 1):
                used.append(memory())

    used: list[int] = []
    await Many(max_concurrency=10).run_async({})
    assert used[1] - used[0] < SLACK + 16 * LONG  # a list that grows has room for more


@pytest.mark.new
@pytest.mark.usefixtures("traced")
async def test_what_comes_from_an_async_iterable_is_forgotten_when_it_is_done():
    class Feed(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> Any:
                for item in range(LONG):
                    await asyncio.sleep(0)
                    yield item, bytes(1000)

            return items()

        async def exec_async(self, item: Any) -> Any:
            if item[0] in (SHORT, LONG - 1):
                used.append(memory())

    used: list[int] = []
    await Feed(max_concurrency=10).run_async({})
    assert used[1] - used[0] < SLACK + 16 * LONG
