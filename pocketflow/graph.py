"""The shape of a flow: its picture, and what would go wrong, told before it runs.

    >>> from pocketflow import Flow, Node
    >>> class Decide(Node):
    ...     def post(self, shared, prep_res, exec_res) -> Literal["search", "answer"]:
    ...         return "answer"
    >>> class Search(Node): ...
    >>> decide, search = Decide(), Search()
    >>> back = decide - "search" >> search >> decide
    >>> flow = Flow(start=decide)
    >>> print(draw(flow))
    flowchart TD
        n0(["Decide"])
        n1["Search"]
        n0 -->|"search"| n1
        n1 --> n0
    >>> check(flow)
    ['Decide.post may return "answer", for which there is no edge: write Decide - "answer" >> node']

Mermaid's text is shown as a picture by GitHub, GitLab, JupyterLab and https://mermaid.live.
"""

from __future__ import annotations

import contextvars
import json
import re
import types
import typing
import warnings
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import count
from typing import Any, Literal

from pocketflow import AsyncNode, AsyncParallelFlow, BaseNode, Flow, Hook, Step, hooked

__all__ = ["Drawing", "check", "draw", "to_mermaid"]

LONGEST = 60  # characters of a name that are shown
NODE, START, FLOW, FORK = '["{}"]', '(["{}"])', '[["{}"]]', '{{"{}"}}'


# The picture


def to_mermaid(flow: Any) -> str:
    """The graph of a flow, or of a node, as the text of a Mermaid flowchart.

    A node is a box, a rounded one where a flow starts; a flow inside of another is a frame around
    its nodes. An edge bears its action, "default" none. Branches that run at once part at a "+";
    in a dataflow arrows lead from a task to those that use its result. Each node is drawn once, in
    the outermost flow that reaches it: from a flow whose start stands elsewhere a dotted line leads
    there. A flow with nothing inside, or inside of itself, is a box with double sides.

    Any name will do; of one longer than 60 characters the end is cut. The same graph gives the
    same text. Mermaid draws up to 500 edges, unless its `maxEdges` is set.
    """
    picture = _Picture()
    picture.draw_inside(flow if _is_flow(flow) else Flow(start=flow))
    return "\n".join(["flowchart TD", *picture.shapes, *picture.edges])


def draw(flow: Any) -> Drawing:
    """The picture of a flow, which JupyterLab (from 4.1 on) shows; printed, it is the text of `to_mermaid`."""
    return Drawing(to_mermaid(flow))


class Drawing:
    """A Mermaid text that a notebook shows as a picture."""

    def __init__(self, mermaid: str) -> None:
        self.mermaid = mermaid

    def __str__(self) -> str:
        return self.mermaid

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/vnd.mermaid": self.mermaid, "text/plain": self.mermaid}


