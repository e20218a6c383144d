"""Sources of items that hint wrongly, pause or outlast a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pocketflow as pf


class Pause(BaseException):
    """What stops a run without being a failure."""


class WrongHint:
    """Three items, and the hint that there are none."""

    def __init__(self) -> None:
        self.left = [3, 2, 1]

    def __iter__(self) -> WrongHint:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def __length_hint__(self) -> int:
        return 0


class Squares(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return shared["items"]

    async def exec_async(self, item: int) -> int:
        return item * item

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["squares"] = exec_res


@pytest.mark.new
@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_no_item_is_lost_where_the_length_hint_of_the_source_is_wrong(limit: int | None):
    shared: dict[str, Any] = {"items": WrongHint()}
    await Squares(max_concurrency=limit).run_async(shared)
    assert shared["squares"] == [1, 4, 9]


@pytest.mark.new
@pytest.mark.parametrize("limit", [None, 3])
async def test_what_a_stream_gives_after_a_pause_is_not_begun(limit: int | None):
    class Pauses(Squares):
        async def exec_async(self, item: int) -> int:
            begun.append(item)
            if item == 1:
                paused.set()
                raise Pause
            return item

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        await paused.wait()
        await asyncio.sleep(0)
        yield 2

    begun, paused = list[int](), asyncio.Event()
    with pytest.raises(Pause):
        await asyncio.wait_for(Pauses(max_concurrency=limit).run_async({"items": items()}), 30)
    assert begun == [0, 1]


@pytest.mark.parametrize("base", [pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
async def test_an_item_that_swallows_a_cancellation_does_not_hand_post_a_short_list(base: Any):
    """One at a time, items are a plain loop, which goes on; at once, the batch is cancelled."""

    class Swallows(base):  # type: ignore[misc]  # one of two
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2, 3]

        async def exec_async(self, item: int) -> str:
            if item > 1:
                return "whole"
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "cut"
            return "never"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            got.append(exec_res)

    got, started = list[Any](), asyncio.Event()
    run = asyncio.create_task(Swallows().run_async({}))
    await asyncio.wait_for(started.wait(), 30)
    run.cancel()
    await asyncio.wait([run])
    assert (run.cancelled(), got) == ((False, [["cut", "whole", "whole"]]) if base is pf.AsyncBatchNode else (True, []))
