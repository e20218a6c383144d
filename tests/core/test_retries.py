"""Attempts, waits and fallbacks, and `cur_retry`."""

from __future__ import annotations

import asyncio
import contextvars
import math
import numbers
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import settle, soon
from tests.kits import SyncKit


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, in place of waiting."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(pf.time, "sleep", waits.append)
    monkeypatch.setattr(pf.asyncio, "sleep", sleep)
    return waits


class Results:
    """`post` leaves the results of exec in `shared["results"]`."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res


# Tries and the fallback


def test_retries_then_the_fallback_with_the_last_error(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise ValueError(len(tries))

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return str(exc)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["results"] = exec_res

    tries: list[int] = []
    shared: dict[str, Any] = {}
    kit.run(Fails(max_retries=3), shared)
    assert (len(tries), shared) == (3, {"results": "3"})


def test_without_a_fallback_the_last_error_leaves(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise ValueError(len(tries))

    tries: list[int] = []
    with pytest.raises(ValueError, match="2") as caught:
        kit.run(kit.Flow(Fails(max_retries=2)))
    assert caught.value.args == (2,)


def test_what_is_no_exception_is_not_tried_again(kit: SyncKit):
    class Stop(BaseException): ...

    class Stops(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise Stop

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            pytest.fail("no error")

    tries: list[int] = []
    with pytest.raises(Stop):
        kit.run(Stops(max_retries=3))
    assert tries == [1]


def test_constructors_take_retries_and_wait_by_position():
    for cls in (pf.Node, pf.BatchNode, pf.AsyncNode, pf.AsyncBatchNode, pf.AsyncParallelBatchNode):
        assert (cls(3, 0.5).max_retries, cls(3, 0.5).wait) == (3, 0.5)
        assert (cls().max_retries, cls().wait) == (1, 0)


async def test_every_item_of_a_parallel_batch_has_its_own_attempts():
    class Flaky(Results, pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(5)

        async def exec_async(self, item: int) -> Any:
            calls.append(item)
            await asyncio.sleep(0)
            raise ValueError(item)

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
            return f"fallback {prep_res}"

    calls: list[int] = []
    shared: dict[str, Any] = {}
    await Flaky(max_retries=3).run_async(shared)
    assert sorted(calls) == sorted([0, 1, 2, 3, 4] * 3)
    assert shared["results"] == [f"fallback {item}" for item in range(5)]


@pytest.mark.fixed
def test_a_thread_that_begins_costs_another_that_runs_the_node_nothing():
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(prep_res)
            if threading.current_thread() is late:
                begun.set()
                assert go_on.wait(30)
            elif len(tries) == 2:  # the last try of the first: another begins with its first
                late.start()
                assert begun.wait(30)
            raise ValueError("no")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return "fallback"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            results.append(exec_res)

    tries: list[Any] = []
    results: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()
    node = Fails(max_retries=2)
    late = threading.Thread(target=node.run, args=({},))
    node.run({})
    go_on.set()
    late.join(30)
    assert results == ["fallback", "fallback"]


@pytest.mark.fixed
async def test_two_runs_of_a_node_at_once_have_their_own_attempts():
    class Flaky(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            seen.append(self.cur_retry)
            await barrier.wait()
            assert self.cur_retry == seen[-1]
            raise ValueError

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
            seen.append(("fallback", self.cur_retry))

    seen: list[Any] = []
    barrier, node = asyncio.Barrier(2), Flaky(max_retries=2)
    await soon(asyncio.gather(node.run_async({}), node.run_async({})))
    assert seen == [0, 0, 1, 1, ("fallback", 1), ("fallback", 1)]


# Waits


@pytest.mark.parametrize("wait", [1.5, 2])
def test_a_wait_is_slept_between_two_tries_only(kit: SyncKit, slept: list[float], wait: float):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise ValueError("no")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return None

    kit.run(Fails(max_retries=3, wait=wait))
    assert slept == [wait, wait]


@pytest.mark.fixed
def test_wait_may_be_a_callable_of_attempt_and_error(kit: SyncKit, slept: list[float]):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise KeyError(len(tries))

    def wait(attempt: int, error: Exception) -> float:
        asked.append((attempt, error.args))
        return attempt + 0.5

    tries: list[int] = []
    asked: list[Any] = []
    with pytest.raises(KeyError, match="3"):
        kit.run(Fails(max_retries=3, wait=wait))
    assert asked == [(0, (1,)), (1, (2,))]
    assert slept == [0.5, 1.5]


@pytest.mark.fixed
def test_a_wait_of_none_gives_up_at_once(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise TypeError("a bug")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return "gave up"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    tries: list[int] = []
    assert kit.run(Fails(max_retries=5, wait=lambda attempt, error: None)) == "gave up"
    assert tries == [1]


@pytest.mark.fixed
@pytest.mark.parametrize("answer", [-1, "soon", math.nan, 1j], ids=repr)
def test_a_wait_that_answers_nonsense_is_an_error_that_names_node_and_value(kit: SyncKit, answer: Any):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise KeyError("first")

    with pytest.raises(ValueError, match="Fails: wait must be at least 0, not ") as caught:
        kit.run(Fails(max_retries=2, wait=lambda attempt, error: answer))
    assert repr(answer) in str(caught.value)


async def test_an_async_wait_leaves_the_loop_free(monkeypatch: pytest.MonkeyPatch):
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise ValueError("once")

    tries: list[int] = []
    monkeypatch.setattr(pf.time, "sleep", lambda seconds: pytest.fail("blocks the loop"))
    run = asyncio.create_task(Fails(max_retries=2, wait=600).run_async({}))
    await settle()
    assert (tries, run.done()) == ([1], False)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


# Settings


@pytest.mark.fixed
@pytest.mark.parametrize("value", [0, -1, math.nan, None, "3", 2.5, len], ids=repr)
def test_max_retries_is_a_whole_number_of_at_least_1(value: Any):
    with pytest.raises(ValueError, match="Node: max_retries must be at least 1, not ") as caught:
        pf.Node(max_retries=value)
    assert repr(value) in str(caught.value)


@pytest.mark.fixed
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, None, "1", 1j], ids=repr)
def test_a_wait_is_seconds_of_at_least_0(value: Any):
    with pytest.raises(ValueError, match="Node: wait must be at least 0, not ") as caught:
        pf.Node(wait=value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [True, 3])
def test_a_bool_is_a_number_as_everywhere_in_python(value: int):
    assert pf.Node(max_retries=value).max_retries == value


def test_a_number_of_another_library_is_a_number(kit: SyncKit, slept: list[float]):
    @numbers.Integral.register
    class Int64:
        """As NumPy has them: numbers that are neither int nor float."""

        def __init__(self, value: int) -> None:
            self.value = value

        def __index__(self) -> int:
            return self.value

        def compared(name: str) -> Any:
            return lambda self, other: getattr(self.value, name)(other)

        __eq__, __lt__, __le__, __gt__, __ge__, __sub__, __rsub__ = map(
            compared, ("__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__sub__", "__rsub__")
        )

    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            raise OSError

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any: ...

    tries: list[int] = []
    kit.run(Fails(max_retries=Int64(3), wait=Int64(2)))
    assert len(tries) == 3
    assert [wait.value for wait in slept] == [2, 2]


@pytest.mark.new
def test_a_setting_that_changes_between_two_runs_holds_from_the_next_attempt(kit: SyncKit):
    class Eager(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            self.max_retries = 4
            raise KeyError

    tries: list[int] = []
    with pytest.raises(KeyError):
        kit.run(Eager(max_retries=2))
    assert len(tries) == 4


# cur_retry


def test_cur_retry_counts_the_tries_of_a_sync_node_from_0():
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(self.cur_retry)
            raise ValueError

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            tries.append(("fallback", self.cur_retry))

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            tries.append(("post", self.cur_retry))

    tries: list[Any] = []
    pf.Flow(Fails(max_retries=3)).run({})
    assert tries == [0, 1, 2, ("fallback", 2), ("post", 2)]


def test_after_a_run_cur_retry_is_the_last_attempt():
    class Flaky(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            if self.cur_retry < 2:
                raise ValueError

    node = Flaky(max_retries=5)
    node.run({})
    assert node.cur_retry == 2
    node.run({})
    assert node.cur_retry == 2  # which began with 0 again


def test_each_item_of_a_batch_begins_with_attempt_0():
    class Flaky(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return "ab"

        def exec(self, item: str) -> Any:
            tries.append((item, self.cur_retry))
            if item == "a":
                raise ValueError

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any: ...

    tries: list[Any] = []
    Flaky(max_retries=2).run({})
    assert tries == [("a", 0), ("a", 1), ("b", 0)]


@pytest.mark.fixed
async def test_cur_retry_of_an_async_node_is_that_of_the_item_at_hand():
    class Flaky(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(4)

        async def exec_async(self, item: int) -> Any:
            before = self.cur_retry
            for _ in range(item + 1):
                await asyncio.sleep(0)
            tries.append((item, before, self.cur_retry))
            if before < item:
                raise ValueError

    tries: list[tuple[int, int, int]] = []
    await Flaky(max_retries=5).run_async({})
    assert sorted(tries) == [(item, retry, retry) for item in range(4) for retry in range(item + 1)]


def in_pool(function: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(30)


def in_bare_thread(function: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(30)
    return results[0]


def in_context(function: Any) -> Any:
    return in_pool(lambda: contextvars.copy_context().run(function))


@pytest.mark.parametrize("elsewhere", [in_pool, in_bare_thread, in_context])
def test_a_thread_that_a_sync_exec_starts_reads_the_attempt(elsewhere: Any):
    class Flaky(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            seen.append(elsewhere(lambda: self.cur_retry))
            if len(seen) < 3:
                raise ValueError

    seen: list[int] = []
    pf.Flow(Flaky(max_retries=3)).run({})
    assert seen == [0, 1, 2]


@pytest.mark.fixed
@pytest.mark.parametrize("way", ["to_thread", "run_in_executor"])
async def test_a_thread_that_an_async_exec_starts_reads_the_attempt(way: str):
    class Flaky(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            read = lambda: self.cur_retry  # noqa: E731
            loop = asyncio.get_running_loop()
            seen.append(await (asyncio.to_thread(read) if way == "to_thread" else loop.run_in_executor(None, read)))
            if len(seen) % 3:
                raise ValueError

    seen: list[int] = []
    node = Flaky(max_retries=3)
    await node.run_async({})
    await node.run_async({})
    assert seen == [0, 1, 2, 0, 1, 2]


def test_an_inner_run_leaves_the_attempt_of_the_outer_alone():
    class Inner(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            seen.append(("inner", self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError

    class Outer(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            Inner(max_retries=2).run({})
            pf.Flow(Inner(max_retries=2)).run({})
            seen.append(("outer", self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError

    seen: list[Any] = []
    Outer(max_retries=2).run({})
    inner = [("inner", 0), ("inner", 1)] * 2
    assert seen == [*inner, ("outer", 0), *inner, ("outer", 1)]


@pytest.mark.fixed
async def test_an_inner_run_leaves_the_attempt_of_an_async_outer_alone():
    class Inner(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            seen.append(("inner", self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError

    class Outer(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await Inner(max_retries=2).run_async({})
            await pf.AsyncFlow(Inner(max_retries=2)).run_async({})
            seen.append(("outer", self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError

    seen: list[Any] = []
    await Outer(max_retries=2).run_async({})
    inner = [("inner", 0), ("inner", 1)] * 2
    assert seen == [*inner, ("outer", 0), *inner, ("outer", 1)]


def test_an_init_may_set_cur_retry(kit: SyncKit):
    class Sets(kit.Node):
        def __init__(self) -> None:
            super().__init__(max_retries=2)
            self.cur_retry = 0

        def exec(self, prep_res: Any) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise ValueError

    tries: list[int] = []
    kit.run(Sets())
    assert len(tries) == 2


def test_a_node_made_while_another_is_tried_again_changes_nothing_of_it():
    class Sets(pf.Node):
        def __init__(self) -> None:
            super().__init__()
            self.cur_retry = 7

    class Outer(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            Sets()
            seen.append(self.cur_retry)
            if len(seen) == 1:
                raise ValueError

    seen: list[int] = []
    Outer(max_retries=2).run({})
    assert seen == [0, 1]


@pytest.mark.fixed
def test_each_item_of_an_own_async_loop_begins_with_attempt_0():
    class Own(pf.AsyncNode):
        async def _exec(self, items: Any) -> Any:
            return [await super(Own, self)._exec(item) for item in "ab"]

        async def exec_async(self, item: Any) -> Any:
            tries.append((item, self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError("once")

    tries: list[Any] = []
    asyncio.run(pf.AsyncFlow(Own(max_retries=2)).run_async({}))
    assert tries == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


@pytest.mark.fixed
def test_a_node_may_be_run_again_from_its_own_exec():
    """A node that divides its work calls itself; each level has attempts of its own."""

    class Halve(pf.Node):
        def prep(self, shared: Any) -> Any:
            return shared

        def exec(self, shared: Any) -> Any:
            if shared["n"] > 1:
                self.run({"n": shared["n"] // 2})
            tries.append(shared["n"])
            if tries.count(shared["n"]) == 1:
                raise ValueError

    tries: list[int] = []
    Halve(max_retries=2).run({"n": 4})
    assert tries.count(4) == 2
    assert set(tries) == {1, 2, 4}


async def test_an_async_node_may_be_run_again_from_its_own_exec():
    class Halve(pf.AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            return shared

        async def exec_async(self, shared: Any) -> Any:
            if shared["n"] > 1:
                await self.run_async({"n": shared["n"] // 2})
            tries.append(shared["n"])
            if tries.count(shared["n"]) == 1:
                raise ValueError

    tries: list[int] = []
    await soon(Halve(max_retries=2).run_async({"n": 4}))
    assert tries.count(4) == 2


def test_one_exception_object_raised_at_every_attempt_is_no_circle(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise error

    error = KeyError("always the same")
    with pytest.raises(KeyError) as caught:
        kit.run(Fails(max_retries=3))
    assert caught.value is error
    assert error.__context__ is None
