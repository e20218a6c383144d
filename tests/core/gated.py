"""A batch whose items wait for their gates, and the limits and sources to try it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pocketflow as pf

LIMITS = pytest.mark.parametrize("limit", [None, 2, 3, 100])
SOURCES = pytest.mark.parametrize("source", ["list", "iterator", "async iterable"])


class Gated(pf.AsyncParallelBatchNode):
    """Runs range(n); each item waits for its gate, and the log tells who did what."""

    source = "list"

    def __init__(self, n: int, *, limit: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n, self.max_concurrency, self.log = n, limit, []
        self.gates = [asyncio.Event() for _ in range(n)]

    async def prep_async(self, shared: Any) -> Any:
        async def items() -> AsyncIterator[int]:
            for item in range(self.n):
                yield item

        numbers = list(range(self.n))
        return {"list": numbers, "iterator": iter(numbers), "async iterable": items()}[self.source]

    async def exec_async(self, item: int) -> Any:
        self.log.append(f"start {item}")
        try:
            await self.gates[item].wait()
        except asyncio.CancelledError:
            for _ in range(5 * item + 1):  # cleaning up takes the later items longer
                await asyncio.sleep(0)
            self.log.append(f"cancelled {item}")
            raise
        self.log.append(f"end {item}")
        return item

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.log)


def alone() -> bool:
    """Whether nothing is left but the test itself."""
    return asyncio.all_tasks() == {asyncio.current_task()}


class FailingAt1(Gated):
    """Item 1 fails when its gate opens."""

    async def exec_async(self, item: int) -> Any:
        result = await super().exec_async(item)
        if item == 1:
            raise KeyError("own error")
        return result


class Pause(BaseException):
    """What stops a run and is no error, such as a question to a person."""
