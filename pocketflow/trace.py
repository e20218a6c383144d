"""What ran when: a text tree, a page to look at, a Chrome trace, and metrics.

    >>> from pocketflow import Flow, Node
    >>> class Fetch(Node):
    ...     def post(self, shared, prep_res, exec_res):
    ...         return "found"
    >>> with Trace() as trace:
    ...     action = Flow(start=Fetch()).run({})
    >>> print(trace)  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    Flow ... -> found
      Fetch ... -> found
    >>> trace.metrics()["Fetch"]["count"]
    1

Each line says when a step began, counted from the first one, and how long it took.

`trace.save("run.html")` writes a page that needs no network, and `trace.save("run.json")` a file for
ui.perfetto.dev and speedscope.app. In a notebook, a trace as the last line of a cell shows its page. A
trace is a hook: it sees all that runs inside its block, also in tasks and threads.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from importlib import resources
from itertools import islice
from pathlib import Path
from reprlib import Repr
from typing import Any, NamedTuple

from pocketflow import BatchFlow
from pocketflow.graph import Graph, to_svg
from pocketflow.hooks import Hook, Step
from pocketflow.text import duration, number_of, printable, short

__all__ = ["Retry", "Span", "Trace", "Usage"]

CONTENT = 2000  # characters of an input, a result, and all events of a step
_SIBLINGS, _ENDS = 20, 10  # of more siblings the first and the last are printed, and those that failed
_VISITS = ("node", "flow")
_STEPS = ("prep", "exec", *_VISITS)
_NO_STATUS: dict[str, Any] = {"status": "running", "error": None, "path": ""}
_FIRST = 50  # of the elements of a value
_told = Repr()
_told.maxstring = _told.maxother = CONTENT
_told.maxlist = _told.maxtuple = _told.maxset = _told.maxfrozenset = _told.maxdict = _told.maxdeque = _FIRST


class Retry(NamedTuple):
    """An attempt that was followed by another: when it failed, the seconds until the next, and its error."""

    time: float
    wait: float
    error: str


class Usage(NamedTuple):
    """What a call of a model used, as an event of the type "usage" reported it."""

    model: str | None
    input_tokens: int
    output_tokens: int


@dataclass(slots=True, eq=False)
class Span:
    """What a `Trace` keeps of a step: nothing of the node or the store.

    parent: the span that it ran inside; None for the outermost.
    kind: that of the step; or "entry" for an entry of a batch flow, and "branch" for a branch.
    name, path: those of the step. All texts are printable: what is not is escaped.
    start, end: seconds of the clock of the trace; `end` is None while it runs.
    state: "running", "done", "skipped" (a hook's `Skip` replaced the work), "failed", or
        "cancelled" (ended by something that is not an `Exception`: a cancellation, a pause, Ctrl-C).
    action: that of a visit, if any. error: the repr of what ended it. Both cut to 500 characters.
    notes: those of the error, if it left the outermost step.
    content: "input", "result" and "events", as text, if they were asked for.
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
    retries: tuple[Retry, ...] = ()
    usage: tuple[Usage, ...] = ()
    notes: tuple[str, ...] = ()
    content: dict[str, str] | None = None

    @property
    def item(self) -> str:
        """Such as "[3]", for the exec of an item, an entry or a branch; else ""."""
        return self.path[self.path.rindex("[") :] if self.path.endswith("]") else ""

    @property
    def is_visit(self) -> bool:
        """Whether it is a node or flow, not a part of one."""
        return self.kind in _VISITS

    def took(self, now: float) -> float:
        """Seconds until its end, or until now."""
        return (now if self.end is None else self.end) - self.start


class Trace(Hook):
    """Records what ran when. Enter it as often as you like: all the runs are in one trace.

    content: also keep what went in and out: inputs of exec steps and batch entries, results of
        prep and exec, and emitted events, as text of at most 2,000 characters each. Prompts and
        answers are then in the files that you save, so mind who reads them.
    clock: returns seconds; only differences count.

    The outermost flows are kept, for their picture. Tokens are those of "usage" events. What still
    runs when a trace is printed or saved is shown as running.
    """

    def __init__(self, content: bool = False, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.content, self.clock = content, clock
        self.spans: list[Span] = []  # in the order of their starts
        self.flows: dict[Span, Any] = {}  # by the span of their run
        self._open: dict[Step | None, Span] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]], flow: Any = None) -> Trace:
        """The trace of a recorded run: the rows of `journal.history(run_id)`. `flow` is what ran, for its picture."""
        trace = cls(content=True)
        trace.spans = _recorded(list(history), flow)
        now = max((span.end for span in trace.spans if span.end), default=0.0)
        trace.clock = lambda: now
        if flow is not None and trace.spans:
            trace.flows[trace.spans[0]] = flow
        return trace

    def on_start(self, step: Step) -> None:
        parent = self._open.get(step.parent)
        self._open[step] = span = Span(parent, _kind(step), printable(step.name), printable(step.path), self.clock())
        if self.content and step.input is not None:
            span.content = {"input": _content(step.input)}
        if step.parent is None and span.is_visit:
            self.flows[span] = step.node
        self.spans.append(span)

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        span = self._open.get(step)
        if span and event["type"] == "usage":
            with self._lock:  # as threads may emit inside one step
                span.usage += (_usage(event),)
        elif span and self.content:
            with self._lock:
                _add_event(span, event)

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        if span := self._open.get(step):
            span.retries += (Retry(self.clock(), wait, short(error)),)

    def on_end(self, step: Step, result: Any) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "skipped" if step.skipped else "done"
        if step.kind in _VISITS and result is not None:
            span.action = short(result, 500)
        elif self.content and step.kind in ("prep", "exec") and result is not None:
            span.content = {**(span.content or {}), "result": _content(result)}

    def on_error(self, step: Step, error: BaseException) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "failed" if isinstance(error, Exception) else "cancelled"
        if not isinstance(error, asyncio.CancelledError):
            span.error = short(error, 500)
        if span.parent is None:
            span.notes = tuple(short(str(note), 500) for note in getattr(error, "__notes__", ()))

    def __str__(self) -> str:
        """A tree with a line for each visit: when it began, and how long it took.

        A batch has one line (with p50, p95 and the longest of its items), and one for each item that failed.
        If there are more than 20 visits in a row, the first ten, the last ten and all that failed are shown.
        """
        return "\n".join(_tree(list(self.spans), self.clock()))

    def __repr__(self) -> str:
        return f"<Trace of {number_of(len(self.spans), 'step')}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """For notebooks: the page, in a frame of its own."""
        frame = '<iframe sandbox="allow-scripts" style="width: 100%; height: 640px; border: 0" srcdoc="{}"></iframe>'
        return {"text/html": frame.format(html.escape(self.html())), "text/plain": str(self)}

    def metrics(self) -> dict[str, dict[str, float]]:
        """For each name of a node or flow: `count, errors, retries, total, mean, longest, input_tokens, output_tokens`.

        `count` counts visits that have ended, without skipped ones; `total`, `mean` and `longest` are seconds; the
        tokens are those of the node itself, not of flows inside it. The name that took longest comes first.
        """
        return _metrics(list(self.spans), _VISITS)

    def html(self) -> str:
        """The page: how it ended, the flow's graph, a timeline, and the slowest nodes."""
        return _page(list(self.spans), self.clock(), self.flows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page (`.html`), or Chrome trace events (`.json`), as the suffix of `path` says."""
        suffix = Path(path).suffix.lower()
        if suffix not in (".html", ".json"):
            raise ValueError(f"save({os.fspath(path)!r}): write a name that ends in .html or .json")
        text = self.html() if suffix == ".html" else _chrome(list(self.spans), self.clock())
        Path(path).write_text(text, encoding="utf-8")


def _kind(step: Step) -> str:
    if step.kind != "flow" or step.index is None:
        return step.kind
    return "entry" if isinstance(step.node, BatchFlow) else "branch"


def _usage(event: Mapping[str, Any]) -> Usage:
    model, *tokens = (event.get(key) for key in ("model", "input_tokens", "output_tokens"))
    return Usage(model and short(model), *(it if type(it) is int else 0 for it in tokens))


# What was said


def _content(value: Any) -> str:
    """A text as it is; of chat messages, dicts and lists of long texts a paragraph each; the repr of all else. Cut."""
    if isinstance(value, dict) and value:
        return _cut("\n".join(f"{_plain(key)}: {_plain(value[key])}" for key in islice(value, _FIRST)))
    if isinstance(value, (list, tuple)):
        first = value[:_FIRST]
        if first and all(_is_message(one) for one in first):
            return _cut("\n\n".join(f"{one['role']}: {one['content']}" for one in first))
        if any(isinstance(one, str) and "\n" in one for one in first):
            return _cut("\n\n".join(map(_plain, first)))
    return _cut(_plain(value))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _told.repr(value)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str) and "role" in value


def _cut(text: str) -> str:
    lines = text[: CONTENT + 1].replace("\t", "    ").split("\n")
    clean = "\n".join(map(printable, lines))
    return clean if len(clean) <= CONTENT else f"{clean[: CONTENT - 3]}..."


def _add_event(span: Span, event: dict[str, Any]) -> None:
    """Add an event to those of a span: chunks of text run on, any other has a line."""
    span.content = span.content or {}
    before, chunk = span.content.get("events", ""), event.get("chunk")
    if len(before) >= CONTENT:
        return
    if event["type"] == "chunk" and isinstance(chunk, str):
        span.content["events"] = _cut(before + chunk)
        return
    facts = ", ".join(f"{key}: {short(value)}" for key, value in event.items() if key != "type")
    line = f"{short(event['type'])} {facts}".rstrip()
    span.content["events"] = _cut(f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")


# A recorded run


def _recorded(rows: list[Mapping[str, Any]], flow: Any) -> list[Span]:
    """The spans of recorded steps, and of the steps around them that did not end, and so have no record."""
    spans = {
        path: _recorded_span(path, row) for row in rows if (path := printable(row["path"])) and row["kind"] in _STEPS
    }
    last = next((row for row in reversed(rows) if row["kind"] == "status"), _NO_STATUS)
    if failed_at := printable(last["path"]):
        spans.setdefault(failed_at, _cut_short(failed_at, last))
    for row in rows:
        if row["kind"] == "usage":
            spans.setdefault(path := printable(row["path"]), _cut_short(path, row)).usage += (_usage(row["event"]),)
    for span in list(spans.values()):
        _join(span, spans)
    graph = None if flow is None else Graph(flow)
    for span in spans.values():
        span.name = _name(span)
        if span.item and span.kind == "flow":
            place = graph.locate(span.path) if graph else None
            span.kind = "branch" if graph and place and graph[place].kind in ("parallel", "dataflow") else "entry"
    _end(list(spans.values()), last, max(map(_moment, rows), default=0.0), spans.get(failed_at))
    return sorted(spans.values(), key=lambda span: (span.start, span.path.count("/"), span.path))


def _recorded_span(path: str, row: Mapping[str, Any]) -> Span:
    end = _moment(row)
    span = Span(None, row["kind"], "", path, end - (row.get("seconds") or 0), end, "done")
    if row.get("action") is not None:
        span.action = short(row["action"], 500)
    if row["kind"] == "exec" and row.get("result") is not None:
        span.content = {"result": _content(row["result"])}
    return span


def _cut_short(path: str, row: Mapping[str, Any]) -> Span:
    """A step that did not end, so that there is only what it did until then."""
    phase = path.rpartition("/")[2].partition("[")[0]
    return Span(None, phase if phase in ("prep", "exec") else "node", "", path, _moment(row) - (row["seconds"] or 0))


def _moment(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(row["at"]).timestamp()


def _join(span: Span, spans: dict[str, Span]) -> None:
    """Put a span into the one around it, which is made where there is none, and begins no later than what is in it."""
    while outer := _around(span.path):
        kind = "node" if span.kind in ("prep", "exec") else "flow"
        parent = spans.setdefault(outer, Span(None, kind, "", outer, span.start))
        if parent.state == "running" and kind == "flow":
            parent.kind = kind
        span.parent, parent.start = parent, min(parent.start, span.start)
        span = parent


def _end(spans: list[Span], last: Mapping[str, Any], now: float, failed: Span | None) -> None:
    """Say how steps without a record ended: with what is in them, or as the last status of the run says.

    failed: the step whose error ended the run, and with it those around it; None where that is not known.
    """
    state = {"failed": "failed", "paused": "cancelled", "interrupted": "cancelled"}.get(str(last["status"]), "running")
    lines = [short(line, 500) for line in str(last["error"] or "").splitlines()]
    blamed, inner = {*_outwards(failed)}, dict[Span | None, float]()
    for span in spans:
        inner[span.parent] = max(inner.get(span.parent, 0.0), span.end or 0.0)
    for span in sorted((span for span in spans if span.end is None), key=lambda span: span.path.count("/")):
        if span.parent and span.parent.state == "done":
            span.state, span.end = "done", inner[span] or span.parent.end
        elif state != "running":
            span.state, span.end = "cancelled" if failed and span not in blamed else state, now
            if lines and span.state == state:
                span.error, span.notes = lines[0], () if span.parent else tuple(lines[1:])


def _outwards(span: Span | None) -> Iterator[Span]:
    """The span and those around it."""
    while span:
        yield span
        span = span.parent


def _around(path: str) -> str:
    return (
        path[: path.rindex("[")]
        if path.endswith("]") and "/exec[" not in path[path.rfind("/") :]
        else path.rpartition("/")[0]
    )


def _name(span: Span) -> str:
    """The name in a path; a part of a visit has the name of its node."""
    last = span.path if span.kind in _VISITS else _around(span.path)
    return last.rpartition("/")[2].partition("[")[0].partition(":")[2] or last.rpartition("/")[2].partition("[")[0]


# Numbers


def _metrics(spans: list[Span], kinds: tuple[str, ...]) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    columns = ("count", "errors", "retries", "total", "mean", "longest", "input_tokens", "output_tokens")
    for span in spans:
        if span.kind not in ("prep", "exec", *kinds):
            continue
        row = rows.setdefault(span.name, dict.fromkeys(columns, 0)) if span.kind != "prep" else rows.get(span.name, {})
        for usage in span.usage:
            row["input_tokens"] += usage.input_tokens
            row["output_tokens"] += usage.output_tokens
        if span.kind == "exec":
            row["retries"] += len(span.retries)
        elif span.is_visit and span.end is not None and span.state != "skipped":
            took = span.took(span.end)
            row["count"] += 1
            row["errors"] += span.state == "failed"
            row["total"] += took
            row["mean"] = row["total"] / row["count"]
            row["longest"] = max(row["longest"], took)
    return dict(sorted(rows.items(), key=lambda row: -row[1]["total"]))


# The text tree

_Inside = dict[Span | None, list[Span]]


def _tree(spans: list[Span], now: float) -> list[str]:
    inside: _Inside = {}
    for span in spans:
        inside.setdefault(span.parent, []).append(span)
    first = spans[0].start if spans else 0.0
    lines = list(_lines(inside, None, "", now))
    width = max((len(label) for label, _, _ in lines), default=0)
    starts = [f"+{duration(span.start - first)}" if span else "" for _, span, _ in lines]
    tooks = [duration(span.took(now)) if span else "" for _, span, _ in lines]
    columns = [max(map(len, column), default=0) for column in (starts, tooks)]
    return [
        f"{label:{width}}  {start:>{columns[0]}}  {took:>{columns[1]}}  {facts}".rstrip()
        for (label, _, facts), start, took in zip(lines, starts, tooks, strict=True)
    ]


def _lines(inside: _Inside, parent: Span | None, indent: str, now: float) -> Iterator[tuple[str, Span | None, str]]:
    """The label, the span and the facts of all that ran inside `parent`; no span where lines are left out."""
    siblings = [span for span in inside.get(parent, ()) if not _is_folded(span, inside)]
    left_out = 0
    for number, span in enumerate(siblings):
        is_end = number < _ENDS or number >= len(siblings) - _ENDS
        if len(siblings) > _SIBLINGS and not is_end and not _has_failed(span, inside):
            left_out += 1
            continue
        if left_out:
            yield f"{indent}... {left_out:,} more", None, ""
            left_out = 0
        label = span.name if span.is_visit else span.item or span.kind
        yield indent + label, span, _facts(span, inside, now)
        yield from _lines(inside, span, f"{indent}  ", now)


def _has_failed(span: Span, inside: _Inside) -> bool:
    """Whether it failed, or what it is folded from, or something in it that was caught."""
    return span.state == "failed" or any(_has_failed(one, inside) for one in inside.get(span, ()) if one.item == "")


def _is_folded(span: Span, inside: _Inside) -> bool:
    """Whether the line around it says it all: so of a prep and exec, and of an item or entry that went well."""
    if span.kind == "prep":
        return span not in inside and not span.error
    if span.kind == "exec":
        return span not in inside and (not span.item or span.state != "failed")
    return span.kind == "entry" and len(inside.get(span.parent, ())) > _ENDS and not _has_failed(span, inside)


def _facts(span: Span, inside: _Inside, now: float) -> str:
    children = inside.get(span, [])
    folded = [child for child in children if _is_folded(child, inside)]
    attempts = 1 + sum(len(one.retries) for one in (span, *folded) if not one.item or one is span)
    facts = [_items(children, now)] if any(child.kind in ("exec", "entry") and child.item for child in children) else []
    facts += [f"{attempts} attempts"] if attempts > 1 else []
    if span.state != "done":
        told = not span.error or any(child.error == span.error for child in children if child not in folded)
        facts.insert(0, span.state if told else f"{span.state}: {short(span.error or '')}")
    if span.action:
        facts.append(f"-> {short(span.action)}")
    return ", ".join(facts)


def _items(children: list[Span], now: float) -> str:
    """Such as "12 items, p50 20.0 ms, p95 31.0 ms, longest 50.0 ms, 3 retries, 1 failed"; skipped ones took no time."""
    items = [child for child in children if child.item]
    tooks = sorted(item.took(now) for item in items if item.state != "skipped")
    one, many = ("item", "items") if items[0].kind == "exec" else ("entry", "entries")
    facts = [number_of(len(items), one, many)]
    if tooks:
        p50, p95 = (duration(tooks[min(len(tooks) - 1, len(tooks) * percent // 100)]) for percent in (50, 95))
        facts += [f"p50 {p50}, p95 {p95}, longest {duration(tooks[-1])}"]
    if retries := sum(len(item.retries) for item in items):
        facts.append(number_of(retries, "retry", "retries"))
    for state in ("skipped", "cancelled", "failed"):
        if number := sum(item.state == state for item in items):
            facts.append(f"{number:,} {state}")
    return ", ".join(facts)


# Lanes: what ran at the same time is drawn side by side


class _Bar(NamedTuple):
    """A span, as it is drawn. Times are microseconds, whole ones, as no rounding may push a bar out of another."""

    span: Span
    start: int
    time: int
    lane: int
    depth: int  # how many bars of its lane are around it


def _bars(spans: list[Span], now: float) -> list[_Bar]:
    """In the order of their starts. Bars of one lane are inside one another, or apart.

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
        end = _end_of(span, now)
        times.append((span.start, end, span))
        for start, wait, error in span.retries:
            waiting = Span(span, "wait", span.name, f"{span.path}/wait", start, state="done", error=error)
            times.append((start, max(start, min(start + wait, end)), waiting))
    return sorted(times, key=lambda time: time[0])


def _end_of(span: Span, now: float) -> float:
    """When a span ended, as it stood at `now`: meanwhile it may have ended."""
    return now if span.end is None else min(span.end, now)


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


# The page


def _page(spans: list[Span], now: float, flows: Mapping[Span, Any]) -> str:
    """The page of the run, with its data in columns of numbers, so that 50,000 steps load quickly."""
    words: dict[str, int] = {}

    def number(word: str) -> int:
        return words.setdefault(word, len(words))

    first = spans[0].start if spans else 0.0
    position = {span: index for index, span in enumerate(spans)}
    pictures = _pictures(flows.values())
    nodes = _located(spans, flows, pictures)
    rows = []
    for span in spans:
        start, finish = _microseconds(span.start - first), _microseconds(_end_of(span, now) - first)
        parent = span.parent
        place = span.path[len(parent.path) if parent else 0 :]  # the rest of the path stands in the parent
        texts = (span.name, span.kind, span.state, place, span.error or span.action or "")
        node = number(nodes[span]) if span in nodes else -1
        rows.append((start, finish - start, position[parent] if parent else -1, node, *map(number, texts)))
    columns = ("start", "time", "parent", "node", "name", "kind", "state", "place", "text")
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    data = {
        **dict(zip(columns, values, strict=True)),
        "retries": {position[span]: _drawn_retries(span, first, now) for span in spans if span.retries},
        **{
            field: {position[span]: known for span in spans if (known := getattr(span, field))}
            for field in ("usage", "notes", "content")
        },
        "nodes": [[number(name), *row.values()] for name, row in _metrics(spans, ("node",)).items()],
        "pictures": list(dict.fromkeys(pictures.values())),
        "words": list(words),
    }
    page = resources.files("pocketflow").joinpath("trace.html").read_text(encoding="utf-8")
    return page.replace(
        "{{DATA}}</script>", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c") + "</script>"
    )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _drawn_retries(span: Span, first: float, now: float) -> list[tuple[int, int, str]]:
    """When, for how long and why; a wait that was cut short ends with its step."""
    waits = [max(0.0, min(retry.wait, _end_of(span, now) - retry.time)) for retry in span.retries]
    return [
        (_microseconds(retry.time - first), _microseconds(wait), retry.error)
        for retry, wait in zip(span.retries, waits, strict=True)
    ]


def _pictures(flows: Iterable[Any]) -> dict[int, str]:
    """id of a flow -> its picture; those of one shape have the same. A node alone has none."""
    return {key: to_svg(flow) for key, flow in {id(it): it for it in flows}.items() if len(Graph(flow).nodes) > 1}


def _located(spans: list[Span], flows: Mapping[Span, Any], pictures: dict[int, str]) -> dict[Span, str]:
    """Of each visit that stands in a picture, the number of the picture and the node, as one word."""
    numbers = {picture: number for number, picture in enumerate(dict.fromkeys(pictures.values()))}
    graphs = {key: Graph(flow) for key, flow in {id(it): it for it in flows.values()}.items() if key in pictures}
    runs: dict[Span, tuple[Span, dict[str, Any]]] = {}  # the outermost span, and the actions of all visits inside it
    for span in spans:
        runs[span] = runs[span.parent] if span.parent else (span, {})
        if span.is_visit:
            runs[span][1][span.path] = span.action
    nodes = {}
    for span, (run, actions) in runs.items():
        flow = id(flows.get(run))
        is_drawn = span.is_visit and flow in graphs and "/~" not in span.path
        if is_drawn and (node := graphs[flow].locate(span.path, actions)):
            nodes[span] = f"{numbers[pictures[flow]]} {node}"
    return nodes
