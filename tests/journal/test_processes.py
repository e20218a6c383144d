"""The journal and real processes: killed, stopped, beside each other. The long proof is `tests.benchmarks.kill`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Step, hooked
from pocketflow.journal import Journal, JournalError, RunBusy
from tests.core.random_graphs import VARIANTS, build, interpret, plan
from tests.journal.telling import Process, go
from tests.processes import finished
from tests.rounds import ROUNDS

ROOT = Path(__file__).parents[2]

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that will run a flow in `tmp_path / "runs.db"`, when it is told to go."""
    with contextlib.ExitStack() as stack:

        def start(run_id: str = "run") -> Process:
            process = Process(tmp_path / "runs.db", run_id)
            stack.callback(process.kill)
            return process

        yield start


def test_processes_killed_at_statements_and_at_random_lose_nothing_and_run_nothing_twice():
    """The full proof, more than 1,300 kills, is `python -m tests.benchmarks.kill`."""
    command = [sys.executable, "-W", "error", "-m", "tests.benchmarks.kill", "1", "150", "0", "2", "0"]
    done = finished(command, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    claim = r"SQLite: (\d+) kills .* of 12 flows: every store was right, nothing that was finished ran again\n.* 2 r"
    found = re.match(claim, done.stdout)
    assert found
    assert int(found[1]) >= 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_is_taken_over_at_once(tmp_path: Path, start: Start, how: signal.Signals):
    process = start()
    process.begin()
    process.send_signal(how)
    assert process.rest() == []
    with Journal(tmp_path / "runs.db") as journal:
        assert journal.runs()[0]["status"] == "interrupted"
    go(process := start())
    assert process.rest("two") == ["in exec", "finished ['one', 'two']"]
    assert not [*tmp_path.glob("*owner*")]


def test_a_living_owner_keeps_a_second_process_out(start: Start):
    first, second = start(), start()
    first.begin()
    go(second)
    [busy] = second.rest()
    assert busy.startswith("busy: 'run' is being run by another owner")
    assert first.rest("two") == ["finished ['one', 'two']"]


def test_an_owner_that_was_stopped_cannot_write_after_a_takeover(tmp_path: Path, start: Start):
    class Tell(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            return "other"

        def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
            shared["answers"] = [*shared["answers"], answer]

    process = start()
    process.begin()
    process.send_signal(signal.SIGSTOP)
    first = Tell()
    first >> Tell()
    shared: dict[str, Any] = {}
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(RunBusy):
            journal.run(pf.Flow(first), {}, run_id="run")
        journal.run(pf.Flow(first), shared, run_id="run", takeover=True)
        process.send_signal(signal.SIGCONT)
        assert process.rest("late") == ["busy: 'run' was taken over or deleted: this owner may not write it any more"]
        restored: dict[str, Any] = {}
        journal.run(pf.Flow(first), restored, run_id="run")
    assert shared == restored == {"answers": ["one", "other"]}


def test_of_two_processes_that_race_for_a_run_one_at_a_time_gets_it(start: Start):
    """The same, 200 times over, is in `python -m tests.benchmarks.kill`."""
    processes = [start(), start()]
    go(*processes)
    told = sorted(process.rest("one", "two")[-1].partition(":")[0] for process in processes)
    assert told in (["busy", "finished ['one', 'two']"], ["finished ['one', 'two']"] * 2)


def test_a_forked_process_is_told_to_open_a_journal_of_its_own(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        pid = os.fork()
        if pid == 0:
            try:
                journal.runs()
            except JournalError as error:
                os._exit(7 if "open a Journal in each process" in str(error) else 1)
            os._exit(2)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_four_processes_write_four_runs_into_one_file(tmp_path: Path, start: Start):
    processes = [start(f"run {n}") for n in range(4)]
    go(*processes)
    for n, process in enumerate(processes):
        assert process.rest(str(n), "x")[-1] == f"finished ['{n}', 'x']"
    with Journal(tmp_path / "runs.db") as journal:
        finished = [entry["run_id"] for entry in journal.runs() if entry["status"] == "finished"]
    assert sorted(finished) == [f"run {n}" for n in range(4)]


CRASHING = 40 * ROUNDS


class Crash(BaseException):
    """Stands for the end of the process, where thousands of them are too slow."""


class CrashSoon(Hook):
    """Crashes at the end of a step that was not skipped, or at the start of the one after it."""

    def __init__(self, chance: random.Random) -> None:
        self.left, self.at_start = chance.randint(1, 9), chance.random() < 0.5

    def on_start(self, step: Step) -> None:
        if self.left == 0:
            raise Crash

    def on_end(self, step: Step, result: Any) -> None:
        self.left -= not step.skipped
        if self.left == 0 and not self.at_start:
            raise Crash


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_random_graph_that_crashes_again_and_again_does_what_the_naive_interpreter_does(tmp_path: Path, variant: str):
    chance, crashes = random.Random(3), 0
    with warnings.catch_warnings(), Journal(tmp_path / "runs.db", strict=False) as journal:
        warnings.simplefilter("ignore", pf.FlowWarning)
        for number in range(CRASHING):
            graph, log = plan(chance), list[Any]()
            action = interpret(graph, log, {})
            flow = build(graph, *VARIANTS[variant])
            while len(log) < 100:
                shared: dict[str, Any] = {"log": [], "counts": {}}
                try:
                    with hooked(CrashSoon(chance)):
                        result = journaled(journal, flow, shared, f"run {number}")
                except Crash:
                    crashes += 1
                else:
                    assert (result, shared["log"]) == (action, log)
                    break
    assert crashes > CRASHING


def journaled(journal: Journal, flow: Any, shared: dict[str, Any], run_id: str) -> Any:
    if isinstance(flow, pf.AsyncFlow):
        return asyncio.run(journal.run_async(flow, shared, run_id=run_id))
    return journal.run(flow, shared, run_id=run_id)
