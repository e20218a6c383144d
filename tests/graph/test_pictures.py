"""Pictures of flows: SVG for pages, lines for terminals, Mermaid's text."""

from __future__ import annotations

import math
import random
import re
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from pocketflow import AsyncFlow, AsyncParallelFlow, BatchFlow, Flow, Node
from pocketflow.dataflow import Dataflow, task
from pocketflow.graph import Graph, to_mermaid, to_svg, to_text
from tests.browser import chromium
from tests.graph.kit import DEEP, node, small_stack
from tests.rounds import ROUNDS

SVG = "{http://www.w3.org/2000/svg}"
ODD = ['"]\nend <b>`#`', "\x00\x1b[31m", "\u202eright", "名前", "e\u0301", "a" * 300, "&amp;", " ", "👩\u200d🔬"]


def agent() -> Flow:
    decide, search, answer = node("Decide"), node("Search"), node("Answer")
    decide - "search" >> search >> decide
    decide - "answer" >> answer
    return Flow(decide)


def total(prices): ...


def mean(total, prices): ...


def some_flow(rng: random.Random, depth: int = 2) -> Any:
    """A flow of nodes and flows wired at random, with loops, ways back and ends."""
    inside: list[Any] = [node(rng.choice(["Ask", "Look", "Answer"])) for _ in range(rng.randint(1, 7))]
    inside += [some_flow(rng, depth - 1) for _ in range(rng.randrange(3))] if depth else []
    rng.shuffle(inside)
    if rng.random() < 0.2:
        return AsyncParallelFlow(*inside)
    for number, it in enumerate(inside[1:], 1):
        inside[rng.randrange(number)].successors.setdefault(f"a{number}", it)
    for it in rng.choices(inside, k=4):
        it.successors.setdefault(rng.choice(["default", "again", "over"]), rng.choice([*inside, None]))
    return AsyncFlow(inside[0])


def flows() -> list[Any]:
    task_of_flow = task(AsyncFlow(Node() >> None or Node()), name="inner", mapping={"x": "total"})
    return [
        agent(), Flow(), node("Alone"), Flow(Flow()), BatchFlow(Flow(agent())), Dataflow(total, mean),
        AsyncFlow(Dataflow(total, task_of_flow)), *(some_flow(random.Random(seed)) for seed in range(12 * ROUNDS)),
    ]  # fmt: skip


# SVG


