"""What ran when: a text tree, a timeline page, a Chrome trace, metrics, and live progress.

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
ui.perfetto.dev and speedscope.app. `with Progress():` shows on stderr what runs while it runs.
Both are hooks: they see all that runs inside of their block, its tasks and threads included.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from reprlib import Repr
from typing import Any, NamedTuple, Self, TextIO

from pocketflow import BatchFlow, BatchNode, Hook, Step, hooked

__all__ = ["Progress", "Span", "Trace"]

_SHORT, _SIBLINGS = 120, 20
_VISITS = ("node", "flow")
_repr = Repr()
_repr.maxother = _repr.maxstring = _SHORT
_blocks: ContextVar[tuple[hooked, ...]] = ContextVar("blocks", default=())


class _Block(Hook):
    """A hook with a `with` block of its own, which tasks and threads may enter beside one another."""

    def __enter__(self) -> Self:
        inside = any(self in block.hooks for block in _blocks.get())
        block = hooked() if inside else hooked(self)  # never twice, or it would hear everything twice
        block.__enter__()
        _blocks.set((*_blocks.get(), block))
        return self

    def __exit__(self, *_: Any) -> None:
        *outer, block = _blocks.get()
        _blocks.set(tuple(outer))
        block.__exit__()


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


class Trace(_Block):
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
        self._open[step] = span = Span(parent, step.kind, _clean(step.name), _clean(step.path), self.clock())
        self.spans.append(span)

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        if span := self._open.get(step):
            span.retries += ((self.clock(), wait, _short(error)),)

    def on_end(self, step: Step, result: Any) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "skipped" if step.skipped else "done"
        if step.kind in _VISITS and result is not None:
            span.action = _short(result)

    def on_error(self, step: Step, error: BaseException) -> None:
        span = self._open.pop(step)
        span.end, span.state = self.clock(), "failed" if isinstance(error, Exception) else "cancelled"
        if not isinstance(error, asyncio.CancelledError):
            span.error = _short(error)

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


def _short(value: Any) -> str:
    text = value if type(value) is str else _repr.repr(value)
    return _clean(text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}...")


def _clean(text: str) -> str:
    """`text` without what would steer a terminal or turn the direction of the writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return "{} min {} s".format(*divmod(round(seconds), 60))


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
        yield indent + label, _duration(span.took(now)), _facts(span, inside)
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
    return _PAGE.replace("{{DATA}}", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


# Live


@dataclass(slots=True)
class _Line:
    """What is known of a visit that runs."""

    name: str
    start: float
    is_batch: bool
    done: int = 0
    skipped: int = 0
    total: int = 0  # 0: not known
    retries: int = 0


class Progress(_Block):
    """Shows what runs, live: on a terminal a line for each node that runs, elsewhere plain lines.

    file: where to; None means stderr. clock: returns seconds. A batch has a bar where the length of what
    prep returned is known. A terminal is drawn anew at most ten times a second, without colours if
    `NO_COLOR` is set; what nodes print to the same terminal gets in between. A file that
    cannot be written fails no run.
    """

    def __init__(self, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.file, self.clock = file or sys.stderr or io.StringIO(), clock
        self.is_terminal = self.file.isatty() and os.environ.get("TERM") != "dumb"
        self.has_colors = self.is_terminal and not os.environ.get("NO_COLOR")
        self._lines: dict[Step | None, _Line] = {}
        self._ended: list[str] = []  # what the next drawing leaves above the lines that run
        self._drawn, self._height = float("-inf"), 0
        self._lock, self._blocks, self._left = threading.RLock(), 0, threading.Event()

    def __enter__(self) -> Self:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1 and self.is_terminal:
                self._left = threading.Event()
                threading.Thread(target=self._tick, args=(self._left,), daemon=True).start()
        return super().__enter__()

    def __exit__(self, *_: Any) -> None:
        super().__exit__()
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._left.set()
                self._draw(at_once=True)

    def _tick(self, left: threading.Event) -> None:
        """Keeps the clocks of the lines going while a node takes its time."""
        while not left.wait(0.1):
            self._draw()

    def on_start(self, step: Step) -> None:
        is_batch = isinstance(step.node, BatchNode | BatchFlow)
        if step.index is None and (step.kind == "node" or (step.kind == "flow" and is_batch)):
            line = _Line(_whose(step), self.clock(), is_batch)
            with self._lock:
                self._lines[step] = line
                self._draw() if self.is_terminal else self._write(f"{line.name}: started\n")

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        with self._lock:
            if line := self._lines.get(step.parent):
                line.retries += 1

    def on_end(self, step: Step, result: Any) -> None:
        line = self._lines.get(step.parent)
        if step in self._lines:
            self._end(step, "skipped" if step.skipped else "done", "" if result is None else f" -> {_short(result)}")
        elif line and line.is_batch and step.kind == "prep":
            with suppress(Exception):  # of a length that is not known, or fails
                line.total = len(result)
        elif line and step.index is not None:
            self._advance(line, step.skipped)

    def on_error(self, step: Step, error: BaseException) -> None:
        if step in self._lines:
            is_failure = isinstance(error, Exception)
            self._end(step, "failed" if is_failure else "cancelled", f": {_short(error)}" if is_failure else "")

    def _advance(self, line: _Line, skipped: bool) -> None:
        with self._lock:
            line.done, line.skipped = line.done + 1, line.skipped + skipped
            if self.is_terminal:
                self._draw()
            elif line.total and line.done * 10 // line.total > (line.done - 1) * 10 // line.total:
                self._write(f"{line.name}: {line.done * 100 // line.total} %, {_status(line, self.clock())}\n")
            elif not line.total and line.done % 1000 == 0:
                self._write(f"{line.name}: {_status(line, self.clock())}\n")

    def _end(self, step: Step, state: str, outcome: str) -> None:
        with self._lock:
            line = self._lines.pop(step)
            count = f", {line.done:,} items" if line.is_batch else ""
            took = _duration(self.clock() - line.start)
            text = f"{line.name}: {state} after {took}{count}{_retries(line)}{outcome}"
            if self.is_terminal:
                self._ended.append(self._colored(text, 31) if state == "failed" else text)
                self._draw()
            else:
                self._write(f"{text}\n")

    def _draw(self, *, at_once: bool = False) -> None:
        """Over what was drawn before: the lines that have ended since, then those that run."""
        with self._lock:
            now = self.clock()
            if not at_once and now - self._drawn < 0.1:
                return
            live = self._live(now)
            lines = "".join(f"{line}\x1b[K\n" for line in (*self._ended, *live))
            if lines or self._height:
                self._write((f"\x1b[{self._height}A" if self._height else "") + f"\r{lines}\x1b[J")
            self._ended, self._height, self._drawn = [], len(live), now

    def _live(self, now: float) -> list[str]:
        """As many lines as the terminal has room for; to move up further than its top is not possible."""
        columns, rows = _size(self.file)
        running = list(self._lines.values())
        shown = running if len(running) < rows else running[: max(rows - 2, 0)]
        texts = [f"{line.name} {self._bar(line)}{_status(line, now)}" for line in shown]
        if len(shown) < len(running):
            texts.append(f"... {len(running) - len(shown):,} more")
        return [self._colored(_cut(text, columns - 1), 36) for text in texts]

    def _bar(self, line: _Line) -> str:
        if not line.total:
            return ""
        full, empty = "█░" if (getattr(self.file, "encoding", None) or "").lower().startswith("utf") else "#."
        filled = min(20, line.done * 20 // line.total)
        return f"{full * filled}{empty * (20 - filled)} "

    def _colored(self, text: str, color: int) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.has_colors else text

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # closed, or without this letter
            self.file.write(text)
            self.file.flush()


def _status(line: _Line, now: float) -> str:
    """Such as "3/12, 1.20 s, 3.60 s left, 1 retry"; what is left by the pace of the items that took any time."""
    took, worked = now - line.start, line.done - line.skipped
    count = f"{line.done:,}/{line.total:,}, " if line.total else f"{line.done:,}, " if line.is_batch else ""
    remaining = took / worked * (line.total - line.done) if worked else 0
    left = f", {_duration(remaining)} left" if remaining > 0 else ""
    return f"{count}{_duration(took)}{left}{_retries(line)}"


def _retries(line: _Line) -> str:
    return f", {line.retries} {'retry' if line.retries == 1 else 'retries'}" if line.retries else ""


def _whose(step: Step) -> str:
    """The name, with the entries and branches that it is inside of, as several of a name may run at once."""
    items, outer = "", step.parent
    while outer:
        if outer.kind == "flow" and outer.index is not None:
            items = f"[{outer.index}]{items}"
        outer = outer.parent
    return _clean(f"{step.name} {items}".rstrip())


def _size(file: TextIO) -> tuple[int, int]:
    """Columns and rows; a terminal that does not know its size says 0."""
    try:
        columns, rows = os.get_terminal_size(file.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return columns or 80, rows or 24


def _cut(text: str, columns: int) -> str:
    """As much of `text` as fits, Chinese and the like taking two columns a letter."""
    for end, char in enumerate(text):
        columns -= 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns < 0:
            return text[:end]
    return text


# The page. `{{DATA}}` stands for the run; there is nothing in it to load, and nothing of the run becomes markup.
_PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>Run</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2230; --soft: #626b7c; --line: #dfe3ea; --lane: #f5f6f9; --flow: #d3d9e4;
  --failed: #d3302f; --on-failed: #fff; --cancelled: #a3a9b5; --full: 58%; --node: 72%; --exec: 81%; --prep: 89%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171d; --ink: #e8ebf1; --soft: #98a1b2; --line: #2b313c; --lane: #1a1e26; --flow: #39414f;
    --failed: #d64541; --cancelled: #5f6673; --full: 38%; --node: 36%; --exec: 28%; --prep: 21%;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 20px 24px 40px; max-width: 1600px;
  background: var(--paper); color: var(--ink); font: 14px/1.5 system-ui, sans-serif;
}
h1 { margin: 0; font-size: 20px; overflow-wrap: anywhere; }
h2 { margin: 28px 0 6px; font-size: 15px; }
p { margin: 2px 0 0; color: var(--soft); }
.bar { display: flex; flex-wrap: wrap; gap: 6px 16px; align-items: center; margin: 14px 0 8px; color: var(--soft); }
.bar i, td i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
.bar i { vertical-align: -1px; }
td i { float: left; margin-top: 5px; }
td button { display: block; overflow: hidden; }
.bar span:last-child { margin-left: auto; display: flex; gap: 6px; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: left; }
.bar button { min-width: 34px; padding: 2px 9px; border: 1px solid var(--line); border-radius: 6px; }
.bar button { text-align: center; }
button:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid #4c8dff; outline-offset: 1px; }
canvas { display: block; width: 100%; border: 1px solid var(--line); border-radius: 8px; touch-action: none; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 12px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
#details { min-height: 44px; margin-top: 10px; color: var(--soft); }
#details dd { color: var(--ink); }
#tip {
  position: fixed; z-index: 1; max-width: min(440px, calc(100vw - 16px)); padding: 8px 12px; pointer-events: none;
  background: var(--paper); border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 16px #0004;
  font-size: 13px;
}
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 500; color: var(--soft); }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; overflow-wrap: anywhere; }
tbody tr { cursor: pointer; }
tbody tr:hover, tr:has([aria-pressed=true]) { background: var(--lane); }
.failed { color: var(--failed); }
.striped { background: repeating-linear-gradient(135deg, var(--soft) 0 1px, transparent 1px 4px); }
@media (max-width: 600px) {
  body { padding: 14px 12px 32px; }
  th, td { padding: 6px 6px; }
  .wide { display: none; }
  .bar span:last-child { margin-left: 0; }
}
</style>

<h1 id="title"></h1>
<p id="summary"></p>
<div class="bar">
  <span><i style="background: var(--failed)"></i>failed</span>
  <span><i style="background: var(--cancelled)"></i>cancelled</span>
  <span><i style="border: 1px dashed var(--soft)"></i>skipped</span>
  <span><i class="striped" style="border-left: 3px solid var(--failed)"></i>retry and wait</span>
  <span><i class="striped" style="background-color: var(--flow)"></i>running</span>
  <span>
    <button id="in" aria-label="Zoom in">+</button>
    <button id="out" aria-label="Zoom out">&minus;</button>
    <button id="fit" aria-label="Show all">Fit</button>
  </span>
</div>
<canvas id="timeline" tabindex="0" role="application" aria-describedby="details"
  aria-label="Timeline. Left and right move in time, up and down between lanes, plus and minus zoom, 0 shows all.">
</canvas>
<div id="details" aria-live="polite">Wheel or + and &minus; zoom, a drag or the arrow keys move, 0 shows all.
  What ran at the same time stands in lanes below one another.</div>
<h2>Slowest nodes</h2>
<p>A click on a row shows where it ran, and its longest visit.</p>
<div class="scroll"><table>
  <thead><tr><th>node</th><th>visits</th><th>total</th><th class="wide">mean</th><th class="wide">longest</th>
    <th>errors</th><th>retries</th></tr></thead>
  <tbody id="nodes"></tbody>
</table></div>
<div id="tip" role="tooltip" hidden></div>

<script type="application/json" id="run">{{DATA}}</script>
<script>
"use strict";
const find = id => document.getElementById(id);
const run = JSON.parse(find("run").textContent);
const text = (column, span) => run.words[run[column][span]];
const count = run.start.length, end = span => run.start[span] + run.time[span];
const FONT = "11px system-ui, sans-serif", ROW = 18, GAP = 5, AXIS = 24;
const LEAST = 5;  // microseconds, the closest look

// Times are microseconds.
function duration(time) {
  if (time < 1e3) return `${Math.round(time)} µs`;
  if (time < 1e6) return `${(time / 1e3).toFixed(1)} ms`;
  if (time < 6e7) return `${(time / 1e6).toFixed(2)} s`;
  return `${Math.floor(Math.round(time / 1e6) / 60)} min ${Math.round(time / 1e6) % 60} s`;
}

// Rows: one for every depth of every lane. Spans of a row never overlap, so they are in order.
const lanes = [], rows = [];
for (let span = 0; span < count; span++) ((lanes[run.lane[span]] ||= [])[run.depth[span]] ||= []).push(span);
let content = 0;  // pixels from the first row to below the last
for (const [lane, depths] of lanes.entries()) {
  for (const [depth, spans] of depths.entries()) rows.push({ lane, spans, top: content + depth * ROW });
  content += depths.length * ROW + GAP;
}
content += GAP;
const total = run.start.reduce((last, _, span) => Math.max(last, end(span)), LEAST);

// Colours: a hue for each name, none of them red; flows are grey, as they only hold what is in them.
let theme, stripes;
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = "paper ink soft line lane flow failed on-failed cancelled full node exec prep".split(" ");
  theme = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
  context.font = FONT;
  theme.letter = context.measureText("Summarize [12]").width / 14;
  const tile = new OffscreenCanvas(6, 6), brush = tile.getContext("2d");
  brush.strokeStyle = theme.soft;
  for (const x of [-6, 0, 6]) brush.moveTo(x, 6), brush.lineTo(x + 6, 0);
  brush.stroke();
  stripes = context.createPattern(tile, "repeat");
}
const hues = new Map();
function hue(name) {
  if (!hues.has(name)) hues.set(name, Math.round(45 + (165 + hues.size * 173) % 280));
  return hues.get(name);
}
function color(span) {
  const kind = text("kind", span), state = text("state", span);
  if (kind === "flow") return theme.flow;
  if (state === "failed" || state === "cancelled") return theme[state];
  return `hsl(${hue(run.name[span])} ${theme.full} ${theme[kind]})`;
}

