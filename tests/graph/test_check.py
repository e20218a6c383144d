"""What is told of flows before they run."""

from __future__ import annotations

import asyncio
import sys
import typing
import warnings
from typing import Annotated, Any, Literal, Optional, Union
from unittest.mock import MagicMock

import pytest

from pocketflow import (
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchNode,
    AsyncParallelFlow,
    BatchFlow,
    Flow,
    Node,
)
from pocketflow.dataflow import Dataflow
from pocketflow.executors import ExecutorNode
from pocketflow.graph import check
from pocketflow.hooks import Hook, hooked
from tests.graph.kit import DEEP, node, small_stack

Next = Literal["search", "answer"]
ALIASES: list[Any] = []  # what `type Action = ...` makes, where Python has it
if sys.version_info >= (3, 12):
    ALIASES = [(typing.TypeAliasType("Action", Literal["a"] | None), {"a", "default"})]


class Decide(Node):
    def post(self, shared, prep_res, exec_res) -> Next: ...


def test_a_flow_that_is_fine_has_no_findings():
    decide = Decide()
    decide - "search" >> node("Search") >> decide
    decide - "answer" >> node("Answer")
    assert check(Flow(decide)) == []


def test_an_action_without_an_edge_and_an_edge_without_its_action_are_found():
    decide = Decide()
    decide - "serach" >> node("Search")
    decide - "answer" >> node("Answer")
    assert check(Flow(decide)) == [
        'Decide.post may return "search", for which there is no edge: write Decide - "search" >> node',
        'Decide - "serach" >> Search is never taken: post is annotated to return "search" or "answer"',
    ]


def test_a_node_without_edges_may_return_what_it_likes():
    assert check(Flow(Decide())) == []


@pytest.mark.parametrize(
    ("annotation", "actions"),
    [
        (Literal["a", "b"], {"a", "b"}),
        (Literal["a", None], {"a", "default"}),
        (Literal["a", "", "default"], {"a", "default"}),
        (None, {"default"}),
        (Optional[Literal["a"]], {"a", "default"}),  # noqa: UP045  # as users write it
        (Union[Literal["a"], Literal["b"], None], {"a", "b", "default"}),  # noqa: UP007  # as users write it
        (Literal["a"] | None, {"a", "default"}),
        (Annotated[Literal["a"], "why"], {"a"}),
        ("Next", {"search", "answer"}),
        ("Literal['a'] | None", {"a", "default"}),
        *ALIASES,
    ],
)
def test_every_way_to_annotate_actions_is_read(annotation: Any, actions: set[str]):
    def wired(*edges: str) -> Flow:
        def post(self, shared, prep_res, exec_res): ...

        post.__annotations__ = {"return": annotation}
        chooses = type("Chooses", (Node,), {"post": post})()
        for edge in edges:
            chooses.next(node("To"), edge)
        return Flow(chooses)

    assert check(wired(*actions)) == []
    for action in actions:
        assert len(check(wired("odd", *actions - {action}))) == 2


@pytest.mark.parametrize(
    "annotation", [str, Any, str | None, Literal["a"] | str, Literal["a", 1], "Unknown", "1 / 0", int]
)
def test_an_annotation_that_names_no_actions_is_ignored(annotation: Any):
    chooses, post = node("Chooses"), lambda shared, prep_res, exec_res: None
    post.__annotations__ = {"return": annotation}
    chooses.post = post
    chooses - "x" >> node("To")
    assert check(Flow(chooses)) == []


def test_none_is_written_as_the_edge_without_an_action():
    class Loop(AsyncNode):
        async def post_async(self, shared, prep_res, exec_res) -> Literal["again"] | None: ...

    loop = Loop()
    loop - "again" >> loop
    assert check(AsyncFlow(loop)) == [
        "Loop.post_async may return None, for which there is no edge: write Loop >> node",
    ]
    loop >> node("End")
    assert check(AsyncFlow(loop)) == []


def test_findings_inside_of_nested_flows_and_branches_are_told_once():
    decide = Decide()
    decide - "search" >> node("Search")
    finding = 'Decide.post may return "answer", for which there is no edge: write Decide - "answer" >> node'
    assert check(AsyncFlow(AsyncParallelFlow(Flow(Flow(decide)), decide))) == [finding]


