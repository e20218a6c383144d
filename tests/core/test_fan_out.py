"""`a >> [b, c] >> d`: branches that run at once, and what comes after them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import soon

pytestmark = pytest.mark.new


class Meet(pf.AsyncNode):
    """Passes only if all of the parties are here at the same time."""

    def __init__(self, barrier: asyncio.Barrier, word: str) -> None:
        super().__init__()
        self.barrier, self.word = barrier, word

    async def exec_async(self, prep_res: Any) -> Any:
        await asyncio.wait_for(self.barrier.wait(), 30)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["said"].append(self.word)
        return f"from {self.word}"


class Say(pf.Node):
    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["said"].append(self.word)


async def test_branches_run_at_once_each_with_its_successors_and_then_the_join():
    barrier = asyncio.Barrier(2)
    a, b, c, d = Say("a"), Meet(barrier, "b"), Meet(barrier, "c"), Say("d")
    b - "from b" >> Say("after b")
    a >> [b, c] >> d
    shared: dict[str, Any] = {"said": []}
    assert await pf.AsyncFlow(a).run_async(shared) is None
    assert shared["said"][0] == "a"
    assert set(shared["said"][1:-1]) == {"b", "after b", "c"}
    assert shared["said"][-1] == "d"


async def test_post_gets_the_last_actions_in_the_order_of_the_branches():
    class Join(pf.AsyncParallelFlow):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["actions"] = exec_res
            return "joined"

    barrier = asyncio.Barrier(2)
    shared: dict[str, Any] = {"said": []}
    join = Join(Meet(barrier, "b"), Say("x"), Meet(barrier, "c"))
    assert await join.run_async(shared) == "joined"
    assert shared["actions"] == ["from b", None, "from c"]


async def test_max_concurrency_limits_the_branches():
    class Count(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            running.append(self)
            most.append(len(running))
            await asyncio.sleep(0)
            running.remove(self)

    running: list[Any] = []
    most: list[int] = []
    await pf.AsyncParallelFlow(*(Count() for _ in range(6)), max_concurrency=2).run_async({})
    assert max(most) == 2


async def test_a_failing_branch_cancels_the_others_and_waits_for_them():
    class Fails(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await started.wait()
            raise KeyError("own error")

    class Waits(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                shared["cleaned"] = True

    started, shared = asyncio.Event(), {}
    with pytest.raises(KeyError, match="own error"):
        await pf.AsyncFlow(pf.AsyncParallelFlow(Fails(), Waits())).run_async(shared)
    assert shared == {"cleaned": True}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_params_of_the_flow_reach_the_branches():
    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["params"] = self.params

    shared: dict[str, Any] = {}
    flow = pf.AsyncFlow([Look()])
    flow.set_params({"lang": "en"})
    await flow.run_async(shared)
    assert shared == {"params": {"lang": "en"}}


def test_a_list_becomes_a_flow_after_a_named_action_and_at_the_start():
    a, b = Say("a"), Say("b")
    joined = a - "x" >> [b]
    assert isinstance(joined, pf.AsyncParallelFlow)
    assert joined.branches == (b,)
    assert isinstance(pf.AsyncFlow(start=[b]).start_node, pf.AsyncParallelFlow)


async def test_a_fan_out_without_branches_goes_on_as_a_batch_without_items_does():
    a, d = Say("a"), Say("d")
    a >> [] >> d
    shared: dict[str, Any] = {"said": []}
    await pf.AsyncFlow(a).run_async(shared)
    assert shared["said"] == ["a", "d"]


async def test_fan_outs_nest_and_chain():
    a, e = Say("a"), Say("e")
    a >> [[Say("b"), Say("c")], Say("d")] >> [Say("x")] >> e
    shared: dict[str, Any] = {"said": []}
    await soon(pf.AsyncFlow(a).run_async(shared))
    assert sorted(shared["said"][1:4]) == ["b", "c", "d"]
    assert [shared["said"][0], *shared["said"][4:]] == ["a", "x", "e"]


async def test_a_fan_out_may_be_in_a_loop_and_in_a_batch():
    class Each(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"n": n} for n in range(3)]

    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["said"].append(self.params["n"])

    first = Look()
    first >> [Look(), Look()]
    shared: dict[str, Any] = {"said": []}
    await soon(Each(first).run_async(shared))
    assert sorted(shared["said"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


async def test_a_flow_of_ones_own_class_may_start_with_a_list():
    class Own(pf.AsyncFlow):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "own"

    shared: dict[str, Any] = {"said": []}
    assert await Own(start=[Say("b"), Say("c")]).run_async(shared) == "own"
    assert shared["said"] == ["b", "c"]


async def test_a_branch_that_is_chained_inside_of_the_list_starts_at_its_last_node():
    """As the docstring of the core warns: Python hands over the value of `b >> c`, which is c."""
    a, b, c, d = Say("a"), Say("b"), Say("c"), Say("d")
    a >> [b >> c, d]
    shared: dict[str, Any] = {"said": []}
    await pf.AsyncFlow(a).run_async(shared)
    assert shared["said"] == ["a", "c", "d"]


def test_a_fan_out_in_a_sync_flow_is_refused():
    a = Say("a")
    a >> [Say("b")]
    with pytest.raises(RuntimeError, match="AsyncParallelFlow is async"):
        pf.Flow(a).run({"said": []})
