"""The layout of a picture: nodes in layers, one below the other, and edges from layer to layer.

Inner flows are laid out first; each is then one box in the flow around it. An edge that passes a
layer has a place of its own there. An edge back to the layer above runs beside those that lead
down; an edge that leads further back goes up at the right.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from pocketflow.graph.shape import Graph, GraphEdge, GraphNode, shown

Point = tuple[float, float]
SWEEPS = 8  # how often layers are ordered and moved; more changed no picture that was looked at


class Sizes(NamedTuple):
    """What a picture is measured in: points of a page, or characters of a terminal."""

    text: Callable[[str], float]  # how wide a text is
    whole: Callable[[float], float]  # the next place that there is
    box: tuple[float, float]  # what a box is wider than its name, and its height
    end: tuple[float, float]  # the size of the mark where a flow ends on purpose
    frame: tuple[float, float, float]  # around what is inside a flow: at the sides, above, below
    between: float  # boxes of a layer
    port: float  # between edges at one side of a box
    gap: float  # between layers, at least
    first_track: float  # from a layer to the first row of edges that move sideways
    head: float  # what this is more where edges lead up, for the heads of their arrows
    track: float  # what a gap is higher for each of these rows
    words: float  # what it is higher for actions
    above_box: float  # from the middle of an action down to the box
    lane: float  # between edges that lead far back


@dataclass
class Box:
    """A node, or the mark of an end if `place` is None; x and y are those of its upper left corner."""

    place: GraphNode | None
    width: float
    height: float
    x: float = 0
    y: float = 0
    inside: Picture | None = None
    loops: list[str] = field(default_factory=list)  # actions that lead back to it at once


@dataclass
class Wire:
    """An edge, in straight lines from its first point to its last; a lane leads back at the side."""

    edge: GraphEdge
    points: list[Point]
    label_at: Point
    is_lane: bool = False


@dataclass
class Picture:
    """Boxes, a flow before what is inside it, and wires, between (0, 0) and (width, height)."""

    width: float
    height: float
    boxes: list[Box]
    wires: list[Wire]

    def move(self, x: float, y: float) -> None:
        for box in self.boxes:
            box.x, box.y = box.x + x, box.y + y
        for wire in self.wires:
            wire.points = [(x + px, y + py) for px, py in wire.points]
            wire.label_at = (x + wire.label_at[0], y + wire.label_at[1])


def arranged(graph: Graph, sizes: Sizes, id: str | None = None) -> Picture:
    """The picture of what is inside the flow with this id; without an id, of the outermost."""
    boxes: dict[str, Box] = {}
    edges: list[_Edge] = []
    for place in _inside(graph, graph.nodes[0].id if id is None else id):
        boxes[place.id] = _box(graph, place, sizes)
    for edge in graph.edges:
        target = f"{edge.source}/{edge.action}/" if edge.target is None else edge.target  # no other id ends so
        if edge.source in boxes and edge.target is None:
            boxes.setdefault(target, Box(None, *sizes.end))
        if target == edge.source and target in boxes:
            boxes[target].loops.append(label(edge))
        elif edge.source in boxes:
            edges.append(_Edge(edge, edge.source, target))
    picture = _Layout(boxes, edges, sizes).picture()
    for box in list(boxes.values()):
        if box.inside:
            box.inside.move(box.x + sizes.whole((box.width - box.inside.width) / 2), box.y + sizes.frame[1])
            picture.boxes += box.inside.boxes
            picture.wires += box.inside.wires
    return picture


def label(edge: GraphEdge) -> str:
    return "" if edge.action in (None, "default") else shown(edge.action or "")


def _inside(graph: Graph, id: str) -> list[GraphNode]:
    """What is drawn inside a node; a task that runs a flow is one frame with it."""
    inside = graph.inside(id)
    is_of_task = graph[id].kind == "task" and len(inside) == 1
    return graph.inside(inside[0].id) if is_of_task else inside


def _box(graph: Graph, place: GraphNode, sizes: Sizes) -> Box:
    width, height = sizes.text(shown(place.name)) + sizes.box[0], sizes.box[1]
    if not _inside(graph, place.id):
        return Box(place, width, height)
    inside = arranged(graph, sizes, place.id)
    side, above, below = sizes.frame
    return Box(place, max(width, inside.width + 2 * side), inside.height + above + below, inside=inside)


@dataclass
class _Edge:
    edge: GraphEdge
    source: str
    target: str
    chain: list[str] = field(default_factory=list)  # from its upper end to its lower one; empty in a lane
    is_back: bool = False


class _Layout:
    """One flow: which layer, which order, which x, which y; then the wires."""

    def __init__(self, boxes: dict[str, Box], edges: list[_Edge], sizes: Sizes) -> None:
        self.boxes, self.edges, self.sizes = boxes, edges, sizes
        self.find_ways_back()
        self.find_layers()
        self.lay_chains()
        self.order()
        self.place_across()
        self.place_down()

    # Layers

    def find_ways_back(self) -> None:
        """Mark the edges that lead back to a box on the way from the first one."""
        after: dict[str, list[_Edge]] = {id: [] for id in self.boxes}
        for one in self.edges:
            after[one.source].append(one)
        entered, self.finished = set[str](), list[str]()
        for first in self.boxes:
            path = [(first, iter(after[first]))] if first not in entered else []
            on_path = {first}
            entered.add(first)
            while path:
                id, left = path[-1]
                edge = next(left, None)
                if edge is None:
                    path.pop()
                    on_path.discard(id)
                    self.finished.append(id)
                elif edge.target in on_path:
                    edge.is_back = True
                elif edge.target not in entered:
                    entered.add(edge.target)
                    on_path.add(edge.target)
                    path.append((edge.target, iter(after[edge.target])))

    def find_layers(self) -> None:
        """Put each box below all that lead to it; if nothing does, right above the first that it leads to."""
        self.layer = dict.fromkeys(self.boxes, 0)
        down: dict[str, list[str]] = {id: [] for id in self.boxes}
        for edge in self.edges:
            if not edge.is_back:
                down[edge.source].append(edge.target)
        for id in reversed(self.finished):
            for target in down[id]:
                self.layer[target] = max(self.layer[target], self.layer[id] + 1)
        entered = {target for targets in down.values() for target in targets}
        for id, targets in down.items():
            if targets and id not in entered:
                self.layer[id] = min(self.layer[target] for target in targets) - 1

    def lay_chains(self) -> None:
        """Give each edge a place in every layer that it passes; one far back gets a lane instead."""
        self.places: dict[str, int] = dict(self.layer)  # boxes, and what stands for edges on their way
        self.above: dict[str, list[str]] = {}
        self.below: dict[str, list[str]] = {}
        for number, edge in enumerate(self.edges):
            upper, lower = (edge.target, edge.source) if edge.is_back else (edge.source, edge.target)
            layers = range(self.layer[upper] + 1, self.layer[lower])
            if edge.is_back and layers:
                continue
            passed = [f"{number} {layer}" for layer in layers]
            self.places.update(zip(passed, layers, strict=True))
            edge.chain = [upper, *passed, lower]
            for one, other in pairwise(edge.chain):
                self.below.setdefault(one, []).append(other)
                self.above.setdefault(other, []).append(one)

    # Order

    def order(self) -> None:
        """Sort each layer by its neighbours, down and up in turns, and keep the order with the fewest crossings."""
        rows: list[list[str]] = [[] for _ in range(max(self.places.values(), default=-1) + 1)]
        for id in self.first_order():
            rows[self.places[id]].append(id)
        self.rows, least = [list(row) for row in rows], self.crossings(rows)
        for sweep in range(SWEEPS):
            if not least:
                break
            neighbours = self.below if sweep % 2 else self.above
            for row in reversed(rows) if sweep % 2 else rows:
                self.sort(row, rows, neighbours)
            if (crossings := self.crossings(rows)) < least:
                self.rows, least = [list(row) for row in rows], crossings

    def first_order(self) -> list[str]:
        """In the order in which one meets them on the way down, so that what belongs together begins side by side."""
        found: dict[str, None] = {}
        for first in self.boxes:
            todo = [first]
            while todo:
                id = todo.pop()
                if id not in found:
                    found[id] = None
                    todo += reversed(self.below.get(id, []))
        return list(found)

    def sort(self, row: list[str], rows: list[list[str]], neighbours: dict[str, list[str]]) -> None:
        beside = {other for id in row for other in neighbours.get(id, ())}
        at = {id: index for other in rows for index, id in enumerate(other) if id in beside}
        kept = {id: index for index, id in enumerate(row)}
        mean = {id: sum(at[other] for other in near) / len(near) for id in row if (near := neighbours.get(id))}
        row.sort(key=lambda id: mean.get(id, kept[id]))

    def crossings(self, rows: list[list[str]]) -> int:
        count = 0
        for row, next_row in pairwise(rows):
            at = {id: index for index, id in enumerate(next_row)}
            before: list[int] = []
            for id in row:
                ends = sorted(at[other] for other in self.below.get(id, ()))
                count += sum(len(before) - bisect_right(before, end) for end in ends)
                for end in ends:
                    insort(before, end)
        return count

    # Across

    def place_across(self) -> None:
        """Move each box towards its neighbours in other layers, as far as the boxes beside it leave room."""
        self.find_ends()
        for id, box in self.boxes.items():
            if box.place:
                sides = (self.ends_above[id], self.ends_below[id])
                needed = max(sum(self.port_width(id, number) for number in side) for side in sides)
                box.width = max(box.width, needed + self.sizes.port if needed else 0)
        self.middle = dict.fromkeys(self.places, 0.0)
        for sweep in range(SWEEPS + 1):
            neighbours = self.below if sweep % 2 else self.above
            for row in reversed(self.rows) if sweep % 2 else self.rows:
                self.align(row, neighbours)
        left = min((self.middle[id] - self.width(id) / 2 for id in self.places), default=0)
        for id in self.places:
            self.middle[id] = self.sizes.whole(self.middle[id] - left)
        for id, box in self.boxes.items():
            box.x = self.middle[id] - self.sizes.whole(box.width / 2)

    def find_ends(self) -> None:
        """Which edges meet a box from above and from below; those of a lane where others stand beside the box."""
        self.ends_above: dict[str, list[int]] = {id: [] for id in self.boxes}
        self.ends_below: dict[str, list[int]] = {id: [] for id in self.boxes}
        for number, edge in enumerate(self.edges):
            if edge.chain:
                self.ends_below[edge.chain[0]].append(number)
                self.ends_above[edge.chain[-1]].append(number)
            else:
                self.ends_below[edge.source] += [] if self.leaves_at_side(edge.source) else [number]
                self.ends_above[edge.target] += [] if self.is_last(edge.target) else [number]

    def is_last(self, id: str) -> bool:
        return self.rows[self.layer[id]][-1] == id and not self.boxes[id].loops

    def leaves_at_side(self, id: str) -> bool:
        """Whether lanes leave a box at its right side; not where one comes in, as their lines would be one."""
        return self.is_last(id) and all(edge.chain or edge.target != id for edge in self.edges)

    def port_width(self, id: str, number: int) -> float:
        """What an edge needs at a side of a box: at its lower end room for its action too."""
        edge = self.edges[number]
        word = label(edge.edge) if edge.chain and edge.chain[-1] == id else ""
        return max(self.sizes.port, self.sizes.text(word) + self.sizes.whole(self.sizes.port / 2) if word else 0)

    def width(self, id: str) -> float:
        if id not in self.boxes:
            return self.sizes.port
        box = self.boxes[id]
        if box.place is None:  # its action is wider than the mark
            return max(box.width, *(self.port_width(id, number) for number in self.ends_above[id]))
        loops = [2 * self.sizes.port + self.sizes.text(word) for word in box.loops]
        return box.width + 2 * max(loops, default=0)  # at both sides, so that the box stays in the middle

    def align(self, row: list[str], neighbours: dict[str, list[str]]) -> None:
        """Isotonic regression: the places nearest to those wished for that keep order and distance."""
        offsets = [0.0]
        for before, id in pairwise(row):
            offsets.append(offsets[-1] + (self.width(before) + self.width(id)) / 2 + self.sizes.between)
        blocks: list[tuple[float, float, int]] = []  # mean, weight, count
        for id, offset in zip(row, offsets, strict=True):
            near = neighbours.get(id)
            wish = sum(self.middle[other] for other in near) / len(near) if near else self.middle[id]
            mean, weight, count = wish - offset, (1.0 if near else 0.1) * (1 if id in self.boxes else 4), 1
            while blocks and blocks[-1][0] > mean:
                other, its_weight, its_count = blocks.pop()
                mean = (mean * weight + other * its_weight) / (weight + its_weight)
                weight, count = weight + its_weight, count + its_count
            blocks.append((mean, weight, count))
        moved = [mean for mean, _, count in blocks for _ in range(count)]
        for id, mean, offset in zip(row, moved, offsets, strict=True):
            self.middle[id] = mean + offset

    # Down

    def place_down(self) -> None:
        self.place_ports()
        self.find_tracks()
        self.led_up_to = {self.layer[edge.target] for edge in self.edges if edge.is_back and edge.chain}
        worded = {self.layer[edge.chain[-1]] for edge in self.edges if edge.chain and label(edge.edge)}
        self.top, self.bottom = list[float](), list[float]()
        y = self.sizes.track * self.track_counts.get(-1, 0) + (self.sizes.gap / 2 if -1 in self.track_counts else 0)
        for number, row in enumerate(self.rows):
            height = max(self.boxes[id].height if id in self.boxes else 0 for id in row)
            self.top.append(y)
            self.bottom.append(y + height)
            for id in row:
                if id in self.boxes:
                    self.boxes[id].y = y + self.sizes.whole((height - self.boxes[id].height) / 2)
            y += height + self.sizes.track * self.track_counts.get(number, 0) + self.sizes.gap + self.head(number)
            y += self.sizes.words if number + 1 in worded else 0

    def place_ports(self) -> None:
        """Put the edges at a side of a box in the order of where they lead."""
        self.port_above: dict[tuple[str, int], float] = {}
        self.port_below: dict[tuple[str, int], float] = {}
        for ends, ports, end in ((self.ends_above, self.port_above, -2), (self.ends_below, self.port_below, 1)):
            for id, numbers in ends.items():
                x = self.middle[id] - self.sizes.whole(sum(self.port_width(id, number) for number in numbers) / 2)
                for _, number in sorted((self.x_of(number, end), number) for number in numbers):
                    width = self.port_width(id, number)
                    ports[id, number] = self.sizes.whole(x + width / 2)
                    x += width

    def x_of(self, number: int, place: int) -> float:
        chain = self.edges[number].chain
        return self.middle[chain[place]] if chain else math.inf

    def find_tracks(self) -> None:
        """Give each edge that moves sideways between two layers a row there, in which it crosses no other."""
        moves: dict[int, list[_Move]] = {}
        for number, edge in enumerate(self.edges):
            for layer, x, to_x in self.moves(number, edge):
                if x != to_x:
                    moves.setdefault(layer, []).append(_Move(number, x, to_x))
        self.tracks: dict[tuple[int, int], int] = {}  # (edge, the layer above) -> row
        self.track_counts: dict[int, int] = {}
        for layer, here in moves.items():
            rows = _tracks(here)
            self.tracks.update({(move.number, layer): row for move, row in rows.items()})
            self.track_counts[layer] = max(rows.values()) + 1

    def moves(self, number: int, edge: _Edge) -> Iterator[tuple[int, float, float]]:
        """The ways of an edge through the gaps between layers: the layer above, from x, to x."""
        if not edge.chain:
            if not self.leaves_at_side(edge.source):
                yield self.layer[edge.source], self.port_below[edge.source, number], math.inf
            if not self.is_last(edge.target):
                yield self.layer[edge.target] - 1, math.inf, self.port_above[edge.target, number]
            return
        first, *passed, last = edge.chain
        xs = [self.port_below[first, number], *(self.middle[id] for id in passed), self.port_above[last, number]]
        for index, (x, to_x) in enumerate(pairwise(xs)):
            yield self.layer[first] + index, x, to_x

    # Wires

    def picture(self) -> Picture:
        wires = [self.wire(number, edge) for number, edge in enumerate(self.edges) if edge.chain]
        right = max((self.middle[id] + self.width(id) / 2 for id in self.places), default=0)
        right = max(right, *(box.x + box.width for box in self.boxes.values())) if self.boxes else 0
        lanes = [number for number, edge in enumerate(self.edges) if not edge.chain]
        for number in sorted(lanes, key=lambda number: self.span(self.edges[number])):
            word = self.sizes.text(label(self.edges[number].edge))
            right += self.sizes.lane + word / 2
            wires.append(self.lane(number, self.edges[number], self.sizes.whole(right)))
            right += word / 2
        bottom = self.bottom[-1] if self.bottom else 0
        last = self.track_counts.get(len(self.rows) - 1)
        height = bottom + (self.sizes.track * last + self.sizes.gap / 2 if last else 0)
        return Picture(right, height, list(self.boxes.values()), wires)

    def span(self, edge: _Edge) -> int:
        return self.layer[edge.source] - self.layer[edge.target]

    def wire(self, number: int, edge: _Edge) -> Wire:
        out, into = self.boxes[edge.chain[0]], self.boxes[edge.chain[-1]]
        points: list[Point] = [(self.port_below[edge.chain[0], number], out.y + out.height)]
        for layer, x, to_x in self.moves(number, edge):
            if points[-1][1] < self.bottom[layer]:  # straight down to here, beside what is taller
                points.append((x, self.bottom[layer]))
            if x != to_x:
                track = self.track_y(number, layer)
                points += [(x, track), (to_x, track)]
            points.append((to_x, self.top[layer + 1]))
        x, top = points[-1]
        label_at = (x, top - self.sizes.above_box)
        if label(edge.edge):
            above = top - 1.5 * self.sizes.above_box
            points[-1] = (x, max(above, points[-2][1]))  # straight down from here, as the action stands there
        if points[-1][1] < into.y:
            points.append((x, into.y))
        return Wire(edge.edge, points[::-1] if edge.is_back else points, label_at)

    def track_y(self, number: int, layer: int) -> float:
        below = self.bottom[layer] if layer >= 0 else 0
        return below + self.sizes.first_track + self.head(layer) + self.sizes.track * self.tracks[number, layer]

    def head(self, layer: int) -> float:
        return self.sizes.head if layer in self.led_up_to else 0

    def lane(self, number: int, edge: _Edge, x: float) -> Wire:
        """Out at the right, up, and in from the right; around what stands there through the gap."""
        out, into = self.boxes[edge.source], self.boxes[edge.target]
        y, end_y = out.y + self.sizes.whole(out.height / 2), into.y + self.sizes.whole(into.height / 2)
        points: list[Point] = [(out.x + out.width, y)]
        if not self.leaves_at_side(edge.source):
            port, y = self.port_below[edge.source, number], self.track_y(number, self.layer[edge.source])
            points = [(port, out.y + out.height), (port, y)]
        points.append((x, y))
        end: list[Point] = [(into.x + into.width, end_y)]
        if not self.is_last(edge.target):
            port, end_y = self.port_above[edge.target, number], self.track_y(number, self.layer[edge.target] - 1)
            end = [(port, end_y), (port, into.y)]
        return Wire(edge.edge, [*points, (x, end_y), *end], (x, self.sizes.whole((y + end_y) / 2)), is_lane=True)


class _Move(NamedTuple):
    """The way of an edge sideways, between two layers."""

    number: int
    x: float
    to_x: float

    def crosses(self, other: _Move) -> bool:
        return min(self.x, self.to_x) <= max(other.x, other.to_x) and min(other.x, other.to_x) <= max(self.x, self.to_x)


def _tracks(moves: list[_Move]) -> dict[_Move, int]:
    """Rows for moves: one that begins where another ends goes above it, so that their lines do not meet."""
    rows: dict[_Move, int] = {}
    ending = {move.to_x: move for move in moves}
    todo = sorted(moves, key=lambda move: (move.x < move.to_x, move.x if move.x > move.to_x else -move.x))
    for move in todo:
        above = [other for other in rows if ending.get(other.x) is move]
        row = max((rows[other] + 1 for other in above), default=0)
        while any(rows[other] == row and move.crosses(other) for other in rows):
            row += 1
        rows[move] = row
    return rows
