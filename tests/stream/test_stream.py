"""Async generators, `emit` and `flow.stream`: every event live, and nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import pocketflow as pf


class Tokens(pf.AsyncNode):
    """Yields the words of a text, then what it was."""

    name = "tokens"

    def __init__(self, text: str = "to be or") -> None:
        super().__init__()
        self.text = text

    async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
        for word in self.text.split():
            yield word
        yield {"type": "done", "text": self.text}

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["result"] = exec_res


async def events_of(node: Any, shared: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
    async with contextlib.aclosing(node.stream({} if shared is None else shared, **kwargs)) as events:
        return [event async for event in events]


async def test_the_result_of_a_generator_is_its_done_event_without_the_type():
    shared: dict[str, Any] = {}
    await Tokens().run_async(shared)
    assert shared["result"] == {"text": "to be or"}


async def test_without_a_done_event_the_result_is_the_list_of_what_was_yielded():
    class Plain(Tokens):
        stream_end_type = "complete"

    shared: dict[str, Any] = {}
    await Plain("a b").run_async(shared)
    assert shared["result"] == ["a", "b", {"type": "done", "text": "a b"}]


async def test_a_stream_gives_every_event_with_node_and_path_in_order():
    events = await events_of(pf.AsyncFlow(Tokens("to be")))
    assert events[-1].pop("seconds") >= 0
    place = {"node": "tokens", "path": "AsyncFlow/0:tokens"}
    assert events == [
        {"type": "node_start", **place},
        {"type": "chunk", "chunk": "to", **place},
        {"type": "chunk", "chunk": "be", **place},
        {"type": "done", "text": "to be", **place},
        {"type": "node_end", "action": None, **place},
    ]
    assert json.loads(json.dumps(events)) == events


async def test_the_items_of_a_batch_are_numbered_and_interleave_as_they_happen():
    class Two(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return "ab"

        async def exec_async(self, item: str) -> AsyncIterator[Any]:
            for n in range(2):
                await barrier.wait()
                yield f"{item}{n}"

    barrier = asyncio.Barrier(2)
    chunks = [(event["item"], event["chunk"]) for event in await events_of(Two()) if event["type"] == "chunk"]
    assert {chunk for _, chunk in chunks[:2]} == {"a0", "b0"}
    assert {item for item, chunk in chunks if chunk.startswith("a")} == {0}


async def test_sync_nodes_and_other_threads_emit_into_the_stream_too():
    class Sync(pf.Node):
        def prep(self, shared: Any) -> Any:
            pf.emit({"type": "status", "status": "reading"})

    class Thread(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.to_thread(pf.emit, {"type": "progress", "done": 1})

    first = Sync()
    first >> Thread()
    types = [event["type"] for event in await events_of(pf.AsyncFlow(first))]
    assert types == ["node_start", "status", "node_end", "node_start", "progress", "node_end"]


async def test_retries_and_the_error_are_told_once_and_then_raised():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError(self.cur_retry)

    seen = []
    with pytest.raises(ValueError, match="1"):  # noqa: PT012  the loop is what raises
        async for event in pf.AsyncFlow(pf.AsyncFlow(Fails(max_retries=2))).stream({}):
            seen.append(event)
    assert [event["type"] for event in seen] == ["node_start", "retry", "error"]
    assert (seen[1]["attempt"], seen[1]["wait"], seen[1]["error"]) == (0, 0, "ValueError(0)")
    assert (seen[2]["node"], seen[2]["error"]) == ("Fails", "ValueError(1)")


async def test_a_generator_that_fails_is_tried_again_from_its_start():
    class Flaky(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            yield f"try {self.cur_retry}"
            if self.cur_retry == 0:
                raise ValueError("once")

    events = await events_of(Flaky(max_retries=2))
    assert [event.get("chunk", event["type"]) for event in events] == [
        "node_start",
        "try 0",
        "retry",
        "try 1",
        "node_end",
    ]


@pytest.mark.parametrize("buffer", [1, 3])
async def test_a_slow_consumer_holds_a_generator_back(buffer: int):
    class Endless(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            while True:
                made.append(1)
                yield "x"

    made: list[int] = []
    async with contextlib.aclosing(Endless().stream({}, buffer=buffer)) as events:
        for taken in range(5):
            await anext(events)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(made) <= taken + buffer  # node_start was taken first
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_buffer_below_1_is_refused():
    with pytest.raises(ValueError, match="buffer must be at least 1, not 0"):
        await events_of(Tokens(), buffer=0)


class Waits(pf.AsyncNode):
    """Emits once, waits for ever, and takes a while to clean up."""

    async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
        try:
            yield "started"
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.cleaned.set()

    def __init__(self) -> None:
        super().__init__()
        self.cleaned = asyncio.Event()


async def test_closing_the_stream_cancels_the_run_and_waits_for_it():
    node = Waits()
    async with contextlib.aclosing(pf.AsyncFlow(node).stream({})) as events:
        async for event in events:
            if event["type"] == "chunk":
                break
    assert node.cleaned.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_consumer_leaves_nothing_running():
    async def consume() -> None:
        async with contextlib.aclosing(node.stream({})) as events:
            async for _ in events:
                started.set()

    node, started = Waits(), asyncio.Event()
    consumer = asyncio.create_task(consume())
    await started.wait()
    await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert node.cleaned.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_bare_break_cancels_the_run_soon_after():
    node = Waits()
    async for event in node.stream({}):
        if event["type"] == "chunk":
            break
    gc.collect()
    await asyncio.wait_for(node.cleaned.wait(), 30)


async def test_an_early_close_of_a_run_that_failed_is_quiet():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError("never taken")

    events = Fails().stream({})
    await anext(events)
    await asyncio.sleep(0)
    await events.aclose()


async def test_an_exec_async_that_is_no_coroutine_is_told_what_to_write():
    class Wrong(pf.AsyncNode):
        def exec_async(self, prep_res: Any) -> Any:
            return 5

    with pytest.raises(TypeError, match=r"Wrong.exec_async returned 5: write it as `async def`"):
        await Wrong().run_async({})


async def test_an_exec_async_may_return_any_awaitable_or_async_iterator():
    class Future(pf.AsyncNode):
        def exec_async(self, prep_res: Any) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_result("later")
            return future

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    class Iterator(Future):
        def exec_async(self, prep_res: Any) -> Any:
            return Countdown()

    class Countdown:
        n = 3

        def __aiter__(self) -> Countdown:
            return self

        async def __anext__(self) -> int:
            self.n -= 1
            if self.n < 0:
                raise StopAsyncIteration
            return self.n

    assert await Future().run_async({}) == "later"
    assert await Iterator().run_async({}) == [2, 1, 0]


async def test_a_hook_that_fails_while_it_holds_back_is_blamed_and_not_retried():
    class Holds(pf.Hook):
        def on_event(self, step: pf.Step, event: dict[str, Any]) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(ValueError("of the hook"))
            return future

    node = Tokens()
    node.max_retries = 3
    with pytest.raises(ValueError, match="of the hook") as caught, pf.hooked(Holds()):
        await node.run_async({})
    assert "raised by the hook" in "\n".join(caught.value.__notes__)


async def test_of_branches_that_fail_together_the_error_that_is_raised_is_told_once():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await barrier.wait()
            raise ValueError("together")

    barrier, seen = asyncio.Barrier(3), []
    with pytest.raises(ValueError, match="together"):  # noqa: PT012  the loop is what raises
        async for event in pf.AsyncParallelFlow(Fails(), Fails(), Fails()).stream({}):
            seen.append(event)
    assert [event["node"] for event in seen if event["type"] == "error"] == ["Fails"]


async def test_an_error_that_the_run_recovers_from_is_not_told():
    class Inner(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError("inside")

    class Recovers(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            with contextlib.suppress(ValueError):
                await Inner().run_async({})

    assert "error" not in [event["type"] for event in await events_of(Recovers())]
