"""The picture of a flow as SVG."""

from __future__ import annotations

import math
import unicodedata
import zlib
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pocketflow.graph.layout import Box, Picture, Point, Sizes, Wire, arranged, label
from pocketflow.graph.shape import drawn, shown

FONT = 13  # pixels
MARGIN = 12
BEND = 10  # the radius of a lane's corners


def to_svg(flow: Any) -> str:
    """The graph of a flow, or of a node and what it leads to, as an SVG picture.

    It is drawn in `currentColor`, without styles and scripts, so that it fits light and dark pages
    and any Content-Security-Policy. Your style sheets and scripts can use: `svg.pf-graph`; for nodes
    `g.pf-node`, with `pf-` and the kind as a class, `pf-start` if a flow begins there, and `data-id`
    as in `Graph`; for edges `path.pf-edge` with `data-source`, `data-target` and `data-action`; and
    `text.pf-action`.
    """
    graph = drawn(flow)
    picture = arranged(graph, SIZES)
    name = f"pf-{zlib.crc32(repr((graph.edges, [place[:4] for place in graph.nodes])).encode()):08x}"
    svg = _canvas(picture, shown(graph.nodes[0].name))
    _definitions(svg, picture, name)
    for box in picture.boxes:
        _box(svg, box)
    edges = _add(svg, "g", mask=f"url(#{name}-labels)", stroke_opacity=0.6)
    for wire in picture.wires:
        _edge(edges, wire, _curve(wire), name)
    for box in picture.boxes:
        for number, action in enumerate(box.loops):
            _loop(svg, edges, box, number, action, name)
    for wire in picture.wires:
        _action(svg, label(wire.edge), *wire.label_at)
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode")


def _text_width(text: str) -> float:
    """About how wide a text is in the sans-serif fonts of browsers."""
    return sum(map(_char_width, text)) * FONT


def _char_width(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 1.05
    if char in "iljtfrI.,:;'|!()[]/ ":
        return 0.36
    return 0.84 if char in "mwMW@%—…" else 0.7 if char.isupper() else 0.58


SIZES = Sizes(
    text=_text_width, whole=float, box=(28, 34), end=(10, 10), frame=(18, 38, 18), between=26, port=18,
    gap=44, first_track=14, head=0, track=3, words=18, above_box=19, lane=20,
)  # fmt: skip


def _add(parent: Element, tag: str, text: str = "", **attributes: Any) -> Element:
    """A new element; `stroke_width=1.5` is the attribute stroke-width="1.5"."""
    element = SubElement(parent, tag, {key.replace("_", "-").strip("-"): _value(it) for key, it in attributes.items()})
    element.text = text or None
    return element


def _value(value: Any) -> str:
    if isinstance(value, float | int):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return "".join(char if char.isprintable() else "\ufffd" for char in value)


def _canvas(picture: Picture, name: str) -> Element:
    width, height = picture.width + 2 * MARGIN, picture.height + 2 * MARGIN
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "pf-graph", "role": "img"})
    svg.set("aria-label", name)
    svg.set("viewBox", f"{-MARGIN} {-MARGIN} {width:.0f} {height:.0f}")
    svg.set("width", f"{width:.0f}")
    svg.set("height", f"{height:.0f}")
    svg.set("font-family", "ui-sans-serif, system-ui, sans-serif")
    svg.set("font-size", str(FONT))
    svg.set("fill", "none")
    svg.set("stroke", "currentColor")
    return svg


def _definitions(svg: Element, picture: Picture, name: str) -> None:
    """The head of an arrow; and a mask with a hole for each label, as nobody knows the colour of the page."""
    defs = _add(svg, "defs")
    arrow = _add(defs, "marker", id=f"{name}-arrow", viewBox="0 0 8 8", refX=7, refY=4, orient="auto")
    arrow.set("markerWidth", "7")
    arrow.set("markerHeight", "7")
    _add(arrow, "path", d="M1 1 7 4 1 7z", fill="currentColor", stroke="none")
    area: dict[str, Any] = {
        "x": -MARGIN,
        "y": -MARGIN,
        "width": picture.width + 2 * MARGIN,
        "height": picture.height + 2 * MARGIN,
    }
    mask = _add(defs, "mask", id=f"{name}-labels", maskUnits="userSpaceOnUse", **area)
    _add(mask, "rect", fill="white", stroke="none", **area)
    for wire in picture.wires:
        if word := label(wire.edge):
            (x, y), width = wire.label_at, _text_width(word) + 4
            _add(mask, "rect", x=x - width / 2, y=y - 9, width=width, height=17, fill="black", stroke="none")


