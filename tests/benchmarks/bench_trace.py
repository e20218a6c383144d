"""What a trace and live progress cost, and how much memory a long trace takes."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pocketflow as pf
from pocketflow.hooks import Hook
from pocketflow.progress import Progress
from pocketflow.trace import Trace
from tests.benchmarks.bench_core import batch, no_op, sync_steps
from tests.benchmarks.measure import Row, compare

ITEMS, TRACED = 10_000, 100_000


class Terminal(io.StringIO):
    """On which progress is drawn, and which shows it to nobody."""

    def isatty(self) -> bool:
        return True


HOOKS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "an empty hook": Hook,
    "Trace": Trace,
    "Progress": lambda: Progress(io.StringIO()),
    "Progress on a terminal": lambda: Progress(Terminal()),
}


def inside(block: Callable[[], AbstractContextManager[object]], work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with block():
            return work()

    return run


def traced_bytes() -> float:
    """Bytes for each step that a trace keeps."""
    items = type("Items", (pf.BatchNode,), {"prep": lambda self, shared: range(TRACED)})()
    tracemalloc.start()
    try:
        with Trace() as trace:
            items.run({})
        return tracemalloc.get_traced_memory()[0] / len(trace.spans)
    finally:
        tracemalloc.stop()


def rows() -> Iterator[Row]:
    works = {"sync step": sync_steps(pf), f"{ITEMS:,} no-op items at once": batch(pf, no_op, ITEMS)}
    for what, work in works.items():
        for name, block in HOOKS.items():
            yield compare(f"{what}, {name}", inside(block, work), work, against="no hook")
        traced, hooked = inside(HOOKS["Trace"], work), inside(HOOKS["an empty hook"], work)
        yield compare(f"{what}, Trace", traced, hooked, against="an empty hook")
    what = f"bytes a step, in a trace of {TRACED:,}"
    yield compare(what, traced_bytes, lambda: 100.0, against="100 bytes", rounds=1)
