"""What PocketFlow 0.0.3 gets wrong: every test here fails under it and passes here."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import pocketflow as pf
from tests.kits import SyncKit


class Keep(pf.Node):
    """Leaves its word in `shared["said"]`."""

    def __init__(self, word: str = "kept", action: Any = None) -> None:
        super().__init__()
        self.word, self.action = word, action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.setdefault("said", []).append(self.word)
        return self.action


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


# Attempts


async def test_every_item_of_a_parallel_batch_has_its_own_attempts():
    class Flaky(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(5)

        async def exec_async(self, item: int) -> Any:
            calls.append((item, self.cur_retry))
            await asyncio.sleep(0)
            assert self.cur_retry == calls_of(item)[-1]
            raise ValueError(item)

        async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
            return f"fallback {prep_res}"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["results"] = exec_res

    def calls_of(item: int) -> list[int]:
        return [retry for called, retry in calls if called == item]

    calls: list[tuple[int, int]] = []
    shared: dict[str, Any] = {}
    await Flaky(max_retries=3).run_async(shared)
    assert [calls_of(item) for item in range(5)] == [[0, 1, 2]] * 5
    assert shared["results"] == [f"fallback {item}" for item in range(5)]


def test_threads_that_run_one_node_have_their_own_attempts():
    class Flaky(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            seen = self.cur_retry
            barrier.wait()
            assert self.cur_retry == seen
            seen_by.setdefault(threading.get_ident(), []).append(seen)
            raise ValueError("no")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            results.append(self.cur_retry)

    barrier, seen_by, results = threading.Barrier(3, timeout=30), {}, []
    node = Flaky(max_retries=4)
    threads = [threading.Thread(target=node.run, args=({},)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(seen_by.values()) == [[0, 1, 2, 3]] * 3
    assert results == [3, 3, 3]


# Settings


@pytest.mark.parametrize("value", [0, -1, math.nan, None, "3"])
def test_max_retries_below_1_is_refused_when_set_and_when_run(value: Any):
    with pytest.raises(ValueError, match=f"max_retries .* not {value!r}"):
        pf.Node(max_retries=value)
    node = Keep()
    node.max_retries = value
    with pytest.raises(ValueError, match=f"Keep: max_retries .* not {value!r}"):
        pf.Flow(node).run({})
    with pytest.raises(ValueError, match="max_retries"):
        node.run({})


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, None, "1"])
def test_a_negative_wait_is_refused(value: Any):
    with pytest.raises(ValueError, match=f"wait .* not {value!r}"):
        pf.Node(wait=value)


@pytest.mark.parametrize("value", [0, -2])
@pytest.mark.parametrize("make", ["AsyncParallelBatchNode", "AsyncParallelBatchFlow", "AsyncParallelFlow"])
def test_a_max_concurrency_below_1_is_refused(make: str, value: int):
    with pytest.raises(ValueError, match=f"{make}: max_concurrency .* not {value}"):
        getattr(pf, make)(max_concurrency=value)


async def test_a_max_concurrency_set_on_the_class_is_checked_at_the_run():
    class Wrong(pf.AsyncParallelBatchNode):
        max_concurrency = 1

    node = Wrong()
    Wrong.max_concurrency = 0
    with pytest.raises(ValueError, match="Wrong: max_concurrency"):
        await pf.AsyncFlow(node).run_async({})


def test_wait_may_be_a_callable_of_attempt_and_error(monkeypatch: pytest.MonkeyPatch):
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            raise KeyError(self.cur_retry)

    def wait(attempt: int, error: Exception) -> float:
        asked.append((attempt, error.args))
        return attempt + 0.5

    asked: list[Any] = []
    slept: list[float] = []
    monkeypatch.setattr(pf.time, "sleep", slept.append)
    with pytest.raises(KeyError):
        Fails(max_retries=3, wait=wait).run({})
    assert asked == [(0, (0,)), (1, (1,))]
    assert slept == [0.5, 1.5]


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


def test_a_wait_that_answers_nonsense_is_an_error_that_names_it(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise KeyError("first")

    with pytest.raises(ValueError, match="Fails: wait gave -1"):
        kit.run(Fails(max_retries=2, wait=lambda attempt, error: -1))


async def test_an_async_wait_leaves_the_loop_free(monkeypatch: pytest.MonkeyPatch):
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            if self.cur_retry == 0:
                raise ValueError("once")
            return await released.wait()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        released.set()

    slept: list[float] = []
    released = asyncio.Event()
    monkeypatch.setattr(pf.time, "sleep", lambda seconds: pytest.fail("blocks the loop"))
    monkeypatch.setattr(pf.asyncio, "sleep", sleep)
    await asyncio.wait_for(Fails(max_retries=2, wait=lambda attempt, error: 7).run_async({}), 30)
    assert slept == [7]


# What prep may return


def test_prep_may_return_none(kit: SyncKit):
    class Nothing(kit.BatchNode):
        def exec(self, item: Any) -> Any:
            pytest.fail("there is no item")

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["post"] = (prep_res, exec_res)

    for cls in (Nothing, *([] if kit.name != "sync" else [pf.BatchNode])):
        kit.run(cls())
    shared: dict[str, Any] = {}
    kit.run(Nothing(), shared)
    assert shared["post"] == (None, [])
    asyncio.run(pf.AsyncBatchNode().run_async({}))  # which 0.0.3 cannot do
    asyncio.run(pf.AsyncParallelBatchNode().run_async({}))


@pytest.mark.parametrize("items", [(1, 2), range(1, 3), {1: "a", 2: "b"}, [1, 2], "12"], ids=repr)
def test_what_can_be_read_twice_reaches_post_as_it_was(kit: SyncKit, items: Any):
    class Same(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return items

        def exec(self, item: Any) -> Any:
            return int(item)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    prep_res, exec_res = kit.run(Same())
    assert prep_res is items
    assert exec_res == [1, 2]
    assert repr(Same()) == f"{Same.__name__}()"  # 0.0.3 has no repr


def test_an_iterator_is_pulled_as_needed_and_reaches_post_as_a_list(kit: SyncKit):
    class Lazy(kit.BatchNode):
        def prep(self, shared: Any) -> Iterator[int]:
            def items() -> Iterator[int]:
                for item in range(3):
                    log.append(f"pull {item}")
                    yield item

            return items()

        def exec(self, item: int) -> Any:
            log.append(f"run {item}")
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    log: list[str] = []
    if kit.name.startswith("parallel"):
        Lazy.max_concurrency = 1
    assert kit.run(Lazy()) == ([0, 1, 2], [0, 1, 2])
    assert log == ["pull 0", "run 0", "pull 1", "run 1", "pull 2", "run 2"]


@pytest.mark.parametrize("base", ["AsyncBatchNode", "AsyncParallelBatchNode"])
@pytest.mark.parametrize("limit", [None, 2])
async def test_async_batches_take_an_async_iterable(base: str, limit: int | None):
    class Feed(getattr(pf, base)):  # type: ignore[misc]  # both bases share one body
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                for item in range(5):
                    await asyncio.sleep(0)
                    yield item

            return items()

        async def exec_async(self, item: int) -> Any:
            await asyncio.sleep(0)
            return item * 2

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["post"] = (prep_res, exec_res)

    node, shared = Feed(), {}
    if base == "AsyncParallelBatchNode":
        node.max_concurrency = limit
    await node.run_async(shared)
    assert shared["post"] == ([0, 1, 2, 3, 4], [0, 2, 4, 6, 8])


async def test_an_item_of_an_async_iterable_starts_before_the_next_has_come():
    class Feed(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                yield 1
                await started.wait()
                yield 2

            return items()

        async def exec_async(self, item: int) -> Any:
            started.set()

    started = asyncio.Event()
    await asyncio.wait_for(Feed().run_async({}), 30)


def test_batch_flows_take_iterators_too(kit: SyncKit):
    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return ({"n": n} for n in range(3))

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append(self.params["n"])

    shared: dict[str, Any] = {"seen": []}
    assert kit.run(Each(Look()), shared) == ([{"n": 0}, {"n": 1}, {"n": 2}], None)
    assert shared["seen"] == [0, 1, 2]


def test_items_that_cannot_be_iterated_are_refused_by_name(kit: SyncKit):
    class Wrong(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return 5

    class WrongFlow(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return ["not a dict"]

    with pytest.raises(TypeError, match="Wrong: prep returned 5"):
        kit.run(Wrong())
    with pytest.raises(TypeError, match="WrongFlow: prep returned the entry 'not a dict'"):
        kit.run(WrongFlow(Keep()))


# Concurrency


class Gated(pf.AsyncParallelBatchNode):
    """Runs range(n); each item waits for its gate, and the log tells who did what."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n, self.log = n, []
        self.gates = [asyncio.Event() for _ in range(n)]

    async def prep_async(self, shared: Any) -> Any:
        return iter(range(self.n))

    async def exec_async(self, item: int) -> Any:
        self.log.append(f"start {item}")
        try:
            await self.gates[item].wait()
        except asyncio.CancelledError:
            for _ in range(10 * item + 1):  # cleaning up takes the later items longer
                await asyncio.sleep(0)
            self.log.append(f"cancelled {item}")
            raise
        self.log.append(f"end {item}")
        return item

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_at_most_max_concurrency_run_started_in_order_results_in_order():
    node, shared = Gated(5, max_concurrency=2), {}
    run = asyncio.create_task(node.run_async(shared))
    for item in (1, 0, 2, 4, 3):
        await settle()
        assert sum("start" in line for line in node.log) - sum("end" in line for line in node.log) <= 2
        node.gates[item].set()
    await run
    assert [line for line in node.log if "start" in line] == [f"start {item}" for item in range(5)]
    assert shared["results"] == [0, 1, 2, 3, 4]