def test_a_flow_inside_of_itself_is_checked_once():
    inner = Flow()
    inner.start(node("A")) - "deeper" >> inner
    assert check(inner) == check(Flow(inner)) == []


def tampered(node: Any, **settings: Any) -> Any:
    vars(node).update(settings)
    return node


async def as_async(self, *values): ...


def plain(self, *values): ...


REFUSED = {
    "an async node in a sync flow": (lambda: Flow(node("Ask", AsyncNode)), "make it an AsyncFlow"),
    "and deep inside": (lambda: Flow(wired(node("A"), Flow(node("Ask", AsyncNode)))), "make it an AsyncFlow"),
    "an async flow in a batch flow": (lambda: Entries(AsyncFlow(node("A"))), "make it an AsyncBatchFlow"),
    "a flow without a start": (lambda: Flow(), "Flow has no start: write Flow(start=node)"),
    "no room for items": (
        lambda: AsyncFlow(tampered(node("Items", AsyncParallelBatchNode), max_concurrency=0)),
        "Items: max_concurrency must be at least 1, not 0",
    ),
    "a negative wait": (
        lambda: Flow(tampered(node("Ask", exec=lambda self, value: 1 / 0), max_retries=2, wait=-1)),
        "Ask: wait must be at least 0, not -1",
    ),
    "a plain phase of an async node": (
        lambda: AsyncFlow(node("Ask", AsyncNode, prep_async=plain)), "Ask.prep_async is a plain def: write `async def",
    ),
    "a node that is not set up": (
        lambda: Flow(object.__new__(type("Ask", (Node,), {}))), "Ask is not set up: begin its __init__ with super()",
    ),
}  # fmt: skip


class Entries(BatchFlow):
    def prep(self, shared):
        return [{}]


def wired(first: Any, *others: Any) -> Any:
    last = first
    for other in others:
        last = last >> other
    return first


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_core_refuses_at_a_visit_is_found_before(case: str):
    flow, advice = REFUSED[case][0](), REFUSED[case][1]
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        asyncio.run(flow.run_async({})) if isinstance(flow, AsyncNode) else flow.run({})
    [finding] = check(flow)
    assert advice in finding


@pytest.mark.parametrize(
    ("ask", "finding"),
    [
        (node("Ask", AsyncNode, exec=plain), "Ask.exec is never called: name it exec_async"),
        (node("Ask", AsyncNode, post=plain), "Ask.post is never called: name it post_async"),
        (node("Ask", AsyncFlow, prep=plain), "Ask.prep is never called: name it prep_async"),
        (node("Ask", exec_async=as_async), "Ask.exec_async is never called: derive Ask from AsyncNode"),
        (node("Ask", prep_async=plain), "Ask.prep_async is never called: derive Ask from AsyncNode"),
    ],
)
def test_a_phase_of_the_other_kind_of_node_is_found(ask: Any, finding: str):
    flow = AsyncFlow(ask) if not isinstance(ask, AsyncFlow) else ask
    if flow is ask:
        ask.start(node("A"))
    assert check(flow) == [finding]


def test_a_node_that_writes_both_kinds_of_phases_uses_one_for_the_other():
    both = node("Both", AsyncNode, exec=plain, exec_async=as_async, prep=plain, prep_async=as_async)
    assert check(AsyncFlow(both)) == []
    assert check(AsyncFlow(node("Ask", ExecutorNode, prep=plain, exec=plain, post=plain))) == []


def prepare(self, shared): ...


def with_prepare(self, shared):
    return self.prepare(shared)


def test_a_misspelt_phase_is_found():
    for name, phase in (("prepare", "prep"), ("prpe", "prep"), ("execute", "exec"), ("exce", "exec")):
        assert check(Flow(node("Ask", **{name: prepare}))) == [f"Ask.{name} is never called: did you mean {phase}?"]
    ask = node("Ask", AsyncNode, prepare_async=prepare)
    assert check(AsyncFlow(ask)) == ["Ask.prepare_async is never called: did you mean prep_async?"]


def test_a_method_that_another_one_uses_or_that_takes_other_values_is_no_misspelt_phase():
    assert check(Flow(node("Ask", prepare=prepare, prep=with_prepare))) == []
    assert check(Flow(node("Ask", prepare=prepare, exec=with_prepare))) == []
    assert check(Flow(node("Ask", prepare=lambda self: None))) == []
    assert check(Flow(node("Ask", report=lambda self, shared, found, text: None))) == []


