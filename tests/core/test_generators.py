"""`exec_async` as an async generator: what its result is, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import settle, soon

pytestmark = pytest.mark.new


class Result(pf.AsyncNode):
    """Yields its values; its action is the result of exec."""

    def __init__(self, *values: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = values

    async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
        for value in self.values:
            await asyncio.sleep(0)
            yield value

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return exec_res


USAGE = {"type": "usage", "input_tokens": 3}


@pytest.mark.parametrize(
    ("values", "result"),
    [
        (["a", {"type": "done", "text": "ab"}], {"text": "ab"}),
        (["a", "b"], ["a", "b"]),
        (["a", USAGE, "b"], ["a", "b"]),
        ([USAGE], []),
        ([], []),
        ([{"no type": 1}], [{"no type": 1}]),
        ([{"type": "done", "n": 1}, "late", {"type": "done", "n": 2}], {"n": 2}),
        ([{"type": "done"}], {}),
    ],
    ids=repr,
)
async def test_the_result_is_the_last_done_event_or_else_what_was_no_event(values: list[Any], result: Any):
    assert await Result(*values).run_async({}) == result


async def test_which_type_ends_a_stream_is_said_by_the_class():
    class Complete(Result):
        stream_end_type = "complete"

    assert await Complete("a", {"type": "done"}).run_async({}) == ["a"]
    assert await Complete("a", {"type": "complete", "n": 1}).run_async({}) == {"n": 1}


async def test_a_generator_that_fails_is_tried_again_from_its_start():
    class Flaky(Result):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            yield f"try {self.cur_retry}"
            if self.cur_retry == 0:
                raise ValueError("once")

    assert await Flaky(max_retries=2).run_async({}) == ["try 1"]


async def test_the_fallback_of_a_generator_gives_the_result():
    class Fails(Result):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            yield "lost"
            raise ValueError("always")

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
            return str(exc)

    assert await Fails(max_retries=2).run_async({}) == "always"


async def test_items_of_a_batch_may_be_generators():
    class Items(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return "ab"

        async def exec_async(self, item: str) -> AsyncIterator[Any]:
            for n in range(2):
                await asyncio.sleep(0)
                yield f"{item}{n}"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert await Items().run_async({}) == [["a0", "a1"], ["b0", "b1"]]


async def test_an_async_iterator_that_is_no_generator_will_do():
    class Countdown:
        n = 3

        def __aiter__(self) -> Countdown:
            return self

        async def __anext__(self) -> int:
            self.n -= 1
            if self.n < 0:
                raise StopAsyncIteration
            return self.n

    class Plain(Result):
        def exec_async(self, prep_res: Any) -> Any:
            return Countdown()

    assert await Plain().run_async({}) == [2, 1, 0]


async def test_a_generator_is_closed_when_its_run_is_cancelled():
    class Waits(Result):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            try:
                yield "begun"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                log.append("closed")

    log: list[str] = []
    run = asyncio.create_task(Waits().run_async({}))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert log == ["closed"]
