"""The shape of a flow: its nodes and edges, its picture, and its mistakes, found before it runs.

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

`to_svg`, `to_text` and `to_mermaid` draw it. Once this module is imported, a flow as the last line of
a notebook's cell is shown as a picture.
"""

from __future__ import annotations

from pocketflow.graph import notebook as notebook  # flows show themselves from here on
from pocketflow.graph.checks import check
from pocketflow.graph.mermaid import to_mermaid
from pocketflow.graph.shape import Graph, GraphEdge, GraphNode
from pocketflow.graph.svg import to_svg
from pocketflow.graph.text import to_text

__all__ = ["Graph", "GraphEdge", "GraphNode", "check", "to_mermaid", "to_svg", "to_text"]
