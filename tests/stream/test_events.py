"""Which events a stream gives, in which order, and what is in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step, emit
from pocketflow.stream import stream
from tests.stream.streams import Tokens, events_of, types


async def test_a_stream_gives_every_event_with_node_and_path_in_order():
    events = await events_of(pf.AsyncFlow(Tokens("to be")))
    seconds = [event.pop("seconds") for event in events if event["type"] == "node_end"]
    assert all(value >= 0 for value in seconds)
    flow, place = {"node": "AsyncFlow", "path": "AsyncFlow"}, {"node": "tokens", "path": "AsyncFlow/0:tokens"}
    assert events == [
        {"type": "node_start", "kind": "flow", **flow},
        {"type": "node_start", "kind": "node", **place},
        {"type": "chunk", "chunk": "to", **place},
        {"type": "chunk", "chunk": "be", **place},
        {"type": "done", "text": "to be", **place},
        {"type": "node_end", "kind": "node", "action": None, **place},
        {"type": "node_end", "kind": "flow", "action": None, **flow},
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
    events = await events_of(Two())
    chunks = [(event["item"], event["chunk"]) for event in events if event["type"] == "chunk"]
    assert {chunk for _, chunk in chunks[:2]} == {"a0", "b0"}
    assert {item for item, chunk in chunks if chunk.startswith("a")} == {0}
    items = [event for event in events if event["type"].startswith("item")]
    assert sorted((event["type"], event["item"]) for event in items) == [
        ("item_end", 0),
        ("item_end", 1),
        ("item_start", 0),
        ("item_start", 1),
    ]
    assert {(event["node"], event["path"]) for event in items} == {("Two", "Two")}
    assert all(("seconds" in event) == (event["type"] == "item_end") for event in items)


async def test_entries_of_a_batch_flow_and_branches_are_items():
    class Each(pf.AsyncBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{}, {}]

    flow = Each(pf.Node())
    flow >> [pf.Node(), pf.Node()]
    events = await events_of(pf.AsyncFlow(flow))
    items = [(event["type"], event["path"], event["item"]) for event in events if event["type"] == "item_start"]
    assert items == [
        ("item_start", "AsyncFlow/0:Each", 0),
        ("item_start", "AsyncFlow/0:Each", 1),
        ("item_start", "AsyncFlow/1:AsyncParallelFlow", 0),
        ("item_start", "AsyncFlow/1:AsyncParallelFlow", 1),
    ]


async def test_sync_nodes_and_other_threads_emit_into_the_stream_too():
    class Sync(pf.Node):
        def prep(self, shared: Any) -> Any:
            emit({"type": "status", "status": "reading"})

    class Thread(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.to_thread(emit, {"type": "progress", "done": 1})

    first = Sync()
    first >> Thread()
    inner = types(await events_of(pf.AsyncFlow(first)))[1:-1]
    assert inner == ["node_start", "status", "node_end", "node_start", "progress", "node_end"]


async def test_a_sync_flow_runs_in_a_thread_and_can_be_streamed():
    class Says(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            emit({"type": "status"})

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["done"] = True

    shared: dict[str, Any] = {}
    assert types(await events_of(pf.Flow(Says()), shared))[1:-1] == ["node_start", "status", "node_end"]
    assert shared == {"done": True}


async def test_a_stop_iteration_ends_the_stream_of_a_sync_flow_as_any_error_does():
    class First(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            return next(iter(()))

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await events_of(pf.Flow(First()))


async def test_any_async_function_of_shared_can_be_streamed():
    async def run(shared: Any) -> None:
        await Tokens("a").run_async(shared)
        await Tokens("b").run_async(shared)

    for function in (run, lambda shared: run(shared)):
        chunks = [event["chunk"] for event in await events_of(function) if event["type"] == "chunk"]
        assert chunks == ["a", "b"]


@pytest.mark.parametrize("flow", [None, 5, len, Tokens], ids=repr)
async def test_what_cannot_be_run_is_refused_with_what_to_write(flow: Any):
    with pytest.raises(TypeError, match="write a flow, a node, or an async function of shared"):
        await events_of(flow)


class Restores(Hook):
    """Skips the steps of a kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_start(self, step: Step) -> Any:
        return Skip("restored") if step.kind == self.kind else None