class _Picture:
    def __init__(self) -> None:
        self.ids: dict[int, str] = {}  # id(node) -> the name it has in the picture
        self.numbers = count()
        self.shapes: list[str] = []
        self.edges: list[str] = []  # apart, as an edge that stands inside of a frame pulls its ends in there

    def draw_inside(self, flow: Any, frame: str = "", around: tuple[Any, ...] = ()) -> None:
        """Draw the graph of `flow`, whose frame is `frame`, and which is inside of `around`."""
        around = (*around, flow)
        outer = {id(node) for node in around}
        mine = _reached(_starts(flow), self.ids.keys() - outer)
        here = {id(node): self.new_id() for node in mine}
        self.ids.update({key: name for key, name in here.items() if key not in outer})
        ids = self.ids | here
        self.draw_starts(flow, frame, ids, around, starts_here=id(flow.start_node) in here)
        for node in mine:
            self.draw_node(node, ids[id(node)], node is flow.start_node, around)
            for action, target in _successors(node):
                self.add_edge(ids[id(node)], ids[id(target)], action)

    def draw_node(self, node: Any, name: str, is_start: bool, around: tuple[Any, ...]) -> None:
        if _starts(node) and not any(node is outer for outer in around):
            self.add_shape(f"subgraph {name} ", NODE, _name(node), around)
            self.draw_inside(node, name, around)
            self.shapes.append("    " * len(around) + "end")
        else:
            self.add_shape(name, FLOW if _is_flow(node) else START if is_start else NODE, _name(node), around)

    def draw_starts(
        self, flow: Any, frame: str, ids: dict[int, str], around: tuple[Any, ...], starts_here: bool
    ) -> None:
        """Draw what leads to the nodes that run first, where their shapes do not say so."""
        starts = [ids[id(start)] for start in _starts(flow)]
        if _is_dataflow(flow):
            for name, needs in flow.edges.items():
                for needed in needs if flow.tasks[name] in flow.branches else ():  # else it is not run
                    self.add_edge(ids[id(flow.tasks[needed])], ids[id(flow.tasks[name])])
        elif isinstance(flow, AsyncParallelFlow) and starts:
            fork = self.new_id()
            self.add_shape(fork, FORK, "+", around)
            for start in starts:
                self.add_edge(fork, start)
        elif starts and not starts_here:
            self.add_edge(frame, starts[0], arrow="-.->")

    def new_id(self) -> str:
        return f"n{next(self.numbers)}"

    def add_shape(self, name: str, shape: str, text: str, around: tuple[Any, ...]) -> None:
        self.shapes.append("    " * len(around) + name + shape.format(_escaped(text)))

    def add_edge(self, source: str, target: str, action: str = "default", arrow: str = "-->") -> None:
        label = "" if action == "default" else f'|"{_escaped(action)}"|'
        self.edges.append(f"    {source} {arrow}{label} {target}")


def _escaped(text: str) -> str:
    """A text that Mermaid shows as it is, whatever it is: all but letters, digits and _ by number."""
    text = " ".join(text.split()) or " "
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return re.sub(r"\W", lambda found: f"#{ord(found[0])};", text)


# The checks


def check(flow: Any) -> list[str]:
    """What would go wrong in a flow, those inside of it included; each line says what to write. Nothing is run.

    Found is what the core refuses or warns of when it runs the flow: settings out of range, a
    phase written for the other kind of node, a flow without a start, an async node in a sync flow.
    And where `post` (or `post_async`) is annotated with the actions it returns, as in
    `-> Literal["search", "answer"]` or `-> Literal["again"] | None`: an action without an edge, and
    an edge that no action takes. None and "" are the action "default". A node without any edge
    may return what it likes, as it ends its flow.
    """
    return list(dict.fromkeys(_findings(flow, set())))


def _findings(node: Any, seen: set[int]) -> Iterator[str]:
    """What is wrong with a node and all that is inside of it, but for its own edges."""
    seen.add(id(node))
    yield from _refusals(node)
    starts = _starts(node)
    if _is_flow(node) and not starts and not _may_set_start(node):
        advice = "node, ..." if isinstance(node, AsyncParallelFlow) else "start=node"
        yield f"{_name(node)} has no start: write {_name(node)}({advice})"
    for inner in _reached(starts):
        if isinstance(node, Flow) and not isinstance(node, AsyncNode) and _is_async(inner):
            yield f"{_name(inner)} is async, {_name(node)} is not: make it an AsyncFlow"
        yield from _edge_findings(inner)
        if id(inner) not in seen:
            yield from _findings(inner, seen)


def _is_async(node: Any) -> bool:
    """Whether a node can run in async flows only; one that is async and writes `_run` as well can in all."""
    return getattr(getattr(node, "_run", None), "__func__", None) is AsyncNode._run


class _Stop(Exception):
    """Raised before anything of a node runs."""


class _BeforeAll(Hook):
    def on_start(self, step: Step) -> None:
        raise _Stop


