"""`>>`, `-` and `next`: which node follows which action, and what cannot be wired."""

from __future__ import annotations

import enum
import warnings
from typing import Any
from unittest.mock import MagicMock

import pytest

import pocketflow as pf
from tests.core.nodes import Say, notes, said
from tests.kits import SyncKit


class Color(enum.Enum):
    RED = 1


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


def test_a_loop_ends_by_its_action():
    class Count(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            return "again" if shared["n"] < 5 else None

    count, shared = Count(), {"n": 0}
    count - "again" >> count
    count >> Say("done")
    pf.Flow(count).run(shared)
    assert shared == {"n": 5, "said": ["done"]}


def test_an_action_overwritten_is_warned_of_and_the_last_edge_holds():
    a, b, c = Say("a", "x"), Say("b"), Say("c")
    a - "x" >> b
    with pytest.warns(UserWarning, match="Overwriting successor for action 'x'"):
        a - "x" >> c
    assert said(pf.Flow(a)) == ["a", "c"]


def test_an_edge_may_be_cleared_by_deleting_it():
    a, b = Say("a"), Say("b")
    a >> b
    del a.successors["default"]
    assert said(pf.Flow(a)) == ["a"]


# Ends


@pytest.mark.parametrize("end", ["named", "default", "by hand"])
def test_an_edge_to_none_ends_the_flow(kit: SyncKit, end: str):
    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["said"].append("first")
            return {"named": "error", "default": None, "by hand": "x"}[end]

    first = First()
    if end == "named":
        first - "error" >> None
    elif end == "default":
        first >> None
    else:
        first.successors["x"] = None
    shared: dict[str, Any] = {"said": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kit.run(kit.Flow(first), shared)
    assert shared == {"said": ["first"]}


@pytest.mark.fixed
def test_an_end_on_purpose_is_no_reason_to_warn(kit: SyncKit):
    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "stop"

    first = First()
    first - "stop" >> None
    first >> kit.Node()
    kit.run(kit.Flow(first))  # where a warning is an error


def test_an_action_that_leads_nowhere_is_warned_of_where_there_are_others(kit: SyncKit):
    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "lost"

    first = First()
    first - "x" >> kit.Node()
    with pytest.warns(UserWarning, match=r"^Flow ends: 'lost' not found in \['x'\]"):
        assert kit.run(kit.Flow(first)) == "lost"
    assert kit.run(kit.Flow(First())) == "lost"  # the end of a chain needs no warning


@pytest.mark.new
def test_the_warning_names_the_node_after_the_text_of_old():
    lost = Say("a", "lost")
    lost - "x" >> Say()
    with pytest.warns(pf.FlowWarning, match=r"^Flow ends: 'lost' not found in \['x'\], the actions of Say$"):
        pf.Flow(lost).run({})


# Actions


def last_action(kit: SyncKit, action: Any, edge: Any) -> Any:
    """That of a flow whose first node returns `action`, and has this edge to a second one."""

    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return action

    class Second(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return "second"

    first = First()
    first.next(Second(), edge)
    return kit.run(kit.Flow(first))


@pytest.mark.parametrize("action", [Color.RED, 5, 2.5, True, ("a", 1), frozenset("a")], ids=repr)
def test_an_action_is_whatever_can_be_a_key(kit: SyncKit, action: Any):
    assert last_action(kit, action, edge=action) == "second"


@pytest.mark.parametrize("action", [None, "", False, 0, 0.0, [], {}, ()], ids=repr)
def test_whatever_is_false_is_the_default_action(kit: SyncKit, action: Any):
    assert last_action(kit, action, edge="default") == "second"


@pytest.mark.fixed
@pytest.mark.parametrize("action", [None, "", 0, False, []], ids=repr)
def test_an_edge_of_an_action_that_is_false_is_that_of_the_default(action: Any):
    first = Say("first", action)
    first.next(Say("second"), action)
    assert said(pf.Flow(first)) == ["first", "second"]


@pytest.mark.fixed
@pytest.mark.parametrize("action", [["x"], {"x": 1}, {"x"}], ids=repr)
def test_an_action_that_cannot_be_a_key_is_refused_with_node_and_value(kit: SyncKit, action: Any):
    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return action

    first = First()
    first >> kit.Node()
    with pytest.raises(TypeError, match="First: the action .*x.* cannot pick an edge"):
        kit.run(kit.Flow(first))
    with pytest.raises(TypeError, match="First: the action .*x.* cannot pick an edge"):
        first.next(kit.Node(), action)


@pytest.mark.new
@pytest.mark.parametrize("action", [["x"], {"x": 1}], ids=repr)
def test_where_there_is_no_edge_to_choose_any_action_is_the_result(kit: SyncKit, action: Any):
    class Only(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return action

    assert kit.run(kit.Flow(Only())) == action


@pytest.mark.new
def test_an_action_that_is_neither_true_nor_false_is_refused_by_name():
    class Array:
        def __bool__(self) -> bool:
            raise ValueError("The truth value of an array is ambiguous")

    first = Say("first", Array())
    first >> Say("second")
    with pytest.raises(TypeError, match="Say: the action .*Array.* cannot pick an edge"):
        pf.Flow(first).run({})


@pytest.mark.parametrize("action", [5, None, Color.RED], ids=repr)
def test_behind_a_minus_stands_a_string(action: Any):
    with pytest.raises(TypeError, match="Action must be a string"):
        Say("a") - action


# Overridden


def test_an_overridden_next_is_heard_by_both_operators(kit: SyncKit):
    class Logged(kit.Node):
        def next(self, node: Any, action: Any = "default") -> Any:
            wired.append(action)
            return super().next(node, action)

    wired: list[Any] = []
    Logged() >> kit.Node()
    Logged() - "x" >> kit.Node()
    assert wired == ["default", "x"]


def test_a_patched_next_is_heard_by_both_operators(monkeypatch: pytest.MonkeyPatch):
    wired: list[Any] = []
    monkeypatch.setattr(pf.BaseNode, "next", lambda self, node, action="default": wired.append(action))
    Say() >> Say()
    Say() - "x" >> Say()
    assert wired == ["default", "x"]


def test_a_next_replaced_on_an_instance_is_heard():
    node, wired = Say(), []
    node.next = lambda target, action="default": wired.append((target, action))  # type: ignore[method-assign]  # as users do
    node >> "anything"
    assert wired == [("anything", "default")]


# What is not a node


@pytest.mark.fixed
def test_two_edges_in_one_expression_are_refused_with_the_line_to_write():
    a, b, c = Say(), Say(), Say()
    with pytest.raises(TypeError, match='an edge is not a node: write .*Say - "x" >> '):
        a >> b - "x" >> c


@pytest.mark.fixed
@pytest.mark.parametrize(
    ("target", "advice"),
    [
        (Say, r"a class is not a node: write .*Say\(\)"),
        ("x", "'x' is not a node; an action is written a - \"x\" >> b"),
        ((), r"\(\) is not a node; .* branches a >> \[b, c\]"),
        (3, "3 is not a node"),
        (len, "<built-in function len> is not a node"),
    ],
    ids=["class", "string", "tuple", "number", "function"],
)
def test_what_is_no_node_is_refused_when_it_is_wired(target: Any, advice: str):
    with pytest.raises(TypeError, match=advice):
        Say() >> target
    with pytest.raises(TypeError, match="is not a node"):
        Say() - "x" >> target
    with pytest.raises(TypeError, match="is not a node"):
        pf.Flow(start=target)
    with pytest.raises(TypeError, match="is not a node"):
        pf.Flow().start(target)


@pytest.mark.fixed
def test_a_flow_that_starts_with_an_edge_is_refused():
    with pytest.raises(TypeError, match="an edge is not a node: write "):
        pf.Flow(start=Say() - "x")


@pytest.mark.fixed
def test_an_init_that_forgot_super_is_told_so_where_it_is_used():
    class Forgot(pf.Node):
        def __init__(self) -> None:
            self.x = 1

    first = Say()
    first >> Forgot()
    for use in (lambda: Forgot() >> Say(), lambda: pf.Flow(first).run({}), lambda: pf.Flow(Forgot()).run({})):
        with pytest.raises(TypeError, match=r"Forgot is not set up: begin its __init__ with super\(\).__init__\(\)"):
            use()


@pytest.mark.fixed
def test_a_node_that_fails_for_an_init_that_forgot_super_is_told_so(kit: SyncKit):
    class Forgot(kit.Node):
        def __init__(self) -> None:
            self.x = 1

        def exec(self, prep_res: Any) -> Any:
            raise ValueError("and then no one knows how many attempts there are")

    with pytest.raises(AttributeError, match="max_retries") as caught:
        kit.run(kit.Flow(Forgot()))
    assert "Forgot is not set up: begin its __init__ with super().__init__()" in notes(caught.value)


# Whatever can run is a node


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

    duck, a = Duck(), Say("a")
    duck.successors["on"] = Say("after")
    a >> duck
    flow = pf.Flow(a)
    flow.set_params({"p": 1})
    assert said(flow) == ["a", ("duck", {"p": 1}), "after"]


def test_a_mock_of_a_node_is_a_node(kit: SyncKit):
    mock = MagicMock(spec=pf.Node)
    mock.successors = {}
    mock.__copy__ = lambda self: self
    mock._run.return_value = "from the mock"
    first = kit.Node()
    first >> mock
    assert kit.run(kit.Flow(first)) == "from the mock"
    assert kit.run(kit.Flow(mock)) == "from the mock"


@pytest.mark.fixed
def test_a_node_may_define_len_and_bool(kit: SyncKit):
    class Empty(kit.Node):
        def __len__(self) -> int:
            return 0

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["visits"] += 1

    class Falsy(Empty):
        def __bool__(self) -> bool:
            return False

    first, shared = Empty(), {"visits": 0}
    first >> Falsy()
    kit.run(kit.Flow(first), shared)
    assert shared == {"visits": 2}