async def test_a_million_items_do_not_cost_a_million_tasks():
    class Many(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(1000)

        async def exec_async(self, item: int) -> Any:
            tasks.append(len(asyncio.all_tasks()))
            await asyncio.sleep(0)

    tasks: list[int] = []
    await Many(max_concurrency=10).run_async({})
    assert max(tasks) <= 12  # the workers, the one that feeds them, and this test


async def test_the_keyword_wins_over_the_class_attribute():
    class Two(pf.AsyncParallelBatchNode):
        max_concurrency = 2

    assert Two().max_concurrency == 2
    assert Two(max_concurrency=3).max_concurrency == 3


async def test_without_a_limit_all_items_start():
    node = Gated(50)
    run = asyncio.create_task(node.run_async({}))
    await settle()
    assert node.log == [f"start {item}" for item in range(50)]
    for gate in node.gates:
        gate.set()
    await run
    assert pf.AsyncParallelBatchNode.max_concurrency is None


@pytest.mark.parametrize("limit", [None, 2])
async def test_when_one_item_fails_its_siblings_are_cancelled_and_awaited(limit: int | None):
    class Failing(Gated):
        async def exec_async(self, item: int) -> Any:
            if item == 1:
                raise KeyError("own error")
            return await super().exec_async(item)

    node, shared = Failing(3, max_concurrency=limit), {}
    with pytest.raises(KeyError, match="own error"):
        await node.run_async(shared)
    assert node.log[-1].startswith("cancelled")
    assert sum("start" in line for line in node.log) == sum("cancelled" in line for line in node.log)
    assert shared == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_stops_the_pull_of_further_items():
    class Feed(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                yield 1
                await asyncio.Event().wait()

            return items()

        async def exec_async(self, item: int) -> Any:
            raise KeyError("own error")

    with pytest.raises(KeyError, match="own error"):
        await asyncio.wait_for(Feed().run_async({}), 30)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancellation_from_outside_reaches_every_item_and_waits_for_it():
    node = Gated(3)
    run = asyncio.create_task(pf.AsyncFlow(node).run_async({}))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sorted(node.log[3:]) == ["cancelled 0", "cancelled 1", "cancelled 2"]


async def test_a_second_cancellation_does_not_leave_items_behind():
    class Stubborn(Gated):
        async def exec_async(self, item: int) -> Any:
            while not self.gates[item].is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await self.gates[item].wait()
            self.log.append(item)
            raise asyncio.CancelledError

    node = Stubborn(2)
    run = asyncio.create_task(node.run_async({}))
    for _ in range(2):
        await settle()
        run.cancel()
    node.gates[0].set()
    await settle()
    run.cancel()
    await settle()
    early = run.done()
    node.gates[1].set()
    assert not early
    with pytest.raises(asyncio.CancelledError):
        await run
    assert node.log == [0, 1]


async def test_parallel_entries_of_a_flow_keep_the_limit_too():
    class Wait(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            running.append(self.params["n"])
            most.append(len(running))
            await settle()
            running.remove(self.params["n"])

    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(6)]

    running: list[int] = []
    most: list[int] = []
    await Each(Wait(), max_concurrency=2).run_async({})
    assert max(most) == 2


# Errors


def test_an_error_carries_the_path_the_index_the_attempts_and_the_params_once(kit: SyncKit):
    class Fails(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [10, 11, 12]

        def exec(self, item: int) -> Any:
            if item == 12:
                raise ValueError("no")

    class Entries(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"lang": "en"}]

    class Outer(kit.Flow): ...

    with pytest.raises(ValueError, match="no") as caught:
        kit.run(Outer(Entries(Fails(max_retries=2))))
    told = notes(caught.value)
    assert "Outer > Entries[0] > Fails[2]" in told
    assert "attempts: 2" in told
    assert "{'lang': 'en'}" in told
    assert told.count("Fails") == 1


def test_errors_of_prep_and_post_and_of_a_flow_itself_say_where_they_arose(kit: SyncKit):
    class Prep(kit.Node):
        def prep(self, shared: Any) -> Any:
            raise ValueError("prep")

    class Post(kit.Flow):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            raise ValueError("post")

    class Outer(kit.Flow): ...

    with pytest.raises(ValueError, match="prep") as caught:
        kit.run(Outer(Post(Prep())))
    assert "Outer > Post > Prep," in notes(caught.value)
    with pytest.raises(ValueError, match="post") as caught:
        kit.run(Outer(Post(Keep())))
    assert "Outer > Post," in notes(caught.value)


def test_the_errors_of_earlier_attempts_end_the_context_chain(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            try:
                raise KeyError(f"cause {self.cur_retry}")
            except KeyError:
                raise ValueError(f"attempt {self.cur_retry}")  # noqa: B904  the implicit context is the point

    with pytest.raises(ValueError, match="attempt 2") as caught:
        kit.run(Fails(max_retries=3))
    chain, error = [], caught.value
    while error is not None:
        chain.append(error.args[0])
        error = error.__context__
    assert chain == ["attempt 2", "cause 2", "attempt 1", "cause 1", "attempt 0", "cause 0"]


def test_one_exception_object_raised_at_every_attempt_makes_no_circle(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise error

    error = ValueError("always the same")
    with pytest.raises(ValueError, match="same"):
        kit.run(Fails(max_retries=3))
    assert error.__context__ is None
    assert notes(error).count("Fails") == 1


# Actions


def test_a_node_may_define_len_and_bool(kit: SyncKit):
    class Empty(kit.Node):
        def __len__(self) -> int:
            return 0

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["visits"] += 1

    class False_(Empty):
        def __bool__(self) -> bool:
            return False

    first = Empty()
    first >> False_()
    shared = {"visits": 0}
    kit.run(kit.Flow(first), shared)
    assert shared == {"visits": 2}


@pytest.mark.parametrize("action", [None, ""])
def test_none_and_the_empty_string_are_the_default_action(action: Any):
    a = Keep("a", action)
    a - "" >> Keep("b")
    shared: dict[str, Any] = {}
    pf.Flow(a).run(shared)
    assert shared["said"] == ["a", "b"]


@pytest.mark.parametrize("action", [0, False, 5, ["x"], {"x": 1}], ids=repr)
def test_an_action_that_is_no_string_is_refused_where_there_are_successors(action: Any):
    a = Keep("a", action)
    assert pf.Flow(a).run({}) == action
    a >> Keep("b")
    with pytest.raises(TypeError, match="Keep.post returned") as caught:
        pf.Flow(a).run({})
    assert repr(action) in str(caught.value)


# Wiring


def test_two_edges_in_one_expression_are_refused_with_the_lines_to_write():
    a, b, c = Keep(), Keep(), Keep()
    with pytest.raises(TypeError, match='Keep >> Keep and Keep - "x" >> ... on two lines'):
        a >> b - "x" >> c


@pytest.mark.parametrize(
    ("target", "advice"), [(Keep, r"write Keep >> Keep\(\)"), ("x", 'write node - "action"'), (None, "None is no node")]
)
def test_what_is_no_node_is_refused_as_a_target(target: Any, advice: str):
    with pytest.raises(TypeError, match=advice):
        Keep() >> target
    if target is not None:
        with pytest.raises(TypeError, match="is no node"):
            pf.Flow(start=target)


def test_a_flow_without_a_start_is_refused(kit: SyncKit):
    with pytest.raises(ValueError, match=r"write Flow\(start=node\)|write AsyncFlow\(start=node\)"):
        kit.run(kit.Flow())


def test_an_init_that_forgot_super_is_told_so():
    class Forgot(pf.Node):
        def __init__(self) -> None:
            self.x = 1

    uses = (lambda: Forgot() >> Keep(), lambda: Keep() >> Forgot(), lambda: pf.Flow(Forgot()), lambda: Forgot().run({}))
    for use in uses:
        with pytest.raises(TypeError, match=r"Forgot .* super\(\)\.__init__\(\)"):
            use()


def test_an_async_node_in_a_sync_flow_is_refused_before_anything_runs():
    class Fetch(pf.AsyncNode): ...

    first, shared = Keep(), {}
    first >> pf.Flow(Fetch())
    with pytest.raises(RuntimeError, match="Fetch is async.*AsyncFlow"):
        pf.Flow(first).run(shared)
    assert shared == {}


def test_what_is_wired_or_set_after_a_run_is_checked_too():
    first, shared = Keep(), {}
    inner, flow = pf.Flow(Keep()), pf.Flow(first)
    first >> inner
    flow.run(shared)
    inner.start_node >> pf.AsyncNode()
    shared.clear()
    with pytest.raises(RuntimeError, match="AsyncNode is async"):
        flow.run(shared)
    assert shared == {}
    inner.start_node.successors.clear()
    inner.start_node.max_retries = 0
    with pytest.raises(ValueError, match="Keep: max_retries .* not 0"):
        flow.run(shared)


def test_a_node_of_an_async_and_of_a_nested_sync_flow_is_checked_in_both():
    fetch, shared = pf.AsyncNode(), {}
    first = Keep()
    first - "x" >> fetch
    first >> pf.Flow(fetch)
    with pytest.raises(RuntimeError, match="AsyncNode is async, Flow is not"):
        asyncio.run(pf.AsyncFlow(first).run_async(shared))
    assert shared == {}


def test_a_flow_may_be_inside_of_itself():
    class Down(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] -= 1
            return "deeper" if shared["n"] else "up"

    down = Down()
    flow, shared = pf.Flow(down), {"n": 3}
    down - "deeper" >> flow
    down - "up" >> pf.Node()
    pf.Flow(flow).run(shared)
    assert shared == {"n": 0}
    assert repr(flow) == "Flow(start_node=Down())"


def test_a_sync_flow_inside_of_an_async_one_is_checked_too():
    class Fetch(pf.AsyncNode): ...

    first, shared = Keep(), {}
    first >> pf.Flow(Fetch())
    with pytest.raises(RuntimeError, match="Fetch is async"):
        asyncio.run(pf.AsyncFlow(first).run_async(shared))
    assert shared == {}


def test_an_async_node_that_overrides_run_may_be_used_and_start_node_set_in_prep():
    class Both(pf.AsyncNode):
        def _run(self, shared: Any) -> Any:
            shared["ran"] = True

    class Late(pf.Flow):
        def prep(self, shared: Any) -> Any:
            self.start_node = Both()

    shared: dict[str, Any] = {}
    pf.Flow(Late()).run(shared)
    assert shared == {"ran": True}

    class LateAndWrong(pf.Flow):
        def prep(self, shared: Any) -> Any:
            self.start_node = pf.AsyncNode()

    with pytest.raises(RuntimeError, match="AsyncNode is async, LateAndWrong is not"):
        LateAndWrong().run({})


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "exec_fallback"])
def test_async_def_where_a_sync_phase_belongs_is_refused_before_anything_runs(phase: str):
    async def misplaced(*args: Any) -> None: ...

    node, first, shared = type("Odd", (pf.Node,), {phase: misplaced})(), Keep(), {}
    first >> node
    with pytest.raises(TypeError, match=f"Odd.{phase} is async: .* {phase}_async"):
        pf.Flow(first).run(shared)
    assert shared == {}


@pytest.mark.parametrize("phase", ["prep", "exec", "post", "exec_fallback"])
def test_a_sync_phase_of_an_async_node_warns_with_the_name_to_write(phase: str):
    node = type("Odd", (pf.AsyncNode,), {phase: lambda *args: None})()
    with pytest.warns(UserWarning, match=f"Odd.{phase} is never called.*{phase}_async") as caught:
        asyncio.run(pf.AsyncFlow(node).run_async({}))
    assert caught[0].category is pf.FlowWarning


def test_every_warning_is_a_flow_warning_at_the_line_of_the_user():
    a = Keep("a", "lost")
    a - "x" >> Keep()
    with pytest.warns(pf.FlowWarning) as caught:  # noqa: PT031  three warnings, one list
        pf.Flow(pf.Flow(a)).run({})
        a.run({})
        a - "x" >> Keep()
    assert [warning.filename for warning in caught] == [__file__] * 3


def test_the_repr_of_nodes_and_flows_says_what_they_are():
    named = pf.Node()
    named.name = "fetch"
    assert repr(pf.Node(3, 0.5)) == "Node(max_retries=3, wait=0.5)"
    assert repr(named) == "Node(name='fetch')"
    assert repr(pf.Flow(Keep())) == "Flow(start_node=Keep())"
    assert repr(pf.AsyncParallelBatchNode(max_concurrency=1)) == "AsyncParallelBatchNode(max_concurrency=1)"
    assert repr(pf.AsyncParallelFlow(Keep(), Keep())) == "AsyncParallelFlow(branches=(Keep(), Keep()))"
