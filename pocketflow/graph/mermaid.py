"""The picture of a flow as the text of a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pocketflow.graph.shape import Graph, GraphNode, drawn, shown

NODE, START, FLOW, END = '["{}"]', '(["{}"])', '[["{}"]]', '(("{}"))'
# Grey on whatever the page is, as texts have the page's own colour.
BOXES = "    classDef default fill:#8881,stroke:#888"
FRAMES = "    classDef frame fill:none,stroke:#888,stroke-dasharray:4"
ENDS = "    classDef finish fill:#888,stroke:none,color:transparent,font-size:2px"


def to_mermaid(flow: Any) -> str:
    """The graph of a flow, or of a node and what it leads to, as the text of a Mermaid flowchart.

    A node is a box, with round corners if a flow or a branch starts there, or if it is an input of a
    dataflow; a flow inside another is a frame around its nodes. An edge is labelled with its action,
    unless that is "default"; one that ends a flow on purpose leads to a dot. In a dataflow, arrows lead
    from a task to those that use its result. A flow that is empty, or inside itself, has double sides.

    Names may hold any characters, and are cut after 60. The same graph gives the same text. Mermaid
    draws up to 500 edges, unless its `maxEdges` is set.
    """
    graph = drawn(flow)
    ids = {place.id: f"n{number}" for number, place in enumerate(graph.nodes[1:])}
    shapes = list(_shapes(graph, graph.nodes[0].id, ids, "    "))
    edges = []
    for edge in graph.edges:
        action = "" if edge.action in (None, "default") else f'|"{_escaped(edge.action or "")}"|'
        source, target = ids[edge.source], ids[edge.target] if edge.target else f"{ids[edge.source]}end"
        edges.append(f"    {source} -->{action} {target}")
    frames = [ids[place.id] for place in graph.nodes[1:] if graph.inside(place.id)]
    styles = [BOXES] + ([FRAMES, f"    class {','.join(frames)} frame"] if frames else [])
    styles += [ENDS] if any(edge.target is None for edge in graph.edges) else []
    return "\n".join(["flowchart TD", *shapes, *edges, *styles])


def _shapes(graph: Graph, id: str, ids: dict[str, str], indent: str) -> Iterator[str]:
    """The shapes inside a flow; edges stand apart, as one inside a frame pulls its ends in there."""
    ending = {edge.source for edge in graph.edges if edge.target is None}
    for place in graph.inside(id):
        name = ids[place.id]
        if graph.inside(place.id):
            yield f"{indent}subgraph {name} {NODE.format(_escaped(place.name))}"
            yield from _shapes(graph, place.id, ids, indent + "    ")
            yield f"{indent}end"
        else:
            yield f"{indent}{name}{_shape(place).format(_escaped(place.name))}"
        if place.id in ending:
            yield f"{indent}{name}end{END.format(' ')}:::finish"


def _shape(place: GraphNode) -> str:
    if place.kind in ("flow", "parallel", "dataflow"):
        return FLOW
    return START if place.kind == "input" or (place.is_start and place.kind != "task") else NODE


def _escaped(text: str) -> str:
    """A text that Mermaid shows as it is, whatever it is: all but letters, digits and _ by number."""
    return re.sub(r"\W", lambda found: f"#{ord(found[0])};", shown(text))
