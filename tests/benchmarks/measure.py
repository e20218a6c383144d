"""How every benchmark measures: ours and a baseline by turns, in one process, as a ratio."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: `ratio` is the median of ours / baseline, `low` and `high` its range."""

    what: str
    ratio: float
    low: float
    high: float
    baseline: str
    reach: str = ""


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes; if the call returns a float, these seconds stand for it."""
    gc.collect()
    start = clock()
    measured = work()
    return measured if isinstance(measured, float) else clock() - start


def compare(
    what: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    *,
    against: str,
    reach: str = "",
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
) -> Row:
    """Run both by turns, `rounds` times after one warm-up each. Each may return the number to compare.

    clock: `time.process_time` for work that never waits, so that what else the machine does is not measured.
    """
    ours(), baseline()
    ratios = [seconds(ours, clock) / seconds(baseline, clock) for _ in range(rounds)]
    return Row(what, statistics.median(ratios), min(ratios), max(ratios), against, reach)