def boxes_of(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """data-id -> left, top, right, bottom."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "data-id" in group.attrib:
            x, y, width, height = (float(group[1].attrib[key]) for key in ("x", "y", "width", "height"))
            found[group.attrib["data-id"]] = (x, y, x + width, y + height)
    return found


def lie_apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def holds(outer: tuple[float, ...], inner: tuple[float, ...]) -> bool:
    return outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]


@pytest.mark.parametrize("flow", flows())
def test_every_node_has_a_place_of_its_own_inside_of_its_flow(flow: Any):
    graph, boxes = Graph(flow), boxes_of(to_svg(flow))
    if graph.nodes[0].kind == "node":
        graph = Graph(Flow(flow))
    by_flow: dict[str | None, list[str]] = {}
    for place in graph.nodes[1:]:
        if place.id in boxes:
            by_flow.setdefault(place.parent, []).append(place.id)
            assert place.parent not in boxes or holds(boxes[place.parent], boxes[place.id])
        else:
            assert graph[place.parent or ""].kind == "task"  # the flow of a task is one frame with it
    for ids in by_flow.values():
        assert all(lie_apart(boxes[one], boxes[other]) for one, other in combinations(ids, 2))


@pytest.mark.parametrize("flow", flows())
def test_every_edge_is_drawn_with_its_ends_and_its_action(flow: Any):
    graph = Graph(flow if isinstance(flow, Flow) else Flow(flow))
    paths = ElementTree.fromstring(to_svg(flow)).iter(f"{SVG}path")
    drawn = {tuple(path.get(f"data-{end}") for end in ("source", "action", "target")) for path in paths}
    loops = {edge for edge in graph.edges if edge.source == edge.target}
    assert {(e.source, e.action or "", e.target or "") for e in graph.edges if e not in loops} <= drawn
    assert {edge.source for edge in loops} <= {source for source, _, target in drawn if source == target}


@pytest.mark.parametrize("flow", flows())
def test_every_end_on_purpose_has_its_dot_inside_of_the_picture(flow: Any):
    svg = ElementTree.fromstring(to_svg(flow))
    left, _, width, _ = map(float, svg.attrib["viewBox"].split())
    dots = {(float(it.attrib["cx"]), float(it.attrib["cy"]) - 5) for it in svg.iter(f"{SVG}circle")}
    ends = [it.attrib["d"] for it in svg.iter(f"{SVG}path") if it.get("data-target") == ""]
    tips = [tuple(map(float, re.findall(r"[-\d.]+", path)[-2:])) for path in ends]
    assert len(tips) == len(dots)
    assert all(any(math.dist(tip, dot) < 0.2 for dot in dots) for tip in tips)
    for action in svg.iter(f"{SVG}text"):
        middle, half = float(action.attrib["x"]), 3 * len(action.text or "")  # narrower than any font
        assert action.get("text-anchor") != "middle" or left < middle - half < middle + half < left + width


def test_an_edge_beside_a_tall_flow_bends_before_it_and_not_across_it():
    ask, inner, answer = node("Ask"), Flow(agent()), node("Answer")
    ask - "look" >> inner
    ask >> answer
    svg = to_svg(Flow(ask))
    _, top, _, bottom = boxes_of(svg)["Flow/Flow"]
    [path] = re.findall(r'd="([^"]+)"[^>]*data-target="Flow/Answer"', svg)
    [curve] = re.findall(r"C([-\d. ]+)", path)
    assert all(float(y) <= top for y in curve.split()[1::2])
    assert top < float(path.split()[-1]) < bottom


def test_a_way_back_does_not_leave_a_box_where_another_one_arrives():
    nodes = [node(f"S{number}") for number in range(5)]
    for one, other in pairwise(nodes):
        one >> other
    nodes[4] - "retry" >> nodes[2]
    nodes[2] - "restart" >> nodes[0]
    paths = dict(re.findall(r' d="([^"]+)"[^>]*data-action="(retry|restart)"', to_svg(nodes[0])))
    ends = {action: re.findall(r"[-\d.]+", path) for path, action in paths.items()}
    assert ends["restart"][:2] != ends["retry"][-2:]


def test_an_svg_needs_no_style_and_no_script():
    svg = to_svg(agent())
    assert not re.search(r"style|script|href|\son\w+=|#[0-9a-f]{3,6}\b(?!-)", re.sub(r'(id=|url\(#)"?pf-\w+', "", svg))
    assert svg.count("currentColor") > 3


def test_an_svg_shows_any_name():
    nodes = []
    for name in ODD:
        nodes.append(Node())
        nodes[-1].name = name
    for one, other in pairwise(nodes):
        one.next(other, one.name)
    texts = [it.text for it in ElementTree.fromstring(to_svg(nodes[0])).iter(f"{SVG}text")]
    assert {"\ufffd\ufffd[31m", "\ufffdright", "名前", "&amp;", "👩\u200d🔬", "a" * 59 + "…"} <= set(texts)


def test_pictures_of_one_page_do_not_share_the_ids_of_their_masks():
    ids = [set(re.findall(r'\bid="([^"]+)"', to_svg(flow))) for flow in (agent(), Flow(node("A")))]
    assert not ids[0] & ids[1]


def test_the_same_wiring_gives_the_same_pictures():
    for picture in (to_svg, to_text, to_mermaid):
        assert picture(agent()) == picture(agent())


def test_a_browser_shows_an_svg_under_a_strict_policy():
    page_text = (
        "<!DOCTYPE html><meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'self'\">"
        f"<body>{to_svg(agent())}</body>"
    )
    with chromium() as browser:
        page, complaints = browser.new_page(), []
        page.on("console", lambda message: complaints.append(message.text))
        page.set_content(page_text)
        texts = page.locator("g.pf-node > text").all_text_contents()
        width = "(nodes, tag) => nodes.map(node => node.querySelector(tag).getBBox().width)"
        sizes = [page.locator("g.pf-node").evaluate_all(width, tag) for tag in ("text", "rect")]
    assert sorted(texts) == ["Answer", "Decide", "Search"]
    assert all(text < box for text, box in zip(*sizes, strict=True))
    assert complaints == []


def test_five_hundred_nodes_are_drawn():
    rng = random.Random(1)
    nodes = [node("N") for _ in range(500)]
    for number in range(1, 500):
        nodes[rng.randrange(max(0, number - 9), number)].successors[f"to {number}"] = nodes[number]
    assert len(boxes_of(to_svg(Flow(nodes[0])))) == 500


def test_a_long_chain_is_drawn():
    first = last = node("N")
    for _ in range(DEEP):
        last = last >> node("N")
    with small_stack():
        assert len(boxes_of(to_svg(Flow(first)))) == DEEP + 1
        assert to_text(Flow(first)).count("▼") == DEEP
        assert to_mermaid(Flow(first)).count("-->") == DEEP


# Text


AGENT = """\
       ╭──────────╮
       │  Decide  │
       ╰──┬──┬──┬─╯
          │  ▲  │
    ┌─────┘  │  └────┐
    │    ┌───┘       │
  search │         answer
    ▼    │           ▼
┌───┴────┴──┐   ┌────┴───┐
│  Search   │   │ Answer │
└───────────┘   └────────┘"""
NESTED = """\
         ╭──────╮
         │ Read │
         ╰───┬──╯
             │
             ▼
┌─ AsyncParallelFlow ─────┐
│                         │
│  ╭─────╮   ╭─────────╮  │
│  │ Sum │   │ Longest │  │
│  ╰─────╯   ╰─────────╯  │
│                         │
└────────────┬────────────┘
             │
             ▼
         ┌───┴──┐
         │ Send │
         └──────┘"""


def test_an_agent_in_a_terminal():
    assert to_text(agent()) == AGENT


def test_branches_in_a_terminal():
    read = node("Read")
    read >> [node("Sum"), node("Longest")] >> node("Send")
    assert to_text(AsyncFlow(read)) == NESTED


ENDS = """\
       ╭─────────────╮
       │   Review    │
       ╰─┬──┬──┬──┬──╯
 ┌───────┘  │  │  └───────────┐
 │      ┌───┘  └──┐           │
 x     yes    not at all      b
 │      │         │           ▼
 │      │         │        ┌──┴─┐
 ●      ●         ●        │ B  │
                           └────┘"""


def test_several_ends_on_purpose_in_a_terminal():
    review = node("Review")
    for action in ("x", "yes", "not at all"):
        review - action >> None
    review - "b" >> node("B")
    assert to_text(review) == ENDS


def test_actions_to_one_node_stand_apart_in_a_terminal():
    check, fix = node("Validate"), node("Fix")
    for action in ("missing", "wrong type", "too long", "too short"):
        check - action >> fix
    assert "missing wrong type too long too short" in to_text(check)


def test_a_loop_and_an_end_on_purpose_in_a_terminal():
    ask = node("Ask")
    ask - "again" >> ask
    ask >> None
    drawn = to_text(Flow(ask))
    assert "Ask │ ↺ again" in drawn
    assert drawn.endswith("●")


@pytest.mark.parametrize("flow", flows())
def test_a_terminal_shows_every_name_in_whole_lines(flow: Any):
    drawn = to_text(flow)
    graph = Graph(flow if isinstance(flow, Flow) else Flow(flow))
    for place in graph.nodes[1:]:
        assert place.name in drawn or graph[place.parent or ""].kind == "task"
    assert drawn == "\n".join(line.rstrip() for line in drawn.split("\n"))


def test_a_terminal_gets_no_control_characters_and_wide_ones_have_their_width():
    it = node("A")
    it.name = "名前\x1b[31m\u202e"
    assert to_text(it).splitlines()[:2] == ["╭────────────╮", "│ 名前\ufffd[31m\ufffd │"]
    it.name = "ดี न्ह"  # with a mark above, and one below
    assert to_text(it).splitlines()[:2] == ["╭──────╮", f"│ {it.name} │"]


# Mermaid


def lines(flow: object) -> list[str]:
    first, *rest = to_mermaid(flow).splitlines()
    assert first == "flowchart TD"
    return [line.strip() for line in rest if not line.strip().startswith("class")]


def test_mermaid_gets_a_loop_with_its_actions_and_its_start_rounded():
    ask, answer = node("Ask"), node("Answer")
    ask - "more" >> answer >> ask
    assert lines(Flow(ask)) == ['n0(["Ask"])', 'n1["Answer"]', 'n0 -->|"more"| n1', "n1 --> n0"]


def test_mermaid_gets_a_nested_flow_as_a_frame():
    first, second, last = node("First"), node("Second"), node("Last")
    first >> second
    inner = Flow(first)
    inner - "done" >> last
    assert lines(Flow(inner)) == [
        'subgraph n0 ["Flow"]', 'n1(["First"])', 'n2["Second"]', "end", 'n3["Last"]', 'n0 -->|"done"| n3', "n1 --> n2",
    ]  # fmt: skip
    assert "class n0 frame" in to_mermaid(Flow(inner))


def test_mermaid_gets_the_inputs_of_a_dataflow():
    assert lines(Dataflow(total, mean)) == [
        'n0(["prices"])', 'n1["total"]', 'n2["mean"]', "n0 --> n1", "n0 --> n2", "n1 --> n2",
    ]  # fmt: skip


def test_mermaid_gets_an_end_on_purpose_as_a_dot():
    ask = node("Ask")
    ask - "over" >> None
    assert lines(Flow(ask)) == ['n0(["Ask"])', 'n0end((" ")):::finish', 'n0 -->|"over"| n0end']


def test_mermaid_gets_a_flow_with_nothing_inside_with_double_sides():
    assert lines(Flow(node("Prepare", Flow))) == ['n0[["Prepare"]]']
    assert lines(Flow()) == []
    assert lines(node("Alone")) == ['n0(["Alone"])']
