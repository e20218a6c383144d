"""Under `asyncio.eager_task_factory`, of Python 3.12, a task runs until its first wait while it is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.core.gated import LIMITS, SOURCES, Gated, Pause
from tests.core.nodes import soon

pytestmark = pytest.mark.new


async def run_eagerly(node: Any, shared: Any = None) -> Any:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    return await soon(node.run_async({} if shared is None else shared))


@SOURCES
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_the_limit_holds_and_the_order(source: str, limit: int):
    class Counts(Gated):
        async def exec_async(self, item: int) -> Any:
            self.log.append(item)
            running.append(item)
            most.append(len(running))
            for _ in range(item % 3):
                await asyncio.sleep(0)
            running.remove(item)
            return item

    running: list[int] = []
    most: list[int] = []
    node, shared = Counts(30, limit=limit), {}
    node.source = source
    await run_eagerly(node, shared)
    assert max(most) <= limit
    assert node.log == list(range(30))
    assert shared["results"] == list(range(30))


@SOURCES
@LIMITS
async def test_nothing_is_started_after_a_failure(source: str, limit: int | None):
    class Fails(Gated):
        async def exec_async(self, item: int) -> Any:
            self.log.append(item)
            if item == 3:
                raise KeyError("own error")

    node = Fails(50, limit=limit)
    node.source = source
    with pytest.raises(KeyError, match="own error"):
        await run_eagerly(node)
    assert node.log == [0, 1, 2, 3]


@LIMITS
async def test_siblings_are_cancelled_and_awaited(limit: int | None):
    class Fails(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise KeyError("own error")
            return await super().exec_async(item)

    node = Fails(4, limit=limit)
    with pytest.raises(KeyError, match="own error"):
        await run_eagerly(node)
    assert node.log == ["start 0", "cancelled 0"]


async def test_a_pause_lets_those_that_run_end():
    class Asks(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                self.gates[0].set()
                raise Pause
            return await super().exec_async(item)

    node = Asks(4)
    with pytest.raises(Pause):
        await run_eagerly(node)
    assert node.log == ["start 0", "end 0"]
