"""A flow that is served, and what one has to know of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pocketflow.graph import Graph, check, to_svg
from pocketflow.serve.state import Json
from pocketflow.text import plain


class Served:
    """A flow under its name; slug: the name as it stands in URLs, and in the tag "flow" of its runs."""

    def __init__(self, name: str, flow: Any, taken: Iterable[str]) -> None:
        self.name, self.flow, self.graph = name, flow, Graph(flow)
        slug = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "flow"
        numbered = (f"{slug}-{number}" for number in range(2, 1_000_000))
        self.slug = slug if slug not in taken else next(other for other in numbered if other not in taken)

    def described(self) -> Json:
        """All that one has to know to start it and to draw it."""
        nodes = [{"id": it.id, "name": it.name, "kind": it.kind, "parent": it.parent} for it in self.graph.nodes]
        return {
            "name": self.name, "slug": self.slug, "doc": _doc(self.flow), "svg": to_svg(self.flow),
            "nodes": nodes, "inputs": _inputs(self.flow, self.graph), "findings": check(self.flow),
        }  # fmt: skip


def _doc(flow: Any) -> str:
    """The first paragraph of what the class of a flow says of itself; nothing of the classes that come with us."""
    kind = type(flow)
    is_ours = kind.__module__.partition(".")[0] == "pocketflow"
    return "" if is_ours else " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def _inputs(flow: Any, graph: Graph) -> list[Json] | None:
    """What a dataflow asks for; None for a flow, which takes any store."""
    if graph.nodes[0].kind != "dataflow":
        return None
    return [
        {
            "name": name,
            "type": it.annotation.__name__ if it.annotation in (str, int, float, bool) else "json",
            "required": it.is_required,
            "default": None if it.is_required else plain(it.default),
        }
        for name, it in flow.inputs.items()
    ]
