"""Mermaid itself reads every picture, and shows every name as it is.

The environment variable POCKETFLOW_MERMAID names a folder with Mermaid and a document object model:
`npm install --prefix FOLDER mermaid@11 jsdom@26`.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pocketflow import AsyncFlow, AsyncParallelFlow, BaseNode, Flow, Node
from pocketflow.graph import to_mermaid
from tests.browser import chromium
from tests.processes import started

FOLDER = Path(os.environ.get("POCKETFLOW_MERMAID", ""))
INSTALL = "npm install --prefix FOLDER mermaid@11 jsdom@26, and set POCKETFLOW_MERMAID=FOLDER"
NAMES = [
    "end", "subgraph", "graph", "default", "o", "x", "click", "style a: #b;", "direction TB", "direction\nTB",
    "%%", "---", "%%{init: {}}%%", '"', "'", "`", "`**md**`", "#", "#quot;", "&lt;", "&#35;",
    "<script>alert(1)</script>", "<br>", "]", "[", "(", ")", "{", "}", "([", "|", "a|b", "-->", "==>",
    "@{ shape: fork }", ":::c", ";", ",", "\\", "/", "$$x^2$$", "1. one", "- one", "fa:fa-car", "__init__", "_",
    "0", "ünïcödé", "名前", "🎉", "e\u0301", "\u202eright", "\x00", "\x7f", "a\tb", " ", "a" * 300, "state['x']",
    "https://mermaid.live", "accTitle: x", "classDef c fill:#f00;", "%", "n0", "n1",
]  # fmt: skip


@pytest.fixture(scope="module")
def parser() -> Iterator[Any]:
    """Mermaid's own parser, in a process that reads and writes a line at a time."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, and npm for what else it needs")
    if not all((FOLDER / "node_modules" / package).is_dir() for package in ("mermaid", "jsdom")):
        pytest.skip(f"needs mermaid and jsdom: {INSTALL}")
    script, pipe = Path(__file__).with_name("mermaid_check.mjs"), subprocess.PIPE
    with started([node, script, FOLDER.resolve()], stdin=pipe, stdout=pipe) as process:
        yield process


def read_by_mermaid(parser: Any, texts: list[str]) -> list[dict[str, Any]]:
    """What Mermaid understood of each text: the labels of "nodes" by id, "frames" with their members, and "edges"."""
    parser.stdin.write(json.dumps(texts) + "\n")
    parser.stdin.flush()
    diagrams: list[dict[str, Any]] = json.loads(parser.stdout.readline())
    errors = [(text, diagram["error"]) for text, diagram in zip(texts, diagrams, strict=True) if "error" in diagram]
    assert errors == []
    return diagrams


def text_of(label: str) -> str:
    """A label as Mermaid will show it; until then it keeps `#60;` as `ﬂ°°60¶ß`."""
    return re.sub("ﬂ°°(\\d+)¶ß", lambda code: chr(int(code[1])), label)


def shown(name: str) -> str:
    name = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(name.split()) or " ")
    return name if len(name) <= 60 else name[:59] + "…"


def named(node: Any, name: str) -> Any:
    node.name = name
    return node


def wire(rng: random.Random, nodes: list[Any]) -> Any:
    """Wire nodes at random so that the first reaches all, and return it."""
    for number, node in enumerate(nodes[1:], 1):
        nodes[rng.randrange(number)].successors.setdefault(rng.choice(NAMES), node)
    for node in nodes:
        for target in rng.sample(nodes, rng.randrange(min(3, len(nodes)))):
            node.successors.setdefault(rng.choice(["default", *NAMES]), target)
    return nodes[0]


def tree(rng: random.Random, depth: int) -> Any:
    """A flow of nodes and flows, none of which stands in two places."""
    inside: list[Any] = [named(Node(), rng.choice(NAMES)) for _ in range(rng.randint(1, 5))]
    if depth:
        inside += [tree(rng, depth - 1) for _ in range(rng.randrange(3))]
    rng.shuffle(inside)
    if rng.random() < 0.3:
        return named(AsyncParallelFlow(*inside), rng.choice(NAMES))
    return named(AsyncFlow(wire(rng, inside)), rng.choice(NAMES))