// The view: what is between two times, moved down by some pixels.
const canvas = find("timeline"), context = canvas.getContext("2d");
const view = { from: 0, to: total, top: 0 };
let width = 0, height = 0, chosen = -1, selected = -1, due = false;
const scale = () => width / (view.to - view.from);
const toX = time => (time - view.from) * scale();
const toTime = x => view.from + x / scale();
function look(from, to, top = view.top) {
  const length = Math.min(total, Math.max(LEAST, to - from));
  view.from = Math.min(Math.max(0, from), total - length);
  view.to = view.from + length;
  view.top = Math.max(0, Math.min(top, content + AXIS - height));
  if (!due) due = true, requestAnimationFrame(draw);
}
const zoom = (factor, x = width / 2) => {
  const middle = toTime(x), length = Math.min(total, Math.max(LEAST, (view.to - view.from) * factor));
  look(middle - length * x / width, middle + length * (1 - x / width));
};
const move = (x, y) => look(view.from + x / scale(), view.to + x / scale(), view.top + y);
const fit = () => look(0, total, 0);

function resize() {
  width = canvas.clientWidth;
  height = Math.min(content + AXIS, Math.max(240, innerHeight * 0.6));
  canvas.style.height = `${height}px`;
  canvas.width = width * devicePixelRatio, canvas.height = height * devicePixelRatio;
  look(view.from, view.to);
}

