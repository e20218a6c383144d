"""Pictures of flows, and what is told of them before they run."""

from __future__ import annotations

import asyncio
import sys
import typing
import warnings
from typing import Annotated, Any, Literal, Optional, Union

import pytest

from pocketflow import (
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchNode,
    AsyncParallelFlow,
    BatchFlow,
    Flow,
    FlowWarning,
    Hook,
    Node,
    hooked,
)
from pocketflow.dataflow import Dataflow
from pocketflow.graph import check, draw, to_mermaid

Next = Literal["search", "answer"]
ALIASES: list[Any] = []  # what `type Action = ...` makes, where Python has it
if sys.version_info >= (3, 12):
    ALIASES = [(typing.TypeAliasType("Action", Literal["a"] | None), {"a", "default"})]


def node(name: str, base: type = Node) -> Any:
    return type(name, (base,), {})()


def lines(flow: Any) -> list[str]:
    first, *rest = to_mermaid(flow).splitlines()
    assert first == "flowchart TD"
    return [line.strip() for line in rest]


# The picture


def test_a_loop_is_drawn_with_its_actions_and_its_start_rounded():
    ask, answer = node("Ask"), node("Answer")
    ask - "more" >> answer >> ask
    assert lines(Flow(ask)) == ['n0(["Ask"])', 'n1["Answer"]', 'n0 -->|"more"| n1', "n1 --> n0"]


def test_two_actions_to_one_node_are_two_edges_and_the_node_is_drawn_once():
    a, b = node("A"), node("B")
    a - "x" >> b
    a - "y" >> b
    assert lines(Flow(a)) == ['n0(["A"])', 'n1["B"]', 'n0 -->|"x"| n1', 'n0 -->|"y"| n1']


def test_a_nested_flow_is_a_frame_around_its_nodes():
    first, second, last = node("First"), node("Second"), node("Last")
    first >> second
    inner = Flow(first)
    inner - "done" >> last
    assert to_mermaid(Flow(inner)) == (
        "flowchart TD\n"
        '    subgraph n0 ["Flow"]\n'
        '        n2(["First"])\n'
        '        n3["Second"]\n'
        "    end\n"
        '    n1["Last"]\n'
        "    n2 --> n3\n"
        '    n0 -->|"done"| n1'
    )


def test_branches_part_at_a_fork_inside_of_their_frame():
    read, report = node("Read"), node("Report")
    read >> [node("B"), node("C")] >> report
    assert lines(AsyncFlow(read)) == [
        'n0(["Read"])', 'subgraph n1 ["AsyncParallelFlow"]', 'n5{"#43;"}', 'n3["B"]', 'n4["C"]', "end", 'n2["Report"]',
        "n0 --> n1", "n5 --> n3", "n5 --> n4", "n1 --> n2",
    ]  # fmt: skip


def test_in_a_dataflow_arrows_lead_to_the_users_of_a_result_and_what_is_not_run_is_left_out():
    def total(prices): ...
    def mean(total, prices): ...
    def unused(total): ...

    dataflow = Dataflow(total, mean, unused, final_vars=["mean"])
    assert lines(dataflow) == ['n0["total"]', 'n1["mean"]', "n0 --> n1"]
    assert lines(AsyncFlow(dataflow)) == ['subgraph n0 ["Dataflow"]', 'n1["total"]', 'n2["mean"]', "end", "n1 --> n2"]


def test_a_flow_that_starts_at_a_node_drawn_elsewhere_has_a_dotted_line_to_it():
    work = node("Work")
    work - "again" >> BatchFlow(start=work)
    assert lines(Flow(work)) == [
        'n0(["Work"])', 'subgraph n1 ["BatchFlow"]', "end", 'n0 -->|"again"| n1', "n1 -.-> n0",
    ]  # fmt: skip


def test_a_flow_inside_of_itself_is_a_box_there():
    decide = node("Decide")
    inner = node("Inner", Flow)
    inner.start(decide) - "deeper" >> inner
    assert lines(Flow(inner)) == [
        'subgraph n0 ["Inner"]', 'n1(["Decide"])', 'n2[["Inner"]]', "end", 'n1 -->|"deeper"| n2',
    ]  # fmt: skip
    assert lines(inner) == ['n0(["Decide"])', 'n1[["Inner"]]', 'n0 -->|"deeper"| n1']


def test_a_flow_without_a_start_and_a_node_alone_are_drawn_too():
    assert lines(Flow(node("Prepare", Flow))) == ['n0[["Prepare"]]']
    assert lines(Flow()) == []
    assert lines(node("Alone")) == ['n0(["Alone"])']


def test_a_node_of_another_make_is_drawn():
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

    assert lines(Flow(Foreign())) == ['n0(["Foreign"])', 'n1["After"]', "n0 --> n1"]
    assert check(Flow(Foreign())) == []


def test_a_name_is_cut_and_holds_no_character_that_mermaid_could_read():
    odd = node("odd")
    odd.name = '"]\nend <b>`#`'
    assert lines(odd) == ['n0(["#34;#93;#32;end#32;#60;b#62;#96;#35;#96;"])']
    odd.name = "é" * 61
    assert lines(odd) == [f'n0(["{"é" * 59}#8230;"])']


def test_a_long_chain_is_drawn_and_checked():
    first = last = node("N")
    for _ in range(5000):
        last = last >> node("N")
    assert len(lines(Flow(first))) == 10_001
    assert check(Flow(first)) == []


def test_a_notebook_gets_the_picture_as_mermaid_and_as_text():
    drawing, text = draw(node("A")), 'flowchart TD\n    n0(["A"])'
    assert drawing._repr_mimebundle_() == {"text/vnd.mermaid": text, "text/plain": text}
    assert str(drawing) == text


# The checks


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


REFUSED = {
    "an async node in a sync flow": lambda: Flow(node("Ask", AsyncNode)),
    "and deep inside": lambda: Flow(node("A") >> Flow(node("Ask", AsyncNode))),
    "a flow without a start": lambda: Flow(),
    "a nested one": lambda: AsyncFlow(AsyncParallelFlow()),
    "no attempts": lambda: Flow(tampered(Node(), max_retries=0)),
    "a negative wait": lambda: Flow(tampered(Node(), wait=-1)),
    "no room for items": lambda: AsyncFlow(tampered(AsyncParallelBatchNode(), max_concurrency=0)),
    "an async phase of a sync node": lambda: Flow(type("Ask", (Node,), {"exec": as_async})()),
    "a node that is not set up": lambda: tampered(Flow(), start_node=object.__new__(Node)),
}


async def as_async(self, prep_res): ...


def tampered(node: Any, **settings: Any) -> Any:
    vars(node).update(settings)
    return node


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_core_refuses_is_found_before_in_its_words(case: str):
    flow = REFUSED[case]()
    with pytest.raises(Exception) as refused:  # noqa: PT011  # whatever the core raises
        asyncio.run(flow.run_async({})) if isinstance(flow, AsyncNode) else flow.run({})
    [finding] = check(flow)
    assert str(refused.value).removesuffix(". Use run_async.") == finding


def test_what_the_core_warns_of_is_found_before_in_its_words():
    flow = AsyncFlow(type("Ask", (AsyncNode,), {"exec": lambda self, prep_res: None})())
    with pytest.warns(FlowWarning) as warned:
        asyncio.run(flow.run_async({}))
    assert check(flow) == [str(warned[0].message)]


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
        assert check(Flow(Loud() >> Loud())) == []
    assert caught == []


async def test_a_check_may_be_made_inside_of_an_event_loop():
    assert check(AsyncFlow(node("Ask", AsyncNode))) == []