def expected(flow: Any) -> tuple[Any, list[Any]]:
    """The shape of a tree as nested sorted lists of names, and its edges by the names of their ends."""
    nodes, todo, edges = [], list(getattr(flow, "branches", ()) or [flow.start_node]), []
    while todo:
        node = todo.pop()
        if not any(node is other for other in nodes):
            nodes.append(node)
            todo += node.successors.values()
    shape: list[Any] = []
    for node in nodes:
        inner, inner_edges = expected(node) if isinstance(node, Flow) else ([], [])
        shape.append([shown(node.name), inner])
        edges += inner_edges
        for action, target in node.successors.items():
            edges.append([shown(node.name), "" if action == "default" else shown(action), shown(target.name)])
    return sorted(shape), sorted(edges)


def understood(diagram: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The same of what Mermaid read."""
    names = {node: text_of(label) for node, label in diagram["nodes"].items()}
    frames = diagram["frames"]
    inner = {member for members in frames.values() for member in members}

    def shape(members: Any) -> Any:
        return sorted([names[member], shape(frames.get(member, ()))] for member in members)

    edges = [[names[source], text_of(label), names[target]] for source, label, target in diagram["edges"]]
    return shape(names.keys() - inner), sorted(edges)


def test_mermaid_understands_sixty_random_flows_as_they_are_wired(parser: Any):
    rng = random.Random(11)
    flows = [tree(rng, rng.randrange(3)) for _ in range(60)]
    diagrams = read_by_mermaid(parser, [to_mermaid(flow) for flow in flows])
    assert [understood(diagram) for diagram in diagrams] == [expected(flow) for flow in flows]


def tangle(rng: random.Random) -> tuple[Any, set[str]]:
    """A flow in which any node or flow may lead to any, stand in many flows, and in itself; and its names."""
    flows: list[Any] = [AsyncFlow() for _ in range(rng.randint(1, 4))]
    nodes: list[Any] = [Node() for _ in range(rng.randint(1, 4))] + flows
    for number, node in enumerate(nodes):
        named(node, f"node {number}")
    for node in nodes:
        for action in rng.sample(["default", "a", "b"], rng.randrange(3)):
            node.successors[action] = rng.choice(nodes)
    for flow in flows:
        flow.start_node = rng.choice(nodes)
    return flows[0], {node.name for node in reachable(flows[0].start_node, [])}


def reachable(node: Any, found: list[BaseNode]) -> list[BaseNode]:
    if node is not None and node not in found:
        found.append(node)
        for other in [*node.successors.values(), getattr(node, "start_node", None)]:
            reachable(other, found)
    return found


def test_mermaid_reads_flows_that_share_nodes_and_stand_in_themselves_with_every_node_in_them(parser: Any):
    rng = random.Random(7)
    flows, names = zip(*(tangle(rng) for _ in range(60)), strict=True)
    diagrams = read_by_mermaid(parser, [to_mermaid(flow) for flow in flows])
    for diagram, reached in zip(diagrams, names, strict=True):
        drawn = [text_of(label) for label in diagram["nodes"].values()]
        assert set(drawn) == reached


def test_mermaid_reads_a_flow_with_nothing_inside(parser: Any):
    assert read_by_mermaid(parser, [to_mermaid(Flow())])[0]["nodes"] == {}


@pytest.mark.usefixtures("parser")  # which skips where Mermaid is not there
def test_a_browser_shows_every_name_as_it_is():
    names = [name for name in NAMES if name.isprintable() and name.strip()]
    first, *others = [named(Node(), name) for name in names]
    for before, after in pairwise([first, *others]):
        before - after.name >> after
    with chromium() as browser:
        page = browser.new_page()
        page.add_script_tag(path=FOLDER / "node_modules/mermaid/dist/mermaid.min.js")
        svg = page.evaluate("async text => (await mermaid.render('picture', text)).svg", to_mermaid(Flow(first)))
        page.set_content(svg)
        labels = [page.locator(f".{kind}Label p").all_text_contents() for kind in ("node", "edge")]
    assert [set(texts) for texts in labels] == [set(map(shown, names)), set(map(shown, names[1:])) - {"default"}]