function draw() {
  due = false;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.fillStyle = theme.paper;
  context.fillRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  for (const row of rows) {
    const y = AXIS + GAP + row.top - view.top;
    if (y > AXIS - ROW && y < height) drawRow(row, y);
  }
  drawAxis();
  if (content + AXIS > height) {
    const part = height / (content + AXIS);
    context.fillStyle = theme.soft;
    context.fillRect(width - 5, AXIS + view.top * part * (1 - AXIS / height), 3, (height - AXIS) * part);
  }
}

// Only what is visible; what is narrower than a pixel and on one that is drawn already is left out, but no failure.
function drawRow({ lane, spans }, y) {
  if (lane % 2) context.fillStyle = theme.lane, context.fillRect(0, y - GAP / 2, width, ROW + GAP);
  let drawn = -1;
  for (let at = firstAfter(spans, view.from); at < spans.length && run.start[spans[at]] <= view.to; at++) {
    const span = spans[at], x = toX(run.start[span]), wide = run.time[span] * scale();
    if (wide < 1 && x < drawn + 1 && text("state", span) !== "failed" && span !== selected) continue;
    const left = Math.max(-9, wide < 1 ? Math.floor(x) : x);
    drawSpan(span, left, y, Math.max(1, Math.min(x + wide, width + 9) - left));
    drawn = Math.floor(x);
  }
}