def test_a_node_that_runs_in_its_own_way_calls_what_it_likes():
    assert check(Flow(node("Ask", _run=plain, prepare=prepare, exec_async=plain))) == []


def test_an_edge_begun_and_not_ended_is_found():
    ask = node("Ask")
    ask - "again"
    ask - "end" >> node("Answer")
    assert check(Flow(ask)) == ['Ask - "again" leads nowhere: write Ask - "again" >> node']
    ask - "again" >> ask
    assert check(Flow(ask)) == []
    ask - "over" >> None
    assert check(Flow(ask)) == []


def test_a_flow_that_starts_at_the_end_of_its_chain_is_found():
    assert check(Flow(node("Load") >> node("Parse"))) == [
        "Flow starts at Parse, to which an edge leads from a node outside of it: "
        "write first >> Parse on a line of its own, then Flow(first)",
    ]


def test_a_start_that_nodes_of_the_flow_lead_back_to_is_fine():
    ask = node("Ask")
    ask >> node("Answer") >> ask
    assert check(Flow(ask)) == []


def test_a_start_to_which_a_node_of_the_flow_around_leads_is_fine():
    work = node("Work")
    first = wired(node("First"), work)
    work - "again" >> BatchFlow(start=work)
    assert check(Flow(first)) == []


def test_a_flow_that_may_set_its_start_in_prep_needs_none():
    class Chosen(Flow):
        def prep(self, shared):
            self.start_node = shared["start"]

    assert check(Chosen()) == check(Flow(Chosen())) == []


def test_an_async_node_that_writes_run_as_well_may_be_in_a_sync_flow():
    both = type("Both", (AsyncNode,), {"_run": lambda self, shared: None})()
    assert check(Flow(both)) == []


def test_nothing_runs_and_no_hook_hears_of_it():
    class Loud(Node):
        def prep(self, shared):
            raise AssertionError

    class Deaf(Hook):
        def on_start(self, step):
            raise AssertionError

    with hooked(Deaf()), warnings.catch_warnings(record=True) as caught:
        assert check(Flow(Loud())) == []
    assert caught == []


async def test_a_check_may_be_made_inside_of_an_event_loop():
    assert check(AsyncFlow(node("Ask", AsyncNode))) == []


def test_a_node_of_another_make_is_checked():
    class Foreign:
        """No base class of ours, and as unfriendly as it gets."""

        __hash__ = None  # type: ignore[assignment]  # on purpose

        def __init__(self) -> None:
            self.successors = {None: node("After"), "": None}

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __len__(self) -> int:
            return 0

        def _run(self, shared: Any) -> None: ...

    assert check(Flow(Foreign())) == []
    assert check(Flow(MagicMock(spec=Node, successors={}))) == []


def test_a_long_chain_is_checked():
    first = wired(*(node("N") for _ in range(DEEP)))
    with small_stack():
        assert check(Flow(first)) == []


def pipeline(returned: Any, taken: Any) -> Dataflow:
    def made(): ...
    def used(made): ...

    made.__annotations__["return"], used.__annotations__["made"] = returned, taken
    return Dataflow(made, used)


@pytest.mark.parametrize(("returned", "taken"), [(str, int), (list[int], dict), (int | None, str), (float, int | str)])
def test_annotations_of_tasks_that_cannot_fit_are_found(returned: Any, taken: Any):
    [finding] = check(AsyncFlow(pipeline(returned, taken)))
    assert finding.startswith("made returns ")
    assert finding.endswith("that used takes as made: change one of the annotations")


@pytest.mark.parametrize(
    ("returned", "taken"),
    [
        (int, int), (bool, int), (int, float), (int | None, int), (Any, int), (str, Any), (list[int], list),
        (str, object), (str, "Unknown"), (Literal["a"], str),
        (dict[str, int], Annotated[dict, "why"]), (str, typing.Sized),
    ],
)  # fmt: skip
def test_annotations_of_tasks_that_may_fit_are_not(returned: Any, taken: Any):
    assert check(pipeline(returned, taken)) == []
