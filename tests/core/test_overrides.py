"""What programs override, replace or patch, and the names that are theirs."""

from __future__ import annotations

import asyncio
import inspect
import types
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import Say, said
from tests.kits import SyncKit


class Phases:
    """Three items, and their results in `shared["results"]`."""

    def prep(self, shared: Any) -> Any:
        return ["ab", "cd", "ef"]

    def exec(self, item: Any) -> Any:
        return item.upper()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res

    async def prep_async(self, shared: Any) -> Any:
        return Phases.prep(self, shared)

    async def exec_async(self, item: Any) -> Any:
        return Phases.exec(self, item)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        Phases.post(self, shared, prep_res, exec_res)


def results(node: Any) -> Any:
    shared: dict[str, Any] = {}
    asyncio.run(node.run_async(shared)) if isinstance(node, pf.AsyncNode) else node.run(shared)
    return shared["results"]


# super()._exec(item)


def test_everybodys_semaphore_around_the_retry_loop_of_an_item():
    class Limited(Phases, pf.AsyncParallelBatchNode):
        async def _exec(self, items: Any) -> Any:
            async def one(item: Any) -> Any:
                async with semaphore:
                    return await super(pf.AsyncParallelBatchNode, self)._exec(item)

            semaphore = asyncio.Semaphore(2)
            return await asyncio.gather(*(one(item) for item in items))

    assert results(Limited()) == ["AB", "CD", "EF"]


def test_super_of_a_batch_class_is_the_retry_loop_of_one_item():
    class Sync(Phases, pf.BatchNode):
        def _exec(self, items: Any) -> Any:
            return [super(pf.BatchNode, self)._exec(item) for item in items]

    class Serial(Phases, pf.AsyncBatchNode):
        async def _exec(self, items: Any) -> Any:
            return [await super(pf.AsyncBatchNode, self)._exec(item) for item in items]

    class Parallel(Phases, pf.AsyncParallelBatchNode):
        async def _exec(self, items: Any) -> Any:
            return [await super(pf.AsyncParallelBatchNode, self)._exec(item) for item in items]

    for cls in (Sync, Serial, Parallel):
        assert results(cls()) == ["AB", "CD", "EF"]


def test_super_of_a_batch_flow_class_runs_the_flow_once():
    class Once(pf.AsyncBatchFlow):
        async def _run_async(self, shared: Any) -> Any:
            return await super(pf.AsyncBatchFlow, self)._run_async(shared)

    class OnceParallel(pf.AsyncParallelBatchFlow):
        async def _run_async(self, shared: Any) -> Any:
            return await super(pf.AsyncParallelBatchFlow, self)._run_async(shared)

    class OnceSync(pf.BatchFlow):
        def _run(self, shared: Any) -> Any:
            return super(pf.BatchFlow, self)._run(shared)

    for cls in (Once, OnceParallel):
        shared: dict[str, Any] = {"said": []}
        assert asyncio.run(cls(Say("once", "end")).run_async(shared)) == "end"
        assert shared["said"] == ["once"]
    assert said(OnceSync(Say("once"))) == ["once"]


def test_a_retry_loop_of_ones_own_between_the_batch_and_the_node_is_called_for_each_item():
    class Cached(pf.Node):
        def _exec(self, item: Any) -> Any:
            return "cached" if item == "cd" else super()._exec(item)

    class CachedAsync(pf.AsyncNode):
        async def _exec(self, item: Any) -> Any:
            return "cached" if item == "cd" else await super()._exec(item)

    class Sync(Phases, pf.BatchNode, Cached): ...

    class Serial(Phases, pf.AsyncBatchNode, CachedAsync): ...

    class Parallel(Phases, pf.AsyncParallelBatchNode, CachedAsync): ...

    for cls in (Sync, Serial, Parallel):
        assert results(cls()) == ["AB", "cached", "EF"]