function firstAfter(spans, time) {
  let low = 0, high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end(spans[middle]) < time) low = middle + 1; else high = middle;
  }
  return low;
}

function drawSpan(span, x, y, wide) {
  const state = text("state", span), isWait = text("kind", span) === "wait";
  const inset = wide > 3 ? 1 : 0;
  context.globalAlpha = chosen >= 0 && run.name[span] !== chosen ? 0.2 : 1;
  context.fillStyle = isWait ? stripes : color(span);
  if (state === "skipped") {
    context.setLineDash([3, 2]);
    context.strokeStyle = theme.soft;
    context.strokeRect(x + 0.5, y + 0.5, Math.max(wide - inset - 1, 0.5), ROW - 3);
    context.setLineDash([]);
  } else context.fillRect(x, y, wide - inset, ROW - 2);
  if (state === "running") {
    context.globalAlpha *= 0.35, context.fillStyle = stripes;
    context.fillRect(x, y, wide - inset, ROW - 2);
    context.globalAlpha /= 0.35;
  }
  context.fillStyle = theme.failed;
  if (isWait) context.fillRect(x, y, 2, ROW - 2);
  else if (state === "failed") context.fillRect(x, y + ROW - 5, wide - inset, 3);
  if (wide > 30 && !isWait) drawLabel(span, Math.max(x, 0) + 5, y, x + wide - 6);
  context.globalAlpha = 1;
  if (span !== selected) return;
  context.strokeStyle = theme.ink, context.lineWidth = 2;
  context.strokeRect(x, y, Math.max(wide - inset, 2), ROW - 2);
  context.lineWidth = 1;
}

