"""A long run needs no more memory than a short one."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import settle
from tests.kits import SyncKit
from tests.memory import memory

SHORT, LONG, SLACK = 100, 460, 9_000
"""Between this many visits (or errors, or items) memory may grow by so many bytes: 25 of them a visit."""


def growth(kit: SyncKit, work: type[Any], **options: Any) -> int:
    """How many bytes more are in use after many visits of the same node than after some."""

    class Again(work):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            if shared["n"] in (SHORT, LONG):
                used.append(memory())
            return "again" if shared["n"] < LONG else None

    used: list[int] = []
    again = Again(**options)
    again - "again" >> again
    again >> kit.Node()
    kit.run(kit.Flow(again), {"n": 0})
    return used[1] - used[0]


@pytest.mark.usefixtures("traced")
def test_visits_leave_nothing_behind(kit: SyncKit):
    class Work(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            return bytes(1000)

    assert growth(kit, Work) < SLACK


@pytest.mark.usefixtures("traced")
def test_errors_that_were_handled_leave_nothing_behind(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            big = bytes(1000)  # which the frame of a kept error would hold
            raise ValueError(len(big))

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return None

    assert growth(kit, Fails, max_retries=2) < SLACK


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


@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_a_cancelled_batch_is_forgotten_at_once_and_not_by_the_garbage_collection(limit: int | None):
    class Large: ...

    class Waits(pf.AsyncParallelBatchNode):
        max_concurrency = limit

        async def prep_async(self, shared: Any) -> Any:
            return [1, 2]

        async def exec_async(self, item: int) -> Any:
            large = Large()
            alive.append(weakref.ref(large))
            await asyncio.Event().wait()

    alive: list[weakref.ref[Large]] = []
    run = asyncio.create_task(pf.AsyncFlow(Waits()).run_async({}))
    await settle()
    gc.disable()
    try:
        run.cancel()
        await asyncio.wait([run])
        del run
        await settle()
        assert [large() for large in alive] == [None] * len(alive) != []
    finally:
        gc.enable()
