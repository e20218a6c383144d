"""Flows in flows, params, and what a flow returns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import Say, said
from tests.kits import SyncKit


def test_the_classes_are_related_as_before():
    bases = {
        pf.Node: [pf.BaseNode],
        pf.BatchNode: [pf.Node],
        pf.Flow: [pf.BaseNode],
        pf.BatchFlow: [pf.Flow],
        pf.AsyncNode: [pf.Node],
        pf.AsyncBatchNode: [pf.AsyncNode, pf.BatchNode],
        pf.AsyncParallelBatchNode: [pf.AsyncNode, pf.BatchNode],
        pf.AsyncFlow: [pf.Flow, pf.AsyncNode, pf.Node],
        pf.AsyncBatchFlow: [pf.AsyncFlow, pf.BatchFlow],
        pf.AsyncParallelBatchFlow: [pf.AsyncFlow, pf.BatchFlow],
    }
    assert all(issubclass(cls, base) for cls, required in bases.items() for base in required)
    assert not issubclass(pf.Flow, pf.Node)
    assert not issubclass(pf.AsyncParallelBatchNode, pf.AsyncBatchNode)


def test_all_bases_are_public_classes_so_that_super_means_what_it_says():
    public = {value for name, value in vars(pf).items() if isinstance(value, type) and not name.startswith("_")}
    classes = [cls for cls in public if issubclass(cls, pf.BaseNode)]
    assert classes
    assert all(base in public or base is object for cls in classes for base in cls.__mro__)


def test_a_flow_returns_its_last_action_and_its_post_may_change_it(kit: SyncKit):
    class Ends(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "x"

    class Renamed(kit.Flow):
        def prep(self, shared: Any) -> Any:
            return "prep"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return f"{prep_res}, was {exec_res}"

    assert kit.run(kit.Flow(Ends())) == "x"
    assert kit.run(Renamed(Ends())) == "prep, was x"


def test_the_last_action_of_a_nested_flow_picks_the_outer_edge():
    inner, b, c = pf.Flow(Say("a", "left")), Say("b"), Say("c")
    inner - "left" >> b
    inner - "right" >> c
    assert said(pf.Flow(inner)) == ["a", "b"]


def test_a_node_run_by_itself_does_not_go_on_and_warns_of_it(kit: SyncKit):
    class Only(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["ran"] = True

    class Never(kit.Node):
        def prep(self, shared: Any) -> Any:
            pytest.fail("must not run")

    node, shared = Only(), {}
    node >> Never()
    with pytest.warns(UserWarning, match=r"^Node won't run successors\. Use (Async)?Flow\."):
        kit.run(node, shared)
    assert shared == {"ran": True}


def test_the_params_of_the_outermost_flow_replace_those_of_the_nodes(kit: SyncKit):
    class Look(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["params"] = self.params

    node = Look()
    node.set_params({"own": 1})
    inner = kit.Flow(node)
    inner.set_params({"inner": 2})
    flow, shared = kit.Flow(inner), {}
    flow.set_params({"flow": 3})
    kit.run(flow, shared)
    assert shared["params"] == {"flow": 3}
    kit.run(kit.Flow(node), shared)
    assert shared["params"] == {}
    kit.run(node, shared)
    assert shared["params"] == {"own": 1}


def test_an_async_flow_mixes_sync_and_async_nodes():
    class Fetch(pf.AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            return shared["x"]

        async def exec_async(self, x: Any) -> Any:
            await asyncio.sleep(0)
            return x + 1

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["x"] = exec_res
            return "next"

    fetch, shared = Fetch(), {"x": 1}
    fetch - "next" >> pf.Flow(Say("after"))
    asyncio.run(pf.AsyncFlow(start=fetch).run_async(shared))
    assert shared == {"x": 2, "said": ["after"]}


def test_what_runs_one_at_a_time_needs_no_loop_of_asyncio():
    class Doubles(pf.AsyncBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return [1, 2]

        async def exec_async(self, item: int) -> int:
            return item * 2

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["doubled"].append(exec_res)

    class Twice(pf.AsyncBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{}, {}]

    shared: dict[str, Any] = {"doubled": []}
    with pytest.raises(StopIteration):
        Twice(Doubles()).run_async(shared).send(None)
    assert shared["doubled"] == [[2, 4], [2, 4]]


def test_a_flow_may_be_inside_of_itself(kit: SyncKit):
    class Down(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] -= 1
            return "deeper" if shared["n"] else "up"

    down = Down()
    flow, shared = kit.Flow(down), {"n": 3}
    down - "deeper" >> flow
    down - "up" >> kit.Node()
    kit.run(kit.Flow(flow), shared)
    assert shared == {"n": 0}


def test_a_long_loop_needs_no_stack(kit: SyncKit):
    class Count(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            return "again" if shared["n"] < 1_100 else "end"

    count, shared = Count(), {"n": 0}
    count - "again" >> count
    count - "end" >> kit.Node()
    kit.run(kit.Flow(count), shared)
    assert shared == {"n": 1_100}


def test_the_start_may_be_set_in_prep_and_run_written_for_an_async_node():
    class Both(pf.AsyncNode):
        def _run(self, shared: Any) -> Any:
            shared["ran"] = True

    class Late(pf.Flow):
        def prep(self, shared: Any) -> Any:
            self.start_node = Both()

    shared: dict[str, Any] = {}
    pf.Flow(Late()).run(shared)
    assert shared == {"ran": True}


# What is refused at the visit


def test_a_sync_run_of_an_async_node_says_use_run_async():
    with pytest.raises(RuntimeError, match=r"Use run_async\."):
        pf.AsyncNode().run({})
    with pytest.raises(RuntimeError, match=r"Use run_async\."):
        pf.Flow(pf.AsyncNode()).run({})


@pytest.mark.fixed
def test_an_async_node_in_a_sync_flow_is_refused_by_its_name():
    class Fetch(pf.AsyncNode): ...

    first = Say()
    first >> pf.Flow(Fetch())
    with pytest.raises(RuntimeError, match="Fetch is async: put it into an AsyncFlow"):
        pf.Flow(first).run({})
    with pytest.raises(RuntimeError, match="Fetch is async: put it into an AsyncFlow"):
        asyncio.run(pf.AsyncFlow(first).run_async({}))
    with pytest.raises(RuntimeError, match="AsyncFlow is async: "):
        pf.Flow(pf.AsyncFlow(Say())).run({})


@pytest.mark.fixed
def test_a_flow_without_a_start_is_refused_with_the_line_to_write(kit: SyncKit):
    with pytest.raises(ValueError, match=r"Flow has no start: write (Async)?Flow\(start=node\)"):
        kit.run(kit.Flow())
