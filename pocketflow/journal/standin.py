from __future__ import annotations
from typing import Any, NamedTuple
from pocketflow import Flow, name_of

class N(NamedTuple):
    id: str
    node: Any
class E(NamedTuple):
    source: str
    action: Any
    target: str | None

def check(flow: Any) -> list[str]:
    return []

class Graph:
    def __init__(self, flow: Any) -> None:
        names: dict[int, str] = {}
        todo: list[Any] = []
        self.nodes: list[N] = []
        self.edges: list[E] = []
        def name(node: Any) -> str:
            if id(node) not in names:
                names[id(node)] = f"{name_of(node)}#{len(todo)}"
                todo.append(node)
            return names[id(node)]
        name(flow)
        for node in todo:
            self.nodes.append(N(name(node), node))
            starts = (getattr(node, "branches", ()) or (node.start_node,)) if isinstance(node, Flow) else ()
            for start in starts:
                if start is not None:
                    self.edges.append(E(name(node), "start", name(start)))
            for action, target in (getattr(node, "successors", {}) if node is not flow else {}).items():
                self.edges.append(E(name(node), action, name(target) if target is not None else None))
