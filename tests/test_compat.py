"""Programs written for PocketFlow 0.0.3 run unchanged: every test here passes under both."""

from __future__ import annotations

import asyncio
import copy
import warnings
from typing import Any

import pytest

import pocketflow as pf


class Say(pf.Node):
    def __init__(self, word: str, action: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.word, self.action = word, action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.setdefault("said", []).append(self.word)
        return self.action


def said(flow: Any, shared: Any = None) -> Any:
    shared = {} if shared is None else shared
    flow.run(shared)
    return shared["said"]


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


def test_default_and_named_actions_pick_the_successor():
    a, b, c = Say("a", "x"), Say("b"), Say("c")
    a - "x" >> b
    a >> c
    b >> c
    assert said(pf.Flow(start=a)) == ["a", "b", "c"]


def test_start_and_next_chain_and_return_the_node():
    a, b, c = Say("a"), Say("b"), Say("c")
    flow = pf.Flow()
    assert flow.start(a).next(b) is b
    assert (b >> c) is c
    assert said(flow) == ["a", "b", "c"]


def test_constructors_take_retries_and_wait_by_position():
    node = pf.Node(3, 0.5)
    assert (node.max_retries, node.wait) == (3, 0.5)
    assert (pf.Node().max_retries, pf.Node().wait) == (1, 0)


def test_a_loop_ends_by_its_action():
    class Count(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            return "again" if shared["n"] < 5 else None

    count = Count()
    count - "again" >> count
    count >> Say("done")
    shared = {"n": 0}
    assert said(pf.Flow(count), shared) == ["done"]
    assert shared["n"] == 5


def test_a_flow_returns_its_last_action_and_its_post_may_change_it():
    class Renamed(pf.Flow):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return f"was {exec_res}"

    assert pf.Flow(Say("a", "x")).run({}) == "x"
    assert Renamed(Say("a", "x")).run({}) == "was x"


def test_the_last_action_of_a_nested_flow_picks_the_outer_edge():
    inner, b, c = pf.Flow(Say("a", "left")), Say("b"), Say("c")
    inner - "left" >> b
    inner - "right" >> c
    assert said(pf.Flow(inner)) == ["a", "b"]


def test_retries_then_the_fallback_with_the_last_error():
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            tries.append(self.cur_retry)
            raise ValueError(len(tries))

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return str(exc), self.cur_retry

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["result"], shared["retry"] = exec_res, self.cur_retry

    tries: list[int] = []
    shared: dict[str, Any] = {}
    Fails(max_retries=3).run(shared)
    assert tries == [0, 1, 2]
    assert shared == {"result": ("3", 2), "retry": 2}


def test_wait_is_slept_between_tries_only(monkeypatch: pytest.MonkeyPatch):
    class Fails(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            raise ValueError("no")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return None

    slept: list[float] = []
    monkeypatch.setattr(pf.time, "sleep", slept.append)
    Fails(max_retries=3, wait=1.5).run({})
    assert slept == [1.5, 1.5]


def test_a_batch_node_runs_each_item_with_its_own_retries():
    class Double(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

        def exec(self, item: Any) -> Any:
            if item == 2 and self.cur_retry == 0:
                raise ValueError("once")
            return item * 2

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["doubled"] = exec_res

    shared: dict[str, Any] = {"items": [1, 2, 3]}
    Double(max_retries=2).run(shared)
    assert shared["doubled"] == [2, 4, 6]


def test_a_batch_flow_merges_params_and_its_post_gets_none():
    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append(dict(self.params))

    class Each(pf.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"k": 1}, {"k": 2, "base": "other"}]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["post"] = (prep_res, exec_res)

    flow, shared = Each(Look()), {"seen": []}
    flow.set_params({"base": "b"})
    flow.run(shared)
    assert shared["seen"] == [{"base": "b", "k": 1}, {"base": "other", "k": 2}]
    assert shared["post"] == ([{"k": 1}, {"k": 2, "base": "other"}], None)


def test_a_batch_flow_without_entries_hands_post_an_empty_list():
    class Each(pf.BatchFlow):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["post"] = (prep_res, exec_res)

    shared: dict[str, Any] = {}
    Each(Say("never")).run(shared)
    assert shared == {"post": ([], None)}


def test_the_params_of_the_outermost_flow_replace_those_of_the_nodes():
    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["params"] = self.params

    node = Look()
    node.set_params({"own": 1})
    flow, shared = pf.Flow(node), {}
    flow.set_params({"flow": 2})
    flow.run(shared)
    assert shared["params"] == {"flow": 2}
    node.run(shared)
    assert shared["params"] == {"own": 1}


def test_a_visit_works_on_a_copy():
    class Mark(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            self.marked = True

    node = Mark()
    pf.Flow(node).run({})
    assert not hasattr(node, "marked")
    node.run({})
    assert node.marked


def test_any_object_with_the_four_members_is_a_node():
    class Duck:
        def __init__(self) -> None:
            self.successors: dict[str, Any] = {}

        def __copy__(self) -> Duck:
            twin = Duck()
            twin.successors = self.successors
            return twin

        def set_params(self, params: Any) -> None:
            self.params = params

        def _run(self, shared: Any) -> str:
            shared["said"].append(("duck", self.params))
            return "on"

    duck = Duck()
    duck.successors["on"] = Say("after")
    a = Say("a")
    a >> duck
    flow = pf.Flow(a)
    flow.set_params({"p": 1})
    assert said(flow) == ["a", ("duck", {"p": 1}), "after"]


def test_override_points_are_used():
    class Odd(pf.Flow):
        def get_next_node(self, curr: Any, action: Any) -> Any:
            return other if curr is not other and isinstance(curr, Say) else None

    class Own(pf.Node):
        def _run(self, shared: Any) -> Any:
            shared["said"].append("own")

    class Twice(pf.Flow):
        def _orch(self, shared: Any, params: Any = None) -> Any:
            super()._orch(shared, params)
            return super()._orch(shared, params)

    other = Own()
    assert said(Odd(Say("a"))) == ["a", "own"]
    assert said(Twice(Say("a"))) == ["a", "a"]


def test_methods_replaced_on_an_instance_are_used():
    node, shared = pf.Node(), {}
    node.exec = lambda prep_res: "replaced"
    node.post = lambda shared, prep_res, exec_res: shared.update(result=exec_res)
    pf.Flow(node).run(shared)
    assert shared == {"result": "replaced"}


def test_super_exec_is_the_retry_loop_of_one_item_in_every_batch_class():
    class Cached(pf.Node):
        def _exec(self, item: Any) -> Any:
            return "cached" if item == 1 else super()._exec(item)

    class CachedAsync(pf.AsyncNode):
        async def _exec(self, item: Any) -> Any:
            return "cached" if item == 1 else await super()._exec(item)

    class Sync(pf.BatchNode, Cached):
        def prep(self, shared: Any) -> Any:
            return [0, 1, 2]

        def exec(self, item: Any) -> Any:
            if self.cur_retry == 0:
                raise ValueError("once")
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["results"] = exec_res

    class Common:
        async def prep_async(self, shared: Any) -> Any:
            return [0, 1, 2]

        async def exec_async(self, item: Any) -> Any:
            return item

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["results"] = exec_res

    class Serial(Common, pf.AsyncBatchNode, CachedAsync): ...

    class Parallel(Common, pf.AsyncParallelBatchNode, CachedAsync): ...

    shared: dict[str, Any] = {}
    Sync(max_retries=2).run(shared)
    assert shared["results"] == [0, "cached", 2]
    for cls in (Serial, Parallel):
        asyncio.run(cls().run_async(shared))
        assert shared["results"] == [0, "cached", 2]


def test_the_warnings_have_their_texts():
    a, b = Say("a", "lost"), Say("b")
    a - "x" >> b
    with pytest.warns(UserWarning, match=r"Flow ends: 'lost' not found in \['x'\]"):
        pf.Flow(a).run({})
    with pytest.warns(UserWarning, match=r"Node won't run successors\. Use Flow\."):
        a.run({})
    with pytest.warns(UserWarning, match="Overwriting successor for action 'x'"):
        a - "x" >> b


def test_a_sync_run_of_an_async_node_says_use_run_async():
    with pytest.raises(RuntimeError, match=r"Use run_async\."):
        pf.AsyncNode().run({})


def test_an_action_is_a_string():
    with pytest.raises(TypeError, match="Action must be a string"):
        Say("a") - 5


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
    fetch - "next" >> Say("after")
    asyncio.run(pf.AsyncFlow(start=fetch).run_async(shared))
    assert shared == {"x": 2, "said": ["after"]}


def test_copy_copy_makes_the_copies(monkeypatch: pytest.MonkeyPatch):
    copied, original = [], copy.copy

    def recorded(node: Any) -> Any:
        copied.append(node)
        return original(node)

    monkeypatch.setattr(pf.copy, "copy", recorded)
    a, b = Say("a"), Say("b")
    a >> b
    said(pf.Flow(a))
    assert copied[:2] == [a, b]
    assert len([node for node in copied if node is not None]) == 2


def test_a_whole_program_gives_the_same_result():
    """Retries, branches, batches and nested flows in one program."""

    class Load(pf.Node):
        def prep(self, shared: Any) -> Any:
            return shared["texts"]

        def exec(self, texts: Any) -> Any:
            return [text.split() for text in texts]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["words"] = exec_res
            return "many" if len(exec_res) > 1 else "one"

    class Lengths(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["words"]

        def exec(self, words: Any) -> Any:
            if not words:
                raise ValueError("empty")
            return sum(map(len, words))

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return 0

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["lengths"] = exec_res

    class Grade(pf.Node):
        def prep(self, shared: Any) -> Any:
            return shared["lengths"][self.params["i"]]

        def exec(self, length: Any) -> Any:
            return "long" if length > 8 else "short"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["grades"].append((self.params["i"], exec_res))
            return exec_res

    class Shout(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["grades"].append("!")

    class GradeAll(pf.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"i": i} for i in range(len(shared["lengths"]))]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "graded"

    load, lengths, grade, shout, one = Load(), Lengths(max_retries=2), Grade(), Shout(), Say("one")
    load - "many" >> lengths
    load - "one" >> one
    grade - "long" >> shout
    grade - "short" >> pf.Node()
    grades = GradeAll(start=grade)
    lengths >> grades
    grades - "graded" >> Say("end")
    shared: dict[str, Any] = {"texts": ["a few words here", "", "hi"], "grades": []}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pf.Flow(start=pf.Flow(start=load)).run(shared) is None
    assert shared["lengths"] == [13, 0, 2]
    assert shared["grades"] == [(0, "long"), "!", (1, "short"), (2, "short")]
    assert shared["said"] == ["end"]


def test_a_visit_copies_slots_and_what_a_built_in_base_holds(kit):
    class Slotted(kit.Node):
        __slots__ = ("word",)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["word"] = self.word

    class Table(kit.Node, dict):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["row"] = self["row"]

    slotted, table, shared = Slotted(), Table(), {}
    slotted.word, table["row"] = "kept", 1
    slotted >> table
    kit.run(kit.Flow(slotted), shared)
    assert shared == {"word": "kept", "row": 1}