function drawLabel(span, x, y, right) {
  const letters = Math.floor((right - x) / theme.letter), whole = title(span);
  const label = whole.length > letters && item(span) || whole;
  if (letters < 3) return;
  context.fillStyle = color(span) === theme.failed ? theme["on-failed"] : theme.ink;
  context.fillText(label.length > letters ? `${label.slice(0, letters - 1)}…` : label, x, y + ROW / 2 - 0.5);
}

function drawAxis() {
  context.fillStyle = theme.paper;
  context.fillRect(0, 0, width, AXIS);
  const least = 80 / scale(), power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map(times => times * power).find(step => step >= least) || power * 10;
  const [size, unit] = [[1e6, "s"], [1e3, "ms"]].find(([size]) => view.to >= size) || [1, "µs"];
  const digits = Math.max(0, Math.ceil(Math.log10(size / step)));
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    context.fillStyle = theme.line;
    context.fillRect(toX(time), 0, 1, AXIS);
    context.fillStyle = theme.soft;
    if (toX(time) < width - 50) context.fillText(`${(time / size).toFixed(digits)} ${unit}`, toX(time) + 5, AXIS / 2);
  }
  context.fillStyle = theme.line;
  context.fillRect(0, AXIS - 1, width, 1);
}

// What is known of a span, as text and nothing else.
const item = span => (text("place", span).match(/\[\d+\]$/) || [""])[0];
function title(span) {
  const kind = text("kind", span);
  const isPart = kind === "prep" || kind === "wait" || (kind === "exec" && !item(span));
  return isPart ? kind : `${text("name", span)} ${item(span)}`.trim();
}
function path(span) {
  return (run.parent[span] < 0 ? "" : path(run.parent[span])) + text("place", span);
}
function facts(span) {
  const kind = text("kind", span), state = text("state", span), known = text("text", span);
  const all = [["path", path(span)], ["kind", kind], [kind === "wait" ? "waited" : "took", duration(run.time[span])],
    ["started at", duration(run.start[span])]];
  if (kind === "wait") return [...all, ["error", known]];
  if (state !== "done") all.push(["state", state]);
  if (run.attempts[span] > 1) all.push(["attempts", run.attempts[span]]);
  if (known) all.push([state === "done" || state === "skipped" ? "action" : "error", known]);
  return all;
}
function tell(place, span) {
  const list = document.createElement("dl");
  for (const [fact, value] of [["name", text("name", span)], ...facts(span)]) {
    list.append(element("dt", fact), element("dd", value, fact === "error" ? "failed" : ""));
  }
  place.replaceChildren(list);
}
function element(tag, content, name = "") {
  const made = document.createElement(tag);
  made.textContent = content, made.className = name;
  return made;
}

