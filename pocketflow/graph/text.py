"""The picture of a flow in characters, for terminals."""

from __future__ import annotations

import math
import unicodedata
from itertools import pairwise
from typing import Any

from pocketflow.graph.layout import Box, Point, Sizes, Wire, arranged, label
from pocketflow.graph.shape import drawn, shown


def to_text(flow: Any) -> str:
    """The graph of a flow, or of a node and what it leads to, drawn with lines and arrows of Unicode.

    A flow begins at the node with round corners; a flow inside it is a frame with its name. An
    edge is labelled with its action, unless that is "default"; "↺" marks an edge that leads straight
    back to its own node, and "●" the place where a flow ends on purpose.
    """
    picture = arranged(drawn(flow), SIZES)
    canvas = _Canvas()
    for box in picture.boxes:
        _draw_box(canvas, box)
    for wire in picture.wires:
        _draw_wire(canvas, wire)
    for wire in picture.wires:
        action, (x, y) = label(wire.edge), wire.label_at
        canvas.write(round(x) - (_width(action) - 1) // 2, round(y), action)
    return str(canvas)


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):  # a mark on the one before, or what joins two
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


SIZES = Sizes(
    text=_width, whole=math.floor, box=(4, 3), end=(1, 1), frame=(3, 2, 2), between=3, port=3,
    gap=2, first_track=0, head=1, track=1, words=0, above_box=2, lane=3,
)  # fmt: skip

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
LINES = dict(enumerate(" ╵╷│╴┘┐┤╶└┌├─┴┬┼"))  # by the directions that lead out of a cell
ROUND = {"┌": "╭", "┐": "╮", "└": "╰", "┘": "╯"}


class _Canvas:
    """Cells of a terminal: lines that join where they meet, and over them characters."""

    def __init__(self) -> None:
        self.lines: dict[tuple[float, float], int] = {}
        self.round: set[Point] = set()
        self.chars: dict[Point, str] = {}

    def line(self, start: Point, end: Point) -> None:
        """A straight line from cell to cell."""
        (x, y), (to_x, to_y) = min(start, end), max(start, end)
        columns, rows = range(round(x), round(to_x) + 1), range(round(y), round(to_y) + 1)
        cells = [(column, row) for column in columns for row in rows]  # one of them has one member
        on, back = (DOWN, UP) if x == to_x else (RIGHT, LEFT)
        for one, other in pairwise(cells):
            self.lines[one] = self.lines.get(one, 0) | on
            self.lines[other] = self.lines.get(other, 0) | back

    def write(self, x: int, y: int, text: str) -> None:
        for char in text:
            self.chars[x, y] = self.chars.get((x - 1, y), "") + char if not _width(char) else char
            if not _width(char):
                self.chars[x - 1, y] = self.chars.pop((x, y))
            if _width(char) == 2:
                self.chars[x + 1, y] = ""
            x += _width(char)

    def at(self, cell: Point) -> str:
        char = LINES[self.lines.get(cell, 0)]
        return self.chars.get(cell, ROUND.get(char, char) if cell in self.round else char)

    def __str__(self) -> str:
        cells = [*self.lines, *self.chars]
        columns, rows = (range(round(max(axis)) + 1) for axis in zip(*cells, strict=True)) if cells else ((), ())
        return "\n".join("".join(self.at((x, y)) for x in columns).rstrip() for y in rows)


def _draw_box(canvas: _Canvas, box: Box) -> None:
    left, top = round(box.x), round(box.y)
    if box.place is None:
        canvas.write(left, top, "●")
        return
    right, bottom = left + round(box.width) - 1, top + round(box.height) - 1
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    for start, end in pairwise([*corners, corners[0]]):
        canvas.line(start, end)
    name = shown(box.place.name)
    if box.inside:
        canvas.write(left + 2, top, f" {name} ")
        return
    if (box.place.is_start and box.place.kind != "task") or box.place.kind == "input":
        canvas.round.update(corners)
    canvas.write(left + (right - left + 1 - _width(name)) // 2, top + 1, name)
    for number, action in enumerate(box.loops):
        canvas.write(right + 2, top + 1 + number, f"↺ {action}".rstrip())


def _draw_wire(canvas: _Canvas, wire: Wire) -> None:
    """From border to border, with the head of an arrow before the last."""
    (x, y), (next_x, _) = wire.points[:2]
    is_up = wire.points[1][1] < y
    start = (x - 1, y) if next_x != x else (x, y if is_up else y - 1)
    (end_x, end_y), (before_x, before_y) = wire.points[-1], wire.points[-2]
    if before_x != end_x:
        head, end, at = "◀", (end_x - 1, end_y), (end_x, end_y)
    elif before_y > end_y:
        head, end, at = "▲", (end_x, end_y - 1), (end_x, end_y)
    else:
        head, end, at = "▼", (end_x, end_y), (end_x, end_y - 1)
    for one, other in pairwise([start, *wire.points[1:-1], end]):
        if one != other:
            canvas.line(one, other)
    if wire.edge.target is not None:
        canvas.write(round(at[0]), round(at[1]), head)
