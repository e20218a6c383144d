"""The nodes and edges of flows, and finding the node of a step."""

from __future__ import annotations

import random

import pytest

from pocketflow import AsyncFlow, AsyncParallelFlow, BatchFlow, BatchNode, Flow, Node
from pocketflow.dataflow import Dataflow, task
from pocketflow.graph import Graph
from tests.graph.kit import Paths, node, scripted, watched
from tests.rounds import ROUNDS


def ids(flow: object) -> list[str]:
    return [place.id for place in Graph(flow).nodes]


def edges(flow: object) -> list[tuple[str, str | None, str | None]]:
    return [tuple(edge) for edge in Graph(flow).edges]


def test_ids_are_paths_without_numbers_of_visits():
    first, second = node("First"), node("Second")
    first >> Flow(second) >> node("Last")
    assert ids(Flow(first)) == ["Flow", "Flow/First", "Flow/Flow", "Flow/Flow/Second", "Flow/Last"]


def test_a_node_knows_its_kind_its_place_and_itself():
    first, left, right = node("First"), node("Left"), node("Right")
    flow = AsyncFlow(first)
    first >> [left, right]
    outer, one, fork, two, three = Graph(flow).nodes
    assert (outer.kind, outer.parent, outer.node) == ("flow", None, flow)
    assert (one.kind, one.parent, one.node, one.is_start) == ("node", "AsyncFlow", first, True)
    assert (fork.kind, fork.is_start) == ("parallel", False)
    assert [(place.id, place.branch, place.is_start) for place in (two, three)] == [
        ("AsyncFlow/AsyncParallelFlow[0]/Left", 0, True), ("AsyncFlow/AsyncParallelFlow[1]/Right", 1, True),
    ]  # fmt: skip


def test_an_edge_to_none_and_its_action_are_there():
    ask = node("Ask")
    ask - "again" >> ask
    ask >> None
    assert edges(Flow(ask)) == [("Flow/Ask", "again", "Flow/Ask"), ("Flow/Ask", "default", None)]


def test_of_two_nodes_with_one_name_the_second_has_a_number():
    first = Node()
    first >> Node() >> Node()
    assert ids(Flow(first)) == ["Flow", "Flow/Node", "Flow/Node~2", "Flow/Node~3"]


def test_a_name_with_the_characters_of_paths_is_written_as_in_a_path():
    odd = node("odd")
    odd.name = "a/b[1]:~2%"
    flow = Flow(odd)
    flow.name = "x/0:y"
    graph = Graph(flow)
    assert [graph.locate(path) for path, _ in watched(flow).steps] == [graph.nodes[0].id] * 2 + [graph.nodes[1].id] * 3
    assert graph.nodes[1].name == "a/b[1]:~2%"


def test_a_node_that_stands_in_two_flows_or_branches_has_two_places():
    shared = node("Shared")
    one, two = Flow(shared), BatchFlow(shared)
    one >> two
    assert ids(Flow(one)) == ["Flow", "Flow/Flow", "Flow/Flow/Shared", "Flow/BatchFlow", "Flow/BatchFlow/Shared"]
    assert ids(AsyncParallelFlow(shared, shared))[1:] == ["AsyncParallelFlow[0]/Shared", "AsyncParallelFlow[1]/Shared"]


def test_a_flow_inside_of_itself_ends_there_and_its_steps_belong_to_it():
    decide, inner = scripted("Decide", "deeper"), node("Inner", Flow)
    inner.start(decide) - "deeper" >> inner
    graph = Graph(inner)
    assert [place.id for place in graph.nodes] == ["Inner", "Inner/Decide", "Inner/Inner"]
    assert graph.locate("Inner/1:Inner/0:Decide/exec") == "Inner/Inner"


def test_a_dataflow_holds_the_tasks_that_it_needs_and_edges_to_their_users():
    def total(prices): ...
    def mean(total, prices): ...
    def unused(total): ...

    graph = Graph(Dataflow(total, mean, unused, final_vars=["mean"]))
    tasks = [(place.id, place.kind) for place in graph.nodes if place.kind != "input"]
    assert tasks == [("Dataflow", "dataflow"), ("Dataflow[0]/total", "task"), ("Dataflow[1]/mean", "task")]
    assert ("Dataflow[0]/total", None, "Dataflow[1]/mean") in graph.edges


