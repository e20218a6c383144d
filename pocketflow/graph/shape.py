"""The nodes and edges of a flow, each node under an id that the steps of a run lead to.

>>> from pocketflow import Flow, Node
>>> class Ask(Node): ...
>>> class Answer(Node): ...
>>> ask = Ask()
>>> end = ask - "again" >> ask >> Answer()
>>> graph = Graph(Flow(ask))
>>> [node.id for node in graph.nodes]
['Flow', 'Flow/Ask', 'Flow/Answer']
>>> [(edge.source, edge.action, edge.target) for edge in graph.edges]
[('Flow/Ask', 'again', 'Flow/Ask'), ('Flow/Ask', 'default', 'Flow/Answer')]
>>> graph.locate("Flow/2:Answer/exec")
'Flow/Answer'
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pocketflow import AsyncParallelFlow, Flow, name_of
from pocketflow.hooks import escaped


class GraphNode(NamedTuple):
    """A node at its place; one that is in two flows has two places.

    id: the path of its steps without the numbers of visits and entries. Where a second node of a
        flow has the same name, `~2` follows. Inside of a task that runs a flow, "exec" is left out.
    kind: "node", "flow", "parallel", "dataflow", "task", or "input", a value that a dataflow reads.
    parent: the id of the flow around it; None for the outermost.
    node: the object itself; None for an input.
    branch: the number of the branch that it is in; None if there are none.
    is_start: whether the flow around it, or a branch, begins with it.
    """

    id: str
    name: str
    kind: str
    parent: str | None
    node: Any
    branch: int | None = None
    is_start: bool = False


class GraphEdge(NamedTuple):
    """source, target: ids; a target of None ends the flow on purpose.

    action: as text; None if a task uses the result of another, or an input.
    """

    source: str
    action: str | None
    target: str | None


class Graph:
    """The shape of a flow, or of a node alone. Nothing is run.

    nodes: the outermost first, a flow before what is inside it, near nodes before far ones.
    edges: in the order of their sources.

    The same wiring gives the same ids in the same order. A flow that is inside itself is shown
    empty there; a dataflow has the tasks that it runs.
    """

    def __init__(self, flow: Any) -> None:
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []
        self._scopes: dict[str, dict[str, list[str]]] = {}  # a flow or branch -> name in paths -> ids
        name = name_of(flow)
        self._add(GraphNode(escaped(name), name, _kind(flow), None, flow), ())
        self._by_id = {node.id: node for node in self.nodes}
        self._inside: dict[str | None, list[GraphNode]] = {}
        for node in self.nodes:
            self._inside.setdefault(node.parent, []).append(node)
        self._targets = {(edge.source, edge.action): edge.target for edge in self.edges}

    def __getitem__(self, id: str) -> GraphNode:
        return self._by_id[id]

    def inside(self, id: str) -> list[GraphNode]:
        """The nodes directly inside a flow, in order."""
        return self._inside.get(id, [])

    # Finding the node of a step

    def locate(self, path: str, actions: Mapping[str, Any] | None = None) -> str | None:
        """The id of the node that a step belongs to, by its path, live or recorded; None if it is not in the graph.

        A step of a phase, an item, an entry or a branch belongs to its node, and so does all that
        code inside the node runs.

        actions: path of a visit -> the action that it ended with, for the visits so far. With them,
            nodes of one flow with the same name are told apart; without, it is the first of them.
        """
        root, *visits = path.split("/")
        name, branch = _without_index(root)
        place = self.nodes[0] if name == self.nodes[0].id else None
        around = root
        for visit in visits:
            if place is None:
                break
            if place.kind == "task" and re.match(r"exec\b|~", visit):  # a task may be made of a flow
                place, branch = self._flow_of_task(place, visit)
                around = f"{around}/{visit}"
                continue
            if not visit[0].isdecimal():  # "prep", "exec", or "~0:NAME": inside the node
                break
            scope = _scope(place, branch)
            if scope not in self._scopes:  # a flow inside itself, or with an orchestration of its own
                break
            number, name, branch = _visit(visit)
            id = self._visited(scope, around, number, name, actions or {})
            place = self._by_id[id] if id else None
            around = f"{around}/{visit}"
        return place.id if place else None

    def _flow_of_task(self, task: GraphNode, visit: str) -> tuple[GraphNode, str]:
        """The flow that a task runs, where the path says so, and the entry or branch in there."""
        name, index = _without_index(visit.partition(":")[2])
        ids = self._scopes.get(task.id, {}).get(name)
        return (self._by_id[ids[0]], index) if ids else (task, "")

    def _visited(self, scope: str, around: str, number: int, name: str, actions: Mapping[str, Any]) -> str | None:
        """The id of the visit NUMBER:NAME inside the step `around`."""
        names, taken = self._scopes[scope], list[Any]()
        ids = names.get(name, [])
        while len(candidates := names.get(name, [])) > 1 and number:  # back to a visit that is beyond doubt
            number -= 1
            before = [other for other in names if f"{around}/{number}:{other}" in actions]
            if not before:
                return ids[0]
            [name] = before
            taken.append(actions[f"{around}/{number}:{name}"])
        found = next(iter(candidates), None)  # of the first visit, that of the start, which is the first of its name
        for action in reversed(taken):
            found = self._targets.get((found or "", _text(action)))
        return found if found in ids else next(iter(ids), None)

    # Reading the wiring

    def _add(self, place: GraphNode, around: tuple[Any, ...]) -> None:
        """Add a node, and all that is inside it; `around` are the flows that it is inside."""
        self.nodes.append(place)
        inner: list[GraphNode] = []
        for branch, start in _starts(place) if not any(place.node is flow for flow in around) else ():
            inner += self._add_scope(place, branch, start)
        if place.kind == "dataflow":
            inner = [*self._add_tasks(place, inner), *inner]
        for node in inner:
            self._add(node, (*around, place.node))

    def _add_scope(self, flow: GraphNode, branch: int | None, start: Any) -> list[GraphNode]:
        """The nodes that a start leads to, with an id each; their edges are added."""
        if start is None:
            return []
        scope = _scope(flow, "" if branch is None else f"[{branch}]")
        names = self._scopes.setdefault(scope, {})
        places: dict[int, GraphNode] = {}
        for node in [start] if flow.kind == "task" else reached(start):
            name = name_of(node)
            ids = names.setdefault(escaped(name), [])
            ids.append(f"{scope}/{escaped(name)}" + (f"~{len(ids) + 1}" if ids else ""))
            kind = "task" if flow.kind == "dataflow" and node is start else _kind(node)
            places[id(node)] = GraphNode(ids[-1], name, kind, flow.id, node, branch, node is start)
        for place in places.values():
            for action, target in successors(place.node) if flow.kind != "task" else ():
                self.edges.append(GraphEdge(place.id, action, None if target is None else places[id(target)].id))
        return list(places.values())

    def _add_tasks(self, flow: GraphNode, inner: list[GraphNode]) -> list[GraphNode]:
        """The inputs of a dataflow, as nodes; edges lead from them, and from its tasks, to the tasks that use them."""
        inputs = {key: GraphNode(f"{flow.id}/{escaped(key)}", key, "input", flow.id, None) for key in flow.node.inputs}
        tasks = {place.name: place for place in inner if place.is_start}
        for name, task in tasks.items():
            read = [inputs[key].id for key in dict.fromkeys(task.node.needs.values()) if key in inputs]
            used = [tasks[other].id for other in flow.node.edges[name] if other in tasks]
            self.edges += [GraphEdge(source, None, task.id) for source in (*read, *used)]
        return list(inputs.values())


# The wiring of nodes, as it is


def successors(node: Any) -> list[tuple[str, Any]]:
    """The edges of a node, as (action, target); a target of None ends the flow."""
    edges = getattr(node, "successors", None)
    return [(_text(action), target) for action, target in edges.items()] if isinstance(edges, dict) else []


def reached(start: Any) -> list[Any]:
    """The nodes of a graph, each once, the near ones first."""
    found: dict[int, Any] = {}
    todo = deque([start])
    while todo:
        node = todo.popleft()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            todo.extend(target for _, target in successors(node))
    return list(found.values())


def drawn(flow: Any) -> Graph:
    """The graph that a picture shows; if a node is not a flow, it is all that the node leads to."""
    return Graph(flow if isinstance(flow, Flow) else Flow(start=flow))


def shown(text: str, longest: int = 60) -> str:
    """A text in one line, cut if it is too long, without invisible characters."""
    text = " ".join(text.split()) or " "
    text = "".join(char if char.isprintable() or char == "\u200d" else "\ufffd" for char in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _starts(place: GraphNode) -> Iterator[tuple[int | None, Any]]:
    """What a node begins with inside it, as (branch, node)."""
    flow = place.node
    if place.kind == "dataflow":
        numbers = {name: number for number, name in enumerate(flow.tasks)}
        yield from ((numbers[name], flow.tasks[name]) for name in flow.order)
    elif place.kind == "parallel":
        yield from enumerate(getattr(flow, "branches", ()))
    elif place.kind == "flow":
        yield None, getattr(flow, "start_node", None)
    elif place.kind == "task":
        yield None, flow.flow


def _kind(node: Any) -> str:
    if isinstance(node, AsyncParallelFlow):
        return "parallel"
    if isinstance(node, Flow):
        return "dataflow" if all(hasattr(node, name) for name in ("tasks", "edges", "inputs", "order")) else "flow"
    return "node"


def _text(action: Any) -> str:
    return str(action) if action else "default"


# Paths


def _scope(flow: GraphNode, index: str) -> str:
    """What comes before the names of a flow's nodes in a path: with the number of a branch, but of no entry."""
    return flow.id + (index if flow.kind in ("parallel", "dataflow") else "")


def _visit(text: str) -> tuple[int, str, str]:
    """The parts of `3:NAME[2]`."""
    number, _, name = text.partition(":")
    return int(number), *_without_index(name)


def _without_index(name: str) -> tuple[str, str]:
    name, bracket, index = name.partition("[")
    return name, bracket + index
