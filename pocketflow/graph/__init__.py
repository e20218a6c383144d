"""The shape of a flow: its nodes and edges, its picture, and what would go wrong, told before it runs.

    >>> from typing import Literal
    >>> from pocketflow import Flow, Node
    >>> class Decide(Node):
    ...     def post(self, shared, prep_res, exec_res) -> Literal["search", "answer"]:
    ...         return "answer"
    >>> class Search(Node): ...
    >>> decide, search = Decide(), Search()
    >>> back = decide - "search" >> search >> decide
    >>> flow = Flow(start=decide)
    >>> check(flow)
    ['Decide.post may return "answer", for which there is no edge: write Decide - "answer" >> node']
"""

from __future__ import annotations

from pocketflow.graph.checks import check
from pocketflow.graph.shape import Graph, GraphEdge, GraphNode

__all__ = ["Graph", "GraphEdge", "GraphNode", "check"]