def test_a_node_alone_is_a_graph_too():
    assert ids(node("Alone")) == ["Alone"]
    assert Graph(node("Alone")).locate("Alone/exec") == "Alone"


def test_steps_of_phases_items_entries_and_inner_runs_belong_to_their_node():
    class Inner(BatchNode):
        def prep(self, shared):
            return [1, 2]

        def exec(self, item):
            Flow(Node()).run({})

    class Twice(BatchFlow):
        def prep(self, shared):
            return [{}, {}]

    flow = Twice(Inner())
    graph, paths = Graph(flow), watched(flow)
    for path, _ in paths.steps:
        assert graph.locate(path) == ("Twice/Inner" if ":Inner" in path else "Twice")
    assert "Twice[1]/0:Inner/exec[1]/~0:Flow/0:Node/exec" in dict(paths.steps)


@pytest.mark.parametrize("path", ["", "Other", "Flow/0:Other", "Flow/0:First/prep/x", "Flow/1:First/0:Deeper"])
def test_a_path_of_another_flow_has_no_node_or_that_around(path: str):
    assert Graph(Flow(node("First"))).locate(path) == ("Flow/First" if "First" in path else None)


def test_nodes_with_one_name_are_told_apart_by_the_actions_before():
    """Five nodes of one name wired at random: each step is found at the very node that ran."""
    for seed in range(10 * ROUNDS):
        rng = random.Random(seed)
        nodes = [scripted("Same", *(rng.choice("ab") for _ in range(20))) for _ in range(5)]
        for number, it in enumerate(nodes):
            it.number = number
            for action in "ab":
                it - action >> rng.choice(nodes)
            it >> None
        flow = AsyncParallelFlow(Flow(nodes[0]), Flow(nodes[1])) if seed % 2 else Flow(nodes[0])
        graph, paths = Graph(flow), watched(flow)
        for path, number in paths.steps:
            if number is not None:
                found = graph.locate(path, paths.actions)
                assert found
                assert graph[found].node.number == number


def test_without_the_actions_the_first_of_its_name_is_meant():
    first = Node()
    first >> Node()
    assert Graph(Flow(first)).locate("Flow/1:Node") == "Flow/Node"


def test_a_long_loop_of_one_name_is_followed_to_its_end():
    first, second = Node(), Node()
    first >> second >> first
    actions = {f"Flow/{number}:Node": None for number in range(5000)}
    graph = Graph(Flow(first))
    assert [graph.locate(f"Flow/{number}:Node", actions) for number in (4998, 4999)] == ["Flow/Node", "Flow/Node~2"]


def test_the_same_wiring_gives_the_same_graph():
    def made() -> Graph:
        ask, answer = node("Ask"), node("Answer")
        ask - "a" >> [answer, node("Log")] >> ask
        ask - "b" >> Flow(Node()) >> answer
        return Graph(AsyncFlow(ask))

    one, two = made(), made()
    assert [place[:4] for place in one.nodes] == [place[:4] for place in two.nodes]
    assert one.edges == two.edges


def test_the_steps_of_a_flow_that_a_task_runs_belong_to_the_nodes_in_there():
    def total(prices): ...

    ask = scripted("Ask", "again")
    ask - "again" >> ask
    ask >> None
    flow = Dataflow(total, task(AsyncFlow(ask), name="inner", mapping={"x": "total"}))
    graph = Graph(flow)
    with Paths() as paths:
        flow.execute({"prices": []})
    found = {path: graph.locate(path) for path, _ in paths.steps}
    assert found["Dataflow[1]/0:inner/exec"] == "Dataflow[1]/inner"
    assert found["Dataflow[1]/0:inner/exec/~0:AsyncFlow/prep"] == "Dataflow[1]/inner/AsyncFlow"
    assert found["Dataflow[1]/0:inner/exec/~0:AsyncFlow/1:Ask/exec"] == "Dataflow[1]/inner/AsyncFlow/Ask"
    assert None not in found.values()


def test_an_input_of_a_dataflow_is_a_node_with_edges_to_those_that_read_it():
    def total(prices): ...
    def mean(total, prices): ...

    graph = Graph(Dataflow(total, mean))
    assert [(place.id, place.node) for place in graph.nodes if place.kind == "input"] == [("Dataflow/prices", None)]
    assert [edge.target for edge in graph.edges if edge.source == "Dataflow/prices"] == [
        "Dataflow[0]/total", "Dataflow[1]/mean",
    ]  # fmt: skip
