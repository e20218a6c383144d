"""Items that run at once: how many, in which order, and what happens when one fails or all are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import pocketflow as pf
from tests.core.gated import LIMITS, SOURCES, FailingAt1, Gated, Pause, alone
from tests.core.nodes import settle, soon

# How many, and in which order


async def test_without_a_limit_all_items_run_at_once():
    node, shared = Gated(50), {}
    run = asyncio.create_task(node.run_async(shared))
    await settle()
    assert node.log == [f"start {item}" for item in range(50)]
    for gate in reversed(node.gates):
        gate.set()
    await soon(run)
    assert shared["results"] == list(range(50))


@pytest.mark.new
@SOURCES
async def test_at_most_max_concurrency_run_started_in_order_results_in_order(source: str):
    node, shared = Gated(5, limit=2), {}
    node.source = source
    run = asyncio.create_task(node.run_async(shared))
    for item in (1, 0, 2, 4, 3):
        await settle()
        assert node.count("start") - node.count("end") == min(2, 5 - node.count("end"))
        node.gates[item].set()
    await soon(run)
    assert [line for line in node.log if "start" in line] == [f"start {item}" for item in range(5)]
    assert shared["results"] == [0, 1, 2, 3, 4]


@pytest.mark.new
@SOURCES
async def test_items_of_all_lengths_start_in_order_too(source: str):
    class Some(Gated):
        async def exec_async(self, item: int) -> Any:
            self.log.append(item)
            running.add(item)
            assert len(running) <= 3
            for _ in range(item % 4):
                await asyncio.sleep(0)
            running.remove(item)
            return -item

    running: set[int] = set()
    node, shared = Some(20, limit=3), {}
    node.source = source
    await soon(node.run_async(shared))
    assert node.log == list(range(20))
    assert shared["results"] == [-item for item in range(20)]


@pytest.mark.new
async def test_with_a_limit_many_items_do_not_cost_many_tasks():
    class Many(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(1000)

        async def exec_async(self, item: int) -> Any:
            tasks.append(len(asyncio.all_tasks()))
            await asyncio.sleep(0)

    tasks: list[int] = []
    await Many(max_concurrency=10).run_async({})
    assert max(tasks) <= 11  # the workers, and this test


@pytest.mark.new
async def test_with_a_limit_an_iterator_is_pulled_as_items_are_needed():
    class Lazy(Gated):
        async def prep_async(self, shared: Any) -> Any:
            def items() -> Iterator[int]:
                for item in range(4):
                    self.log.append(f"pull {item}")
                    yield item

            return items()

    node = Lazy(4, limit=2)
    run = asyncio.create_task(node.run_async({}))
    await settle()
    assert node.log == ["pull 0", "start 0", "pull 1", "start 1"]
    node.gates[1].set()
    await settle()
    assert node.log[4:] == ["end 1", "pull 2", "start 2"]
    for gate in node.gates:
        gate.set()
    await soon(run)


@pytest.mark.new
async def test_what_claims_to_be_empty_and_is_not_loses_no_item():
    class Table:
        """As a data frame without rows: it is iterated over its columns."""

        def __len__(self) -> int:
            return 0

        def __iter__(self) -> Iterator[str]:
            return iter("ab")

    class Columns(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return Table()

        async def exec_async(self, item: str) -> Any:
            return item

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert await Columns(max_concurrency=2).run_async({}) == ["a", "b"]
    assert await Columns().run_async({}) == ["a", "b"]


@pytest.mark.new
async def test_a_limited_batch_flow_keeps_its_limit_and_its_order():
    class Wait(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            log.append(self.params["n"])
            running.append(self.params["n"])
            most.append(len(running))
            await settle()
            running.remove(self.params["n"])

    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(6)]

    log: list[int] = []
    running: list[int] = []
    most: list[int] = []
    await soon(Each(Wait(), max_concurrency=2).run_async({}))
    assert max(most) == 2
    assert log == list(range(6))


async def test_the_entries_of_a_parallel_flow_run_at_once():
    class Meet(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await barrier.wait()

    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(4)]

    barrier = asyncio.Barrier(4)
    await soon(Each(Meet()).run_async({}))


# max_concurrency


@pytest.mark.new
@pytest.mark.parametrize("make", ["AsyncParallelBatchNode", "AsyncParallelBatchFlow", "AsyncParallelFlow"])
@pytest.mark.parametrize("value", [0, -2])
def test_a_limit_below_1_is_refused(make: str, value: int):
    with pytest.raises(ValueError, match=f"{make}: max_concurrency must be at least 1, not {value}"):
        getattr(pf, make)(max_concurrency=value)


@pytest.mark.new
@pytest.mark.parametrize("value", [2.5, len, "2"], ids=repr)
def test_a_limit_is_a_whole_number(value: Any):
    with pytest.raises(ValueError, match="max_concurrency must be at least 1, not"):
        pf.AsyncParallelBatchNode(max_concurrency=value)


@pytest.mark.new
async def test_a_limit_of_the_class_is_checked_at_the_run_at_the_latest():
    class Wrong(pf.AsyncParallelBatchNode):
        max_concurrency = 1

    node = Wrong()
    Wrong.max_concurrency = 0
    with pytest.raises(ValueError, match="Wrong: max_concurrency must be at least 1, not 0"):
        await pf.AsyncFlow(node).run_async({})


@pytest.mark.new
def test_the_keyword_wins_over_the_class_attribute():
    class Two(pf.AsyncParallelBatchNode):
        max_concurrency = 2

    assert Two().max_concurrency == 2
    assert Two(max_concurrency=3).max_concurrency == 3
    assert Two(max_concurrency=None).max_concurrency is None


async def test_a_max_concurrency_that_is_a_semaphore_is_the_users_own():
    class Own(Gated):
        async def exec_async(self, item: int) -> Any:
            async with self.max_concurrency:
                return item

    node, shared = Own(4), {}
    node.max_concurrency = asyncio.Semaphore(2)
    await soon(node.run_async(shared))
    assert shared["results"] == [0, 1, 2, 3]


# One that fails


@pytest.mark.fixed
@LIMITS
@SOURCES
async def test_when_one_item_fails_its_siblings_are_cancelled_and_awaited(limit: int | None, source: str):
    node, shared = FailingAt1(3, limit=limit), {}
    node.source = source
    run = asyncio.create_task(node.run_async(shared))
    await settle()
    node.gates[1].set()
    with pytest.raises(KeyError, match="own error"):
        await soon(run)
    assert node.log[-1].startswith("cancelled")
    assert node.count("start") == node.count("cancelled") + 1
    assert shared == {}
    assert alone()


@pytest.mark.new
@SOURCES
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_nothing_is_started_after_a_failure(limit: int, source: str):
    class Fails(Gated):
        async def exec_async(self, item: int) -> Any:
            self.log.append(item)
            if item == 3:
                raise KeyError("own error")

    node = Fails(200, limit=limit)
    node.source = source
    with pytest.raises(KeyError, match="own error"):
        await soon(node.run_async({}))
    assert node.log == [0, 1, 2, 3]


@pytest.mark.fixed
@SOURCES
async def test_without_a_limit_what_has_not_begun_never_begins_after_a_failure(source: str):
    class Fails(Gated):
        async def exec_async(self, item: int) -> Any:
            self.log.append(item)
            if item == 3:
                raise KeyError("own error")

    node = Fails(200)
    node.source = source
    with pytest.raises(KeyError, match="own error"):
        await soon(node.run_async({}))
    await settle()
    assert node.log == [0, 1, 2, 3]


@pytest.mark.new
@pytest.mark.parametrize("limit", [1, 2])
async def test_an_endless_source_ends_with_the_first_failure(limit: int):
    class Endless(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return iter(int, 1)

        async def exec_async(self, item: int) -> Any:
            done.append(item)
            if len(done) == 100:
                raise KeyError("own error")

    done: list[int] = []
    with pytest.raises(KeyError, match="own error"):
        await Endless(max_concurrency=limit).run_async({})
    assert len(done) == 100


@pytest.mark.fixed
@LIMITS
async def test_a_failure_stops_an_async_iterable_that_waits_for_its_next_item(limit: int | None):
    class Feed(pf.AsyncParallelBatchNode):
        max_concurrency = limit

        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                yield 1
                await asyncio.Event().wait()

            return items()

        async def exec_async(self, item: int) -> Any:
            raise KeyError("own error")

    with pytest.raises(KeyError, match="own error"):
        await soon(Feed().run_async({}))
    assert alone()


async def pages(log: list[str]) -> AsyncIterator[int]:
    try:
        for page in range(9):
            yield page
    finally:
        log.append("closed")


class Pages:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __aiter__(self) -> AsyncIterator[int]:
        return pages(self.log)


@pytest.mark.fixed
@pytest.mark.parametrize("source", [pages, Pages], ids=["generator", "iterable"])
@pytest.mark.parametrize("base", ["AsyncBatchNode", "AsyncParallelBatchNode"])
async def test_the_async_generator_that_items_come_from_is_closed_when_one_fails(base: str, source: Any):
    class Fails(getattr(pf, base)):  # type: ignore[misc]  # both bases share one body
        max_concurrency = 2

        async def prep_async(self, shared: Any) -> Any:
            return source(log)

        async def exec_async(self, item: Any) -> Any:
            raise KeyError("own error")

    log: list[str] = []
    with pytest.raises(KeyError, match="own error"):
        await soon(Fails().run_async({}))
    assert log == ["closed"]


async def test_of_several_that_fail_together_one_error_leaves_and_no_group():
    class Fail(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(3)

        async def exec_async(self, item: int) -> Any:
            await barrier.wait()
            raise KeyError(item)

    barrier = asyncio.Barrier(3)
    with pytest.raises(KeyError):
        await soon(Fail().run_async({}))
    await settle()
    assert alone()


@pytest.mark.fixed
async def test_after_a_failure_nothing_of_the_batch_touches_shared():
    class Write(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            if self.params["n"] == 0:
                raise KeyError("own error")
            await settle()

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["written"] = self.params["n"]

    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(5)]

    shared: dict[str, Any] = {}
    with pytest.raises(KeyError, match="own error"):
        await soon(Each(Write()).run_async(shared))
    await settle()
    assert shared == {}


async def test_an_error_that_the_fallback_handles_stops_nobody():
    class Handled(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise KeyError
            return await super().exec_async(item)

        async def exec_fallback_async(self, item: Any, exc: Exception) -> Any:
            return "fallback"

    node, shared = Handled(3), {}
    for gate in node.gates:
        gate.set()
    await soon(node.run_async(shared))
    assert shared["results"] == [0, "fallback", 2]


# Cancelled from outside


@LIMITS
@SOURCES
@pytest.mark.fixed
async def test_cancellation_reaches_every_item_and_waits_for_it(limit: int | None, source: str):
    node = Gated(3, limit=limit)
    node.source = source
    run = asyncio.create_task(pf.AsyncFlow(node).run_async({}))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert node.count("cancelled") == node.count("start") == min(limit or 3, 3)
    assert alone()


@pytest.mark.parametrize("base", [pf.AsyncNode, pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
async def test_a_cancellation_leaves_with_its_message(base: Any):
    class Waits(base):  # type: ignore[misc]  # one of three
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2]

        async def exec_async(self, item: Any) -> Any:
            await asyncio.Event().wait()

    run = asyncio.create_task(pf.AsyncFlow(Waits()).run_async({}))
    await settle()
    run.cancel("the server stops")
    with pytest.raises(asyncio.CancelledError, match="the server stops"):
        await soon(run)


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("base", [pf.AsyncNode, pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
async def test_a_task_group_that_fails_inside_an_item_is_an_error_like_any_other(base: Any, limit: int | None):
    """Until Python 3.13 it leaves the task that it failed in as one that was asked to cancel."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("of a task")

    class Groups(base):  # type: ignore[misc]  # one of three
        max_concurrency = limit

        async def prep_async(self, shared: Any) -> Any:
            return ["a"]

        async def exec_async(self, item: Any) -> Any:
            tries.append(item)
            if len(tries) in (1, 3):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
            return "done"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["got"] = exec_res

    tries, shared = list[Any](), dict[str, Any]()
    await soon(asyncio.create_task(pf.AsyncFlow(Groups(max_retries=2)).run_async(shared)))
    assert shared["got"] in ("done", ["done"])
    with pytest.raises(ExceptionGroup):
        await soon(asyncio.create_task(pf.AsyncFlow(Groups()).run_async({})))


