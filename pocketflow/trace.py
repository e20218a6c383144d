"""What ran when: a text tree, a timeline page, a Chrome trace, and metrics.

    >>> from pocketflow import Flow, Node
    >>> class Fetch(Node):
    ...     def post(self, shared, prep_res, exec_res):
    ...         return "found"
    >>> with Trace() as trace:
    ...     action = Flow(start=Fetch()).run({})
    >>> print(trace)  # doctest: +ELLIPSIS
    Flow ... -> found
      Fetch ... -> found
    >>> trace.metrics()["Fetch"]["count"]
    1

`trace.save("run.html")` writes a page that needs no network, `trace.save("run.json")` a file for
ui.perfetto.dev and speedscope.app. It is a hook: it sees all that runs inside of its block, its
tasks and threads included.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from pocketflow.hooks import Hook, Step
from pocketflow.text import duration, printable, short

__all__ = ["Span", "Trace"]

_SIBLINGS = 20
_VISITS = ("node", "flow")


@dataclass(slots=True, eq=False)
class Span:
    """What a `Trace` keeps of a step: nothing of the node, the store, inputs or results.

    parent: the span inside of which it ran; None for the outermost.
    kind, name, path: those of the step. All texts are printable: what is not is escaped.
    start, end: seconds of the clock of the trace; `end` is None while it runs.
    state: "running", "done", "skipped" (a hook's `Skip` stood for the work), "failed", or
        "cancelled" (by whatever is no `Exception`: a cancellation, a pause, Ctrl-C).
    action: of a visit, if it gave one. error: the repr of what ended it. Both cut to 120 characters.
    retries: (time, seconds until the next attempt, error) of every attempt that was followed by another.
    """

    parent: Span | None
    kind: str
    name: str
    path: str
    start: float
    end: float | None = None
    state: str = "running"
    action: str | None = None
    error: str | None = None
    retries: tuple[tuple[float, float, str], ...] = ()

    @property
    def item(self) -> str:
        """Such as "[3]", for the exec of an item, an entry or a branch; "" for all else."""
        return self.path[self.path.rindex("[") :] if self.path.endswith("]") else ""

    @property
    def is_visit(self) -> bool:
        """Whether it is a node or flow, and no part of one."""
        return self.kind in _VISITS and not self.item

    def took(self, now: float) -> float:
        """Seconds until its end, or until now."""
        return (now if self.end is None else self.end) - self.start


class Trace(Hook):
    """Records what ran when. Enter it as often as you like: all the runs stand in one trace.

    clock: returns seconds; only differences count. Whatever is printed or saved while something
    runs shows that as running. A step takes some 250 bytes.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.spans: list[Span] = []  # in the order of their starts
        self._open: dict[Step | None, Span] = {}

    def on_start(self, step: Step) -> None:
        parent = self._open.get(step.parent)
        self._open[step] = span = Span(parent, step.kind, printable(step.name), printable(step.path), self.clock())
        self.spans.append(span)

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        if span := self._open.get(step):
            span.retries += ((self.clock(), wait, short(error)),)

    def on_end(self, step: Step, result: Any) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "skipped" if step.skipped else "done"
        if step.kind in _VISITS and result is not None:
            span.action = short(result)

    def on_error(self, step: Step, error: BaseException) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "failed" if isinstance(error, Exception) else "cancelled"
        if not isinstance(error, asyncio.CancelledError):
            span.error = short(error)

    def __str__(self) -> str:
        """A tree, a line for every visit, entry, branch and item; of more than 20 siblings the first 20."""
        return "\n".join(_tree(list(self.spans), self.clock()))

    def metrics(self) -> dict[str, dict[str, float]]:
        """Per name of a node or flow: `count, errors, retries, total, mean, longest`, the last three in seconds.

        `count` counts visits that have ended, but not skipped ones; the name that took longest comes first.
        """
        return _metrics(list(self.spans), _VISITS)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a page for people (`.html`), or Chrome trace events (`.json`), as the suffix of `path` says."""
        formats = {".html": _page, ".json": _chrome}
        write = formats.get(Path(path).suffix.lower())
        if write is None:
            raise ValueError(f"save({os.fspath(path)!r}): write a name that ends in .html or .json")
        Path(path).write_text(write(list(self.spans), self.clock()), encoding="utf-8")


def _metrics(spans: list[Span], kinds: tuple[str, ...]) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for span in spans:
        if span.kind != "exec" and not (span.kind in kinds and span.is_visit):
            continue
        row = rows.setdefault(span.name, dict.fromkeys(("count", "errors", "retries", "total", "mean", "longest"), 0))
        if span.kind == "exec":
            row["retries"] += len(span.retries)
        elif span.end is not None and span.state != "skipped":
            took = span.took(span.end)
            row["count"] += 1
            row["errors"] += span.state == "failed"
            row["total"] += took
            row["mean"] = row["total"] / row["count"]
            row["longest"] = max(row["longest"], took)
    return dict(sorted(rows.items(), key=lambda row: -row[1]["total"]))


# The text tree


def _tree(spans: list[Span], now: float) -> list[str]:
    inside: dict[Span | None, list[Span]] = {}
    for span in spans:
        inside.setdefault(span.parent, []).append(span)
    lines = list(_lines(inside, None, "", now))
    width = max((len(label) for label, _, _ in lines), default=0)
    return [f"{label:{width}}  {took:>9}  {facts}".rstrip() for label, took, facts in lines]


def _lines(inside: dict[Span | None, list[Span]], parent: Span | None, indent: str, now: float) -> Iterator[Any]:
    """The label, duration and facts of all that ran inside of `parent`."""
    shown = [span for span in inside.get(parent, ()) if not _is_folded(span, inside)]
    for span in shown[:_SIBLINGS]:
        label = span.name if span.is_visit else span.item or span.kind
        yield indent + label, duration(span.took(now)), _facts(span, inside)
        yield from _lines(inside, span, f"{indent}  ", now)
    if rest := shown[_SIBLINGS:]:
        failed = sum(span.state == "failed" for span in rest)
        yield f"{indent}... {len(rest):,} more", "", f"{failed:,} failed" if failed else ""


def _is_folded(span: Span, inside: dict[Span | None, list[Span]]) -> bool:
    """Whether the line of its node says it all: so with the only exec, and with a prep that went well."""
    if span in inside or span.item:
        return False
    return span.kind == "exec" or (span.kind == "prep" and not span.error)


def _facts(span: Span, inside: dict[Span | None, list[Span]]) -> str:
    children = inside.get(span, ())
    folded = [child for child in children if _is_folded(child, inside)]
    attempts = 1 + sum(len(one.retries) for one in (span, *folded))
    facts = [f"{attempts} attempts"] if attempts > 1 else []
    if span.state != "done":
        told = not span.error or any(child.error == span.error for child in children if child not in folded)
        facts.append(span.state if told else f"{span.state}: {span.error}")
    if span.action:
        facts.append(f"-> {span.action}")
    return ", ".join(facts)


# Lanes: what ran at the same time stands side by side


class _Bar(NamedTuple):
    """A span, as it is drawn. Times are microseconds, whole ones, as no rounding may push a bar out of another."""

    span: Span
    start: int
    time: int
    lane: int
    depth: int  # how many bars of its lane are around it


def _bars(spans: list[Span], now: float) -> list[_Bar]:
    """In the order of their starts. Bars of one lane are inside of one another, or apart.

    A bar goes where its parent is, if nothing is there but what is around it; else into the first free lane.
    """
    lanes: list[list[tuple[Span, float]]] = []  # what is open in each, from the outermost on, with its end
    home: dict[Span | None, int] = {}
    busy: list[tuple[float, int]] = []  # lanes by the end of their outermost bar
    free: list[int] = []
    bars = []
    for start, end, span in (times := _times(spans, now)):
        while busy and busy[0][0] <= start:
            heappush(free, heappop(busy)[1])
        lane = home.get(span.parent, -1)
        if lane < 0 or not _has_room(lanes[lane], span.parent, start, end):
            lane = heappop(free) if free else len(lanes)
            lanes[lane : lane + 1] = [[]]
            heappush(busy, (end, lane))
        begin, finish = (round((time - times[0][0]) * 1e6) for time in (start, end))
        bars.append(_Bar(span, begin, finish - begin, lane, len(lanes[lane])))
        home[span] = lane
        lanes[lane].append((span, end))
    return bars


def _times(spans: list[Span], now: float) -> list[tuple[float, float, Span]]:
    """Start and end of every span, and of every wait for another attempt, which becomes a span as well."""
    times = []
    for span in spans:
        end = now if span.end is None else min(span.end, now)  # it may have ended since `now`
        times.append((span.start, end, span))
        for start, wait, error in span.retries:
            waiting = Span(span, "wait", span.name, f"{span.path}/wait", start, state="done", error=error)
            times.append((start, max(start, min(start + wait, end)), waiting))
    return sorted(times, key=lambda time: time[0])


def _has_room(lane: list[tuple[Span, float]], parent: Span | None, start: float, end: float) -> bool:
    while lane and lane[-1][0] is not parent and lane[-1][1] <= start:
        lane.pop()
    return bool(lane) and lane[-1][0] is parent and end <= lane[-1][1]


# Files


def _chrome(spans: list[Span], now: float) -> str:
    bars = _bars(spans, now)
    events: list[dict[str, Any]] = []
    for tid in range(1, max((bar.lane for bar in bars), default=-1) + 2):
        events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": f"lane {tid}"}})
    for bar in bars:
        span = bar.span
        facts = {"path": span.path, "state": span.state, "action": span.action, "error": span.error}
        known: dict[str, Any] = {key: fact for key, fact in facts.items() if fact is not None}
        place = {"cat": span.kind, "ts": bar.start, "pid": 1, "tid": bar.lane + 1}
        if span.kind == "wait":
            events.append({"name": "retry", "ph": "i", "s": "t", **place, "args": known})
        if span.kind != "wait" or bar.time:
            name = f"{span.name}{span.item}" if span.kind in _VISITS else f"{span.name} {span.kind}"
            known["attempts"] = len(span.retries) + 1
            events.append({"name": name, "ph": "X", "dur": bar.time, **place, "args": known})
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def _page(spans: list[Span], now: float) -> str:
    """The page below with the data of the run, in columns of numbers, as 50,000 steps should load at once."""
    words: dict[str, int] = {}

    def number(word: str) -> int:
        return words.setdefault(word, len(words))

    bars = _bars(spans, now)
    position = {bar.span: index for index, bar in enumerate(bars)}
    rows = []
    for bar in bars:
        span, parent = bar.span, bar.span.parent
        place = span.path[len(parent.path) if parent else 0 :]  # the rest of the path stands in the parent
        texts = (span.name, span.kind, span.state, place, span.error or span.action or "")
        numbers = (position[parent] if parent else -1, len(span.retries) + 1, *map(number, texts))
        rows.append((bar.start, bar.time, bar.lane, bar.depth, *numbers))
    columns = ("start", "time", "lane", "depth", "parent", "attempts", "name", "kind", "state", "place", "text")
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    nodes = [[number(name), *row.values()] for name, row in _metrics(spans, ("node",)).items()]
    data = {**dict(zip(columns, values, strict=True)), "nodes": nodes, "words": list(words)}
    page = resources.files("pocketflow").joinpath("trace.html").read_text(encoding="utf-8")
    return page.replace("{{DATA}}", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
