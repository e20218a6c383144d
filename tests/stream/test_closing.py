"""The end of a stream: nothing is left running, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from contextlib import aclosing
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import emit
from pocketflow.stream import stream
from tests.core.nodes import settle, soon
from tests.memory import memory
from tests.stream.streams import alone


class Waits(pf.AsyncNode):
    """Emits once, waits for ever, and takes a while to clean up."""

    async def exec_async(self, prep_res: Any) -> Any:
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
    async with aclosing(stream(pf.AsyncFlow(node), {})) as events:
        async for event in events:
            if event["type"] == "chunk":
                break
    assert node.cleaned.is_set()
    assert alone()


async def test_a_cancelled_consumer_leaves_nothing_running():
    async def consume() -> None:
        async with aclosing(stream(node, {})) as events:
            async for _ in events:
                started.set()

    node, started = Waits(), asyncio.Event()
    consumer = asyncio.create_task(consume())
    await soon(started.wait())
    await settle()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(consumer)
    assert node.cleaned.is_set()
    assert alone()


async def test_a_second_cancel_of_the_consumer_does_not_leave_the_run_behind():
    async def consume() -> None:
        async with aclosing(stream(Stubborn(), {})) as events:
            async for _ in events:
                pass

    class Stubborn(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                await may_end.wait()

    started, may_end = asyncio.Event(), asyncio.Event()
    consumer = asyncio.create_task(consume())
    await soon(started.wait())
    for _ in range(2):
        consumer.cancel()
        await settle()
    assert not consumer.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await soon(consumer)
    assert alone()


async def test_a_bare_break_cancels_the_run_soon_after():
    node = Waits()
    async for event in stream(node, {}):
        if event["type"] == "chunk":
            break
    gc.collect()
    await soon(node.cleaned.wait())


async def test_an_early_close_of_a_run_that_failed_is_quiet():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise ValueError("never taken")

    events = stream(Fails(), {})
    await anext(events)
    await settle()
    await events.aclose()
    gc.collect()
    await settle()


async def test_a_stream_that_is_never_begun_runs_nothing():
    class Never(pf.AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            pytest.fail("must not run")

    events = stream(Never(), {})
    await events.aclose()
    assert alone()


async def test_closing_waits_for_the_step_of_a_sync_flow_and_begins_no_other():
    class Works(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            begun.append(1)
            started.set()
            assert may_end.wait(30)
            ended.append(1)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "again"

    begun: list[int] = []
    ended: list[int] = []
    started, may_end = threading.Event(), threading.Event()
    node = Works()
    node - "again" >> node
    events = stream(pf.Flow(node), {})
    await anext(events)
    assert await asyncio.to_thread(started.wait, 30)
    closing = asyncio.create_task(events.aclose())
    await settle()
    assert not closing.done()
    may_end.set()
    await soon(closing)
    assert (begun, ended) == ([1], [1])


async def test_a_thread_that_is_held_back_is_let_go_when_the_stream_is_closed():
    class Works(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            for _ in range(100):
                emit({"type": "tick"})
            done.set()

    done = threading.Event()
    events = stream(pf.Flow(Works()), {}, buffer=2)
    for _ in range(3):
        await anext(events)
    await soon(events.aclose())
    assert done.wait(30)


@pytest.mark.usefixtures("traced")
async def test_what_a_sync_step_emits_after_the_close_is_not_kept():
    class Works(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            emit({"type": "started"})
            assert may_go_on.wait(30)
            before = memory()
            for n in range(1000):
                emit({"type": "tick", "n": n})
            grown.append(memory() - before)

    grown, may_go_on = list[int](), threading.Event()
    events = stream(pf.Flow(Works()), {})
    while (await anext(events))["type"] != "started":
        pass
    closing = asyncio.create_task(events.aclose())
    await settle()
    may_go_on.set()
    await soon(closing)
    assert grown[0] < 9_000


def test_a_thread_that_outlives_the_loop_of_the_stream_may_still_emit():
    class Starts(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            threads.append(threading.Thread(target=contextvars.copy_context().run, args=(emit_late,)))
            threads[0].start()

    def emit_late() -> None:
        assert over.wait(30)
        emit({"type": "late"})
        emitted.append("late")

    async def main() -> None:
        async with aclosing(stream(Starts(), {})) as events:
            async for _ in events:
                pass

    threads, emitted, over = list[threading.Thread](), list[str](), threading.Event()
    asyncio.run(main())
    over.set()
    threads[0].join(30)
    assert emitted == ["late"]


async def test_a_pause_reaches_the_consumer_after_the_events_before_it():
    class Pause(BaseException): ...

    class Asks(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await emit({"type": "pause"})
            raise Pause

    seen: list[str] = []
    with pytest.raises(Pause):  # noqa: PT012  the loop is what raises
        async for event in stream(pf.AsyncFlow(Asks()), {}):
            seen.append(event["type"])
    assert seen == ["node_start", "node_start", "pause"]


async def test_the_exit_of_a_consumer_by_its_own_error_closes_the_run():
    node = Waits()
    with contextlib.suppress(KeyError):
        async with aclosing(stream(node, {})) as events:
            async for event in events:
                if event["type"] == "chunk":
                    raise KeyError
    assert node.cleaned.is_set()
    assert alone()