def _refusals(node: Any) -> list[str]:
    """What the core itself says to a node when it is about to run it."""
    if not isinstance(node, BaseNode):
        return []
    if not hasattr(node, "successors"):
        return [f"{_name(node)} is not set up: begin its __init__ with super().__init__()"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refusal = contextvars.Context().run(_refusal, node)
    told = [*(str(warning.message) for warning in caught), *refusal]
    return [text for text in told if not text.startswith("Node won't run successors")]


def _refusal(node: Any) -> list[str]:
    """Begin to run a node, which its first step stops, and return the error that came before."""
    try:
        with hooked(_BeforeAll()):
            AsyncNode.run_async(node, {}).send(None) if isinstance(node, AsyncNode) else BaseNode.run(node, {})
    except _Stop:
        return []
    except Exception as error:
        return [str(error)]
    raise AssertionError("a step stops it")


def _edge_findings(node: Any) -> Iterator[str]:
    """Where the edges of a node and the annotation of its post disagree."""
    phase = "post_async" if isinstance(node, AsyncNode) else "post"
    actions, edges, name = _annotated(getattr(node, phase, None)), dict(_successors(node)), _name(node)
    if actions is None or not edges:
        return
    for action in actions:
        if action not in edges:
            edge = f"{name}{_minus(action)} >> node"
            yield f"{name}.{phase} may return {_shown(action)}, for which there is no edge: write {edge}"
    for action, target in edges.items():
        if action not in actions:
            edge, only = f"{name}{_minus(action)} >> {_name(target)}", " or ".join(map(_shown, actions))
            yield f"{edge} is never taken: {phase} is annotated to return {only}"


def _annotated(post: Any) -> list[str] | None:
    """The actions that the annotation of a post names; None where it names none, or cannot be read."""
    try:
        return list(dict.fromkeys(_actions(typing.get_type_hints(post)["return"])))
    except Exception:  # whatever the evaluation of a user's annotation raises
        return None


def _actions(hint: Any) -> Iterator[str]:
    """The actions of an annotation. Raises: `TypeError` where it allows others than those it names."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal and all(isinstance(action, str | None) for action in parts):
        yield from (action or "default" for action in parts)
    elif kind in (typing.Union, types.UnionType):
        for part in parts:
            yield from _actions(part)
    elif hint in (None, types.NoneType):
        yield "default"
    elif hasattr(hint, "__value__"):  # `type Action = Literal[...]`
        yield from _actions(hint.__value__)
    else:
        raise TypeError(hint)


def _minus(action: str) -> str:
    return "" if action == "default" else f" - {_shown(action)}"


def _shown(action: str) -> str:
    return "None" if action == "default" else json.dumps(action, ensure_ascii=False)


# What a graph is made of


def _is_flow(node: Any) -> bool:
    return isinstance(node, Flow) or hasattr(node, "start_node")


def _is_dataflow(flow: Any) -> bool:
    return hasattr(flow, "edges") and hasattr(flow, "tasks")


def _may_set_start(flow: Any) -> bool:
    """Whether a flow has code of its own that may give it a start when it runs."""
    phases = ("prep", "prep_async", "_run", "_run_async", "_orch", "_orch_async")
    written = [getattr(flow, phase) for phase in phases if hasattr(flow, phase)]
    return any(getattr(phase, "__module__", None) != Flow.__module__ for phase in written)


def _starts(node: Any) -> tuple[Any, ...]:
    """The nodes that a flow begins with; none of a node that is no flow."""
    starts = getattr(node, "branches", ()) if isinstance(node, AsyncParallelFlow) else ()
    return tuple(start for start in starts or (getattr(node, "start_node", None),) if start is not None)


def _successors(node: Any) -> list[tuple[str, Any]]:
    edges = getattr(node, "successors", None) or {}
    return [(str(action or "default"), target) for action, target in edges.items() if target is not None]


def _reached(starts: Iterable[Any], drawn: Collection[int] = ()) -> list[Any]:
    """The nodes of a graph, each once, the near ones first; without those that are drawn, and what they lead to."""
    found: dict[int, Any] = {}
    todo = deque(starts)
    while todo:
        node = todo.popleft()
        if id(node) not in found and id(node) not in drawn:
            found[id(node)] = node
            todo.extend(target for _, target in _successors(node))
    return list(found.values())


def _name(node: Any) -> str:
    name = getattr(node, "name", None)
    return name if isinstance(name, str) and name else type(node).__name__