async def test_without_a_limit_what_was_just_started_is_cancelled_at_its_first_wait():
    class Begins(Gated):
        async def prep_async(self, shared: Any) -> Any:
            asyncio.get_running_loop().call_soon(run.cancel)
            return range(60)

    node = Begins(60)
    run = asyncio.create_task(node.run_async({}))
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert node.count("start") == node.count("cancelled")
    assert node.count("end") == 0
    assert alone()


@pytest.mark.new
async def test_nothing_is_started_after_a_cancellation():
    class Cancels(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(100)

        async def exec_async(self, item: int) -> Any:
            begun.append(item)
            if item == 4:
                run.cancel()
            if item % 2:
                await asyncio.sleep(0)

    begun: list[int] = []
    run = asyncio.create_task(Cancels(max_concurrency=3).run_async({}))
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert begun == [0, 1, 2, 3, 4]


@pytest.mark.fixed
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_further_cancellation_leaves_no_item_behind_and_does_not_interrupt_its_cleaning_up(times: int):
    class Cleans(Gated):
        async def exec_async(self, item: int) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                await self.gates[item].wait()
                self.log.append(f"cleaned {item}")

    node = Cleans(2)
    run = asyncio.create_task(node.run_async({}))
    for _ in range(times):
        await settle()
        run.cancel()
    await settle()
    node.gates[0].set()
    await settle()
    assert not run.done()
    node.gates[1].set()
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert node.log == ["cleaned 0", "cleaned 1"]
    assert alone()


@pytest.mark.parametrize("failure_first", [True, False])
@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_where_a_failure_and_a_cancellation_meet_cancellation_wins(failure_first: bool, limit: int | None):
    """So that a retry around the batch does not swallow it."""

    class Batch(FailingAt1):
        async def exec_async(self, item: int) -> Any:
            await self.gates[1].wait()
            raise KeyError("own error")

    class Outer(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            tries.append(1)
            await batch.run_async({})

    tries: list[int] = []
    batch = Batch(2, limit=limit)
    run = asyncio.create_task(Outer(max_retries=3).run_async({}))
    await settle()
    loop = asyncio.get_running_loop()
    steps = [batch.gates[1].set, run.cancel]
    for step in steps if failure_first else reversed(steps):
        loop.call_soon(step)
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert tries == [1]


@pytest.mark.fixed
async def test_a_cancellation_at_any_turn_of_a_failing_batch_is_never_lost():
    class Batch(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(3)

        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise KeyError("own error")
            await asyncio.Event().wait()

    class Outer(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await Batch().run_async({})

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
            await asyncio.Event().wait()

    for turns in range(8):
        run = asyncio.create_task(Outer().run_async({}))
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(run)


async def test_a_time_out_around_a_flow_is_a_time_out():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await pf.AsyncFlow(Gated(3, limit=2)).run_async({})


# Pauses


@pytest.mark.new
@pytest.mark.parametrize("limit", [None, 2])
async def test_a_pause_lets_the_calls_beside_it_end_and_begins_nothing_new(limit: int | None):
    class Asks(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                self.log.append("pause")
                raise Pause("a question")
            return await super().exec_async(item)

    node, shared = Asks(4, limit=limit), {}
    run = asyncio.create_task(node.run_async(shared))
    await settle()
    assert node.log == ["start 0", "pause"]
    assert not run.done()
    node.gates[0].set()
    with pytest.raises(Pause, match="a question"):
        await soon(run)
    assert node.log == ["start 0", "pause", "end 0"]
    assert shared == {}


@pytest.mark.new
async def test_a_pause_that_others_wait_for_can_still_be_cancelled():
    class Asks(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise Pause
            return await super().exec_async(item)

    node = Asks(2)
    run = asyncio.create_task(node.run_async({}))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(run)
    assert node.log == ["start 0", "cancelled 0"]


@pytest.mark.new
async def test_a_pause_of_a_branch_lets_the_other_branches_end():
    class Asks(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await begun.wait()
            raise Pause

    class Works(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            begun.set()
            await settle()

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["worked"] = True

    begun, shared = asyncio.Event(), {}
    with pytest.raises(Pause):
        await soon(pf.AsyncParallelFlow(Asks(), Works()).run_async(shared))
    assert shared == {"worked": True}


# Plain Python around the call


async def test_one_semaphore_limits_several_nodes_flows_and_runs():
    class Calls(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            async with slots:
                running.append(self)
                most.append(len(running))
                await settle()
                running.remove(self)

    class CallsMany(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(10)

        async def exec_async(self, item: int) -> Any:
            await Calls.exec_async(self, item)

    slots = asyncio.Semaphore(3)
    running: list[Any] = []
    most: list[int] = []
    nodes = [pf.AsyncFlow(Calls()), Calls(), CallsMany(), pf.AsyncFlow(CallsMany())]
    await soon(asyncio.gather(*(node.run_async({}) for node in nodes * 2)))
    assert max(most) == 3
    assert len(most) == 2 * 22


async def test_a_time_out_of_each_attempt_is_an_error_of_that_attempt():
    class Slow(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            tries.append(1)
            async with asyncio.timeout(0 if len(tries) < 3 else None):
                await asyncio.sleep(0)
                return "in time"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    tries: list[int] = []
    assert await soon(Slow(max_retries=3).run_async({})) == "in time"
    assert len(tries) == 3


async def test_an_attempt_that_waits_for_a_slot_can_be_cancelled_and_leaves_the_slots_whole():
    class Calls(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(5)

        async def exec_async(self, item: int) -> Any:
            async with slots:
                await asyncio.Event().wait()

    slots = asyncio.Semaphore(2)
    run = asyncio.create_task(Calls().run_async({}))
    await settle()
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await soon(run)
    await soon(asyncio.gather(slots.acquire(), slots.acquire()))
    assert slots.locked()
