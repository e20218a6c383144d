"""What the live progress shows: plain lines, and on a terminal lines that leave whole what else is written."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step
from pocketflow.progress import Progress
from tests.trace.made import Clock, Pause, failing, named


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run_with(progress: Progress, *nodes: Any) -> None:
    with progress:
        for node in nodes:
            node.run({})


def test_elsewhere_nodes_leave_plain_lines(clock: Clock):
    fetch = named("Fetch", exec=lambda _: clock.passing(2), post=lambda *_: "found")()
    file = io.StringIO()
    run_with(Progress(file, clock=clock), pf.Flow(fetch))
    assert file.getvalue() == "Fetch: started\nFetch: done after 2.00 s -> found\n"


def test_a_batch_says_every_tenth_how_far_it_is_and_how_long_it_will_take(clock: Clock):
    call = named("Call", pf.BatchNode, prep=lambda _: range(40), exec=lambda _: clock.passing(0.25))()
    file = io.StringIO()
    run_with(Progress(file, clock=clock), call)
    lines = file.getvalue().splitlines()
    assert lines[:3] == [
        "Call: started",
        "Call: 10 %, 4/40, 1.00 s, 9.00 s left",
        "Call: 20 %, 8/40, 2.00 s, 8.00 s left",
    ]
    assert lines[-2:] == ["Call: 100 %, 40/40, 10.00 s", "Call: done after 10.00 s, 40 items"]
    assert len(lines) == 12


def test_a_batch_of_unknown_length_counts(clock: Clock):
    call = named("Call", pf.BatchNode, prep=lambda _: iter(range(2500)), exec=lambda _: None)()
    file = io.StringIO()
    run_with(Progress(file, clock=clock), call)
    assert file.getvalue().splitlines()[1:3] == ["Call: 1,000, 0 us", "Call: 2,000, 0 us"]


class SkipLow(Hook):
    def on_start(self, step: Step) -> Skip | None:
        return Skip() if step.index is not None and step.index < 10 else None


def test_skipped_items_do_not_count_for_the_pace(clock: Clock):
    call = named("Call", pf.BatchNode, prep=lambda _: range(20), exec=lambda _: clock.passing(1))()
    file = io.StringIO()
    with SkipLow():
        run_with(Progress(file, clock=clock), call)
    assert "Call: 60 %, 12/20, 2.00 s, 8.00 s left" in file.getvalue().splitlines()


def test_a_dumb_terminal_gets_plain_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    run_with(Progress(terminal, clock=clock), named("Call")())
    assert terminal.getvalue() == "Call: started\nCall: done after 0 us\n"


def test_entries_of_a_batch_flow_count_and_name_what_runs_in_them(clock: Clock):
    batch = named("Batch", pf.BatchFlow, prep=lambda _: [{}, {}])(named("Call")())
    file = io.StringIO()
    run_with(Progress(file, clock=clock), batch)
    assert file.getvalue().splitlines()[:5] == [
        "Batch: started",
        "Call [0]: started",
        "Call [0]: done after 0 us",
        "Batch: 50 %, 1/2, 0 us",
        "Call [1]: started",
    ]


def test_failures_retries_and_cancellations_are_told(clock: Clock):
    file = io.StringIO()
    progress = Progress(file, clock=clock)
    for error in (ValueError("bad"), Pause("who?")):
        with pytest.raises(type(error)):
            run_with(progress, named("Call", exec=failing(error))(max_retries=2))
    assert file.getvalue().splitlines()[1::2] == [
        "Call: failed after 0 us, 1 retry: ValueError('bad')",
        "Call: cancelled after 0 us",
    ]


def test_a_name_cannot_steer_the_live_lines(clock: Clock):
    node = named("Call", post=lambda *_: "\x1b[2J")()
    node.name = "\x1b]0;title\x07"
    file = io.StringIO()
    run_with(Progress(file, clock=clock), node)
    assert file.getvalue() == "\\x1b]0;title\\x07: started\n\\x1b]0;title\\x07: done after 0 us -> \\x1b[2J\n"


def test_a_file_that_cannot_be_written_fails_no_run():
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    ran: list[str] = []
    run_with(Progress(Broken()), named("Call", exec=lambda _: ran.append("Call"))())
    assert ran == ["Call"]


def test_threads_share_a_progress():
    file = io.StringIO()
    progress, meet = Progress(file), threading.Barrier(4)
    node = named("Call", pf.BatchNode, prep=lambda _: range(100), exec=lambda item: item == 50 and meet.wait(20))()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run_with(progress, node), range(4)))
    assert file.getvalue().count("Call: 100 %, 100/100") == 4


def test_stderr_gets_the_lines_and_stdout_nothing(capsys: pytest.CaptureFixture[str]):
    run_with(Progress(), named("Call")())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Call: started\nCall: done after ")