class Two(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return "ab"


async def test_items_that_a_hook_skips_are_told_as_skipped():
    with Restores("exec"):
        ends = [event for event in await events_of(Two()) if event["type"].endswith("_end")]
    skipped = [(event["type"], event.get("skipped")) for event in ends]
    assert skipped == [("item_end", True), ("item_end", True), ("node_end", None)]


async def test_a_visit_that_a_hook_skips_is_told_as_skipped():
    with Restores("node"):
        events = await events_of(Two())
    assert [(event["type"], event.get("skipped")) for event in events] == [("node_start", None), ("node_end", True)]
    assert events[-1]["action"] == "restored"


async def test_retries_and_the_error_are_told_once_and_then_raised():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError(self.cur_retry)

    seen: list[dict[str, Any]] = []
    with pytest.raises(ValueError, match="1"):  # noqa: PT012  the loop is what raises
        async with aclosing(stream(pf.AsyncFlow(pf.AsyncFlow(Fails(max_retries=2))), {})) as events:
            async for event in events:
                seen.append(event)
    assert types(seen) == ["node_start", "node_start", "node_start", "node_retry", "node_error"]
    assert (seen[3]["attempt"], seen[3]["wait"], seen[3]["error"]) == (0, 0, "ValueError(0)")
    assert (seen[4]["node"], seen[4]["error"]) == ("Fails", "ValueError(1)")
    assert seen[4]["path"] == "AsyncFlow/0:AsyncFlow/0:Fails"


async def test_an_error_event_of_the_users_own_is_not_doubled():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
            yield {"type": "error", "message": "of the user"}
            raise ValueError("raised")

    seen: list[dict[str, Any]] = []
    with pytest.raises(ValueError, match="raised"):  # noqa: PT012  the loop is what raises
        async for event in stream(Fails(), {}):
            seen.append(event)
    assert types(seen) == ["node_start", "error", "node_error"]
    assert "message" in seen[1]


async def test_the_item_that_failed_is_named():
    class Fails(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(3)

        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise ValueError("no")

    seen: list[dict[str, Any]] = []
    with pytest.raises(ValueError, match="no"):  # noqa: PT012  the loop is what raises
        async for event in stream(pf.AsyncFlow(Fails()), {}):
            seen.append(event)
    assert [(event["node"], event["item"]) for event in seen if event["type"] == "node_error"] == [("Fails", 1)]


async def test_of_branches_that_fail_together_one_error_is_told():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await barrier.wait()
            raise ValueError("together")

    barrier, seen = asyncio.Barrier(3), []
    with pytest.raises(ValueError, match="together"):  # noqa: PT012  the loop is what raises
        async for event in stream(pf.AsyncParallelFlow(Fails(), Fails(), Fails()), {}):
            seen.append(event)
    assert [event["node"] for event in seen if event["type"] == "node_error"] == ["Fails"]


async def test_an_error_that_the_run_recovers_from_is_not_told():
    class Inner(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError("inside")

    class Recovers(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            with contextlib.suppress(ValueError):
                await Inner().run_async({})

    assert "node_error" not in types(await events_of(Recovers()))


async def test_the_events_of_a_stream_inside_of_a_stream_reach_both():
    class Outer(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            inner.extend(await events_of(Tokens("a b"), buffer=1))

    inner: list[dict[str, Any]] = []
    outer = await events_of(pf.AsyncFlow(Outer()), buffer=1)
    for events in (inner, outer):
        assert [event["chunk"] for event in events if event["type"] == "chunk"] == ["a", "b"]