def test_an_own_exec_replaces_the_retries(kit: SyncKit):
    class Own(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    class Sync(Own):
        def _exec(self, prep_res: Any) -> Any:
            return "own"

    class Async(Own):
        async def _exec(self, prep_res: Any) -> Any:
            return "own"

    assert kit.run(Async() if issubclass(Own, pf.AsyncNode) else Sync()) == "own"


# Other override points


def test_get_next_node_may_choose(kit: SyncKit):
    class First(kit.Node): ...

    class Second(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["second"] = True

    class Routed(kit.Flow):
        def get_next_node(self, curr: Any, action: Any) -> Any:
            return Second() if isinstance(curr, First) else None

    shared: dict[str, Any] = {}
    kit.run(Routed(First()), shared)
    assert shared == {"second": True}


def test_an_own_run_is_used():
    class Own(pf.Node):
        def _run(self, shared: Any) -> Any:
            shared["said"].append("own")

    class OwnAsync(pf.AsyncNode):
        async def _run_async(self, shared: Any) -> Any:
            shared["said"].append("own")

    assert said(pf.Flow(Own())) == ["own"]
    shared: dict[str, Any] = {"said": []}
    asyncio.run(pf.AsyncFlow(OwnAsync()).run_async(shared))
    assert shared["said"] == ["own"]


def test_an_own_orchestration_is_used_and_may_call_that_of_the_flow():
    class Twice(pf.Flow):
        def _orch(self, shared: Any, params: Any = None) -> Any:
            super()._orch(shared, params)
            return super()._orch(shared, params)

    class TwiceAsync(pf.AsyncFlow):
        async def _orch_async(self, shared: Any, params: Any = None) -> Any:
            await super()._orch_async(shared, params)
            return await super()._orch_async(shared, params)

    assert said(Twice(Say("a"))) == ["a", "a"]
    shared: dict[str, Any] = {"said": []}
    asyncio.run(TwiceAsync(Say("a")).run_async(shared))
    assert shared["said"] == ["a", "a"]


def test_a_flow_with_its_own_orchestration_needs_no_start():
    class Own(pf.Flow):
        def _orch(self, shared: Any, params: Any = None) -> Any:
            return "own"

    class OwnAsync(pf.AsyncFlow):
        async def _orch_async(self, shared: Any, params: Any = None) -> Any:
            return "own"

    class Each(pf.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": 1}, {"n": 2}]

        def _orch(self, shared: Any, params: Any = None) -> Any:
            shared["seen"].append(params)

    assert Own().run({}) == "own"
    assert pf.Flow(Own()).run({}) == "own"
    assert asyncio.run(OwnAsync().run_async({})) == "own"
    shared: dict[str, Any] = {"seen": []}
    Each().run(shared)
    assert shared["seen"] == [{"n": 1}, {"n": 2}]


def test_methods_replaced_on_an_instance_are_used():
    node, shared = pf.Node(), {}
    node.exec = lambda prep_res: "replaced"
    node.post = lambda shared, prep_res, exec_res: shared.update(result=exec_res)
    pf.Flow(node).run(shared)
    assert shared == {"result": "replaced"}


@pytest.mark.parametrize("cls", ["Node", "BatchNode"])
def test_a_patched_run_of_node_is_that_of_its_kin_too(monkeypatch: pytest.MonkeyPatch, cls: str):
    monkeypatch.setattr(pf.Node, "_run", lambda self, shared: "patched")
    assert pf.Flow(getattr(pf, cls)()).run({}) == "patched"


@pytest.mark.parametrize("cls", ["AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode"])
def test_a_patched_run_of_async_node_is_that_of_its_kin_too(monkeypatch: pytest.MonkeyPatch, cls: str):
    async def patched(self: Any, shared: Any) -> str:
        return "patched"

    monkeypatch.setattr(pf.AsyncNode, "_run_async", patched)
    assert asyncio.run(pf.AsyncFlow(getattr(pf, cls)()).run_async({})) == "patched"


def test_copy_copy_makes_the_copies_of_a_flow(monkeypatch: pytest.MonkeyPatch):
    copied, original = [], pf.copy.copy

    def recorded(node: Any) -> Any:
        copied.append(node)
        return original(node)

    monkeypatch.setattr(pf.copy, "copy", recorded)
    a, b = Say("a"), Say("b")
    a >> b
    said(pf.Flow(a))
    assert [node for node in copied if node is not None] == [a, b]


# What exec_async may be


def test_exec_async_may_be_made_with_types_coroutine():
    class Old(pf.AsyncNode):
        @types.coroutine
        def exec_async(self, prep_res: Any) -> Any:
            yield from asyncio.sleep(0).__await__()
            return "done"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert asyncio.run(Old().run_async({})) == "done"


def test_exec_async_may_be_a_plain_function_that_returns_an_awaitable():
    class Later(pf.AsyncNode):
        def exec_async(self, prep_res: Any) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_result("later")
            return future

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert asyncio.run(Later().run_async({})) == "later"


@pytest.mark.parametrize("cls", [pf.AsyncNode, pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
def test_the_retry_loop_of_an_async_node_is_a_coroutine_function(cls: type):
    assert inspect.iscoroutinefunction(cls._exec)


def test_who_writes_the_run_of_a_node_may_write_its_phases_as_they_like():
    class Sync(pf.Node):
        async def exec(self, prep_res: Any) -> Any:
            return "async"

        def _run(self, shared: Any) -> Any:
            shared["result"] = asyncio.run(self.exec(None))

    class Async(pf.AsyncNode):
        def exec(self, prep_res: Any) -> Any:
            return "sync"

        async def _run_async(self, shared: Any) -> Any:
            shared["result"] = self.exec(None)

    shared: dict[str, Any] = {}
    pf.Flow(Sync()).run(shared)
    assert shared == {"result": "async"}
    asyncio.run(pf.AsyncFlow(Async()).run_async(shared))
    assert shared == {"result": "sync"}


def test_a_base_node_runs_without_retries():
    class Bare(pf.BaseNode):
        def exec(self, prep_res: Any) -> Any:
            return "done"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert Bare().run({}) == "done"


# Names that are the users' own


def test_methods_and_attributes_with_likely_names_are_the_users_own(kit: SyncKit):
    class Own(kit.Node):
        name = 5
        branches = ("dev", "prod")
        max_concurrency = None
        watcher = executing = index = limit = results = failed = "mine"

        def _retry(self, prep_res: Any) -> Any:
            pytest.fail("never called")

        _wait = _note = _check = _merged = _target = _limit = _retry

        def exec(self, prep_res: Any) -> Any:
            if not tries:
                tries.append(1)
                raise ValueError
            return "done"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    class OwnFlow(kit.Flow):
        name = 5
        branches = ("dev", "prod")

    tries: list[int] = []
    assert kit.run(OwnFlow(Own(max_retries=2))) == "done"


def test_a_flow_may_have_branches_of_its_own(kit: SyncKit):
    flow = kit.Flow(kit.Node())
    flow.branches = ["dev", "prod"]
    kit.run(flow)
    assert flow.branches == ["dev", "prod"]


def test_a_mixin_may_carry_its_own_init(kit: SyncKit):
    class Named:
        def __init__(self, label: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.label = label

    class Labelled(Named, kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return self.label, self.max_retries

    assert kit.run(kit.Flow(Labelled("x", max_retries=2))) == ("x", 2)


def test_the_repr_of_a_node_is_pythons_own(kit: SyncKit):
    class Bad:
        def __repr__(self) -> str:
            raise ValueError("as an array in a comparison may")

    node = kit.Node()
    node.data = Bad()
    assert repr(node) == object.__repr__(node)