function spanAt(x, y) {
  const place = y - AXIS - GAP + view.top, row = rows.find(row => place >= row.top && place < row.top + ROW);
  if (!row || y < AXIS) return -1;
  const at = firstAfter(row.spans, toTime(x - 2)), span = row.spans[at];
  return at < row.spans.length && toX(run.start[span]) <= x + 2 ? span : -1;
}
function hover(event) {
  const box = canvas.getBoundingClientRect(), tip = find("tip");
  const span = spanAt(event.clientX - box.left, event.clientY - box.top);
  canvas.style.cursor = span < 0 ? "grab" : "pointer";
  tip.hidden = span < 0;
  if (span < 0) return;
  tell(tip, span);
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  const below = event.clientY + 18;
  tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : event.clientY - tip.offsetHeight - 10}px`;
}
function select(span) {
  selected = span;
  if (span >= 0) tell(find("details"), span);
  look(view.from, view.to);
}

// One finger or the mouse moves, two fingers zoom; a press that did not move selects.
const fingers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  moved = 0;
});
canvas.addEventListener("pointermove", event => {
  const before = fingers.get(event.pointerId);
  if (!before) return hover(event);
  find("tip").hidden = true;
  const other = [...fingers.values()].find(finger => finger.pointerId !== event.pointerId);
  const [x, y] = [before.clientX - event.clientX, before.clientY - event.clientY];
  moved += Math.abs(x) + Math.abs(y);
  if (other) {
    const middle = (event.clientX + other.clientX) / 2 - canvas.getBoundingClientRect().left;
    zoom(Math.abs(before.clientX - other.clientX) / Math.max(1, Math.abs(event.clientX - other.clientX)), middle);
  } else if (moved > 4) move(x, y);
  fingers.set(event.pointerId, event);
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
  const box = canvas.getBoundingClientRect();
  if (name === "pointerup" && moved <= 4) select(spanAt(event.clientX - box.left, event.clientY - box.top));
  fingers.delete(event.pointerId);
});
canvas.addEventListener("pointerleave", () => find("tip").hidden = true);
canvas.addEventListener("wheel", event => {
  const step = event.deltaMode ? 16 : 1, sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (!sideways && event.deltaY > 0 && view.to - view.from > total * 0.999) return;  // at its end: the page scrolls
  event.preventDefault();
  if (sideways) move((event.deltaX || event.deltaY) * step, 0);
  else zoom(Math.exp(event.deltaY * step * 0.002), event.clientX - canvas.getBoundingClientRect().left);
  hover(event);
}, { passive: false });
const keys = {
  ArrowLeft: () => move(-width / 8, 0), ArrowRight: () => move(width / 8, 0),
  ArrowUp: () => move(0, -3 * ROW), ArrowDown: () => move(0, 3 * ROW),
  "+": () => zoom(1 / 1.5), "=": () => zoom(1 / 1.5), "-": () => zoom(1.5), 0: fit,
};
canvas.addEventListener("keydown", event => {
  if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  keys[event.key]();
});
find("in").onclick = keys["+"], find("out").onclick = keys["-"], find("fit").onclick = fit;

// The table. A row stands for all visits of a name.
function choose(name, line) {
  chosen = chosen === name ? -1 : name;
  for (const row of find("nodes").rows) {
    row.querySelector("button").setAttribute("aria-pressed", row === line && chosen >= 0);
  }
  const visits = [...run.start.keys()].filter(span => run.name[span] === chosen && text("kind", span) === "node");
  select(visits.reduce((longest, span) => run.time[span] > (run.time[longest] ?? -1) ? span : longest, -1));
}
function addNode([name, visits, errors, retries, took, mean, longest]) {
  const line = document.createElement("tr"), button = element("button", run.words[name]);
  const swatch = document.createElement("i"), first = document.createElement("td");
  swatch.style.background = `hsl(${hue(name)} var(--full) var(--node))`;
  button.setAttribute("aria-pressed", false);
  first.append(swatch, button);
  const time = seconds => visits ? duration(seconds * 1e6) : "";
  line.append(first, element("td", visits.toLocaleString("en")), element("td", time(took)),
    element("td", time(mean), "wide"), element("td", time(longest), "wide"),
    element("td", errors || "", "failed"), element("td", retries || ""));
  line.onclick = () => choose(name, line);
  find("nodes").append(line);
}

function summary() {
  const sum = column => run.nodes.reduce((sum, node) => sum + node[column], 0);
  const has = (column, word) => run[column].filter(number => run.words[number] === word).length;
  const number = (many, one, more) => many ? [`${many.toLocaleString("en")} ${many === 1 ? one : more}`] : [];
  return [
    `${(count - has("kind", "wait")).toLocaleString("en")} steps in ${duration(count ? total : 0)}`,
    ...number(lanes.length, "lane", "lanes"), ...number(sum(2), "failure", "failures"),
    ...number(sum(3), "retry", "retries"), ...(has("state", "running") ? ["still running"] : []),
  ].join(" · ");
}
find("title").textContent = document.title = count ? `Run of ${text("name", 0)}` : "Nothing ran";
find("summary").textContent = summary();
run.nodes.slice(0, 200).forEach(addNode);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readTheme();
  look(view.from, view.to);
});
new ResizeObserver(resize).observe(document.body);
readTheme();
resize();
</script>
</html>
"""