# Nodes


def _box(svg: Element, box: Box) -> None:
    place, middle = box.place, box.x + box.width / 2
    if place is None:
        _add(svg, "circle", class_="pf-end", cx=middle, cy=box.y + 5, r=4, fill="currentColor", stroke="none")
        return
    classes = f"pf-node pf-{place.kind}" + (" pf-start" if place.is_start else "")
    group = _add(svg, "g", class_=classes, data_id=place.id)
    _add(group, "title", shown(place.name, 1000))
    area: dict[str, Any] = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    words: dict[str, Any] = {"fill": "currentColor", "stroke": "none"}
    if box.inside:
        _add(group, "rect", rx=10, stroke_opacity=0.45, stroke_dasharray="4 3", **area)
        _add(group, "text", shown(place.name), x=box.x + 14, y=box.y + 22, fill_opacity=0.7, **words)
        return
    is_pill = (place.is_start and place.kind != "task") or place.kind == "input"
    rounded = box.height / 2 if is_pill else 6
    dashes: dict[str, Any] = {"stroke_dasharray": "2 3"} if place.kind == "input" else {}
    _add(group, "rect", rx=rounded, fill="currentColor", fill_opacity=0.06, **area, **dashes)
    if place.kind in ("flow", "parallel", "dataflow"):  # with nothing inside: double sides, as a subroutine has
        for x in (box.x + 5, box.x + box.width - 5):
            _add(group, "path", d=f"M{x:.1f} {box.y:.1f}v{box.height}")
    _add(group, "text", shown(place.name), x=middle, y=box.y + box.height / 2 + 4.5, text_anchor="middle", **words)


# Edges


def _edge(edges: Element, wire: Wire, path: str, name: str) -> None:
    edge = wire.edge
    ends = {"data_source": edge.source, "data_target": edge.target or "", "data_action": edge.action or ""}
    _add(edges, "path", class_="pf-edge", d=path, marker_end=f"url(#{name}-arrow)", **ends)


def _action(svg: Element, action: str, x: float, y: float, anchor: str = "middle") -> None:
    if action:
        words: dict[str, Any] = {
            "fill": "currentColor",
            "fill_opacity": "0.75",
            "stroke": "none",
            "font_size": FONT - 1,
        }
        _add(svg, "text", action, class_="pf-action", x=x, y=y + 4, text_anchor=anchor, **words)


def _loop(svg: Element, edges: Element, box: Box, number: int, action: str, name: str) -> None:
    """An edge from a node to itself, at its right side; of several the labels stand below each other."""
    assert box.place
    right, y = box.x + box.width, box.y + box.height / 2
    if not number:
        path = f"M{right:.1f} {y - 7:.1f}h8a7 7 0 0 1 0 14h-7"
        ends = {"data_source": box.place.id, "data_target": box.place.id, "data_action": action or "default"}
        _add(edges, "path", class_="pf-edge", d=path, marker_end=f"url(#{name}-arrow)", **ends)
    _action(svg, action, right + 20, y + 14 * number, "start")


def _curve(wire: Wire) -> str:
    return _lane(wire.points) if wire.is_lane else _bends(wire.points)


def _bends(points: list[Point]) -> str:
    """Up or down, with a curve in place of each way sideways and what is straight before and after it."""
    path = "M{:.1f} {:.1f}".format(*points[0])
    rest = points[1:]
    while rest:
        (x, y), *rest = rest
        if rest and rest[0][1] == y:  # the corners of a way sideways; the curve begins where the line before did
            (to_x, _), (_, end), *rest = rest
            start = points[len(points) - len(rest) - 4][1]
            middle = (start + end) / 2
            path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {end:.1f}"
        else:
            path += f"L{x:.1f} {y:.1f}"
    return path


def _lane(points: list[Point]) -> str:
    """Straight lines with round corners."""
    path = "M{:.1f} {:.1f}".format(*points[0])
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        (x1, y1), (x2, y2) = _towards(corner, before), _towards(corner, after)
        path += f"L{x1:.1f} {y1:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {x2:.1f} {y2:.1f}"
    return path + "L{:.1f} {:.1f}".format(*points[-1])


def _towards(corner: Point, other: Point) -> Point:
    (x, y), (to_x, to_y) = corner, other
    length = math.hypot(to_x - x, to_y - y) or 1
    part = min(BEND, length / 2) / length
    return x + (to_x - x) * part, y + (to_y - y) * part
