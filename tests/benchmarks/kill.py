"""The proof of the journal: processes killed with SIGKILL, and what is there when their runs are resumed.

    python -m tests.benchmarks.kill [KILLS [EVERY [SEED [RACES]]]]     (500 1 0 200)

Every flow of `tests.journal_flows` is killed before and after every statement that its journal sends
to SQLite, or every EVERY-th, the commits among them, once in a fresh run each; then at random moments,
again and again until the run ends. A log beside the database says what ran. Every run has to end with the store of
an uninterrupted one, and no step that the journal called finished may appear in the log afterwards.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pocketflow as pf
from pocketflow.journal import Journal, RunBusy
from tests.journal_flows import FLOWS, Made

Deadly = Callable[[], None]
RUN = "run"
BUSY, KILLED = 3, -signal.SIGKILL


class Log(pf.Hook):
    """Writes the paths of the steps that really ran to a file, at once."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def on_event(self, step: pf.Step, event: dict[str, Any]) -> None:
        if event["type"] == "ran":
            os.write(self.file, f"{step.path}\n".encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_statement(number: int) -> Deadly:
    """Die before the n-th statement that is sent to SQLite."""

    def arm() -> None:
        left = iter(range(number))

        class Counting(sqlite3.Connection):
            def execute(self, *args: Any) -> sqlite3.Cursor:
                if next(left, None) is None:
                    die()
                return super().execute(*args)

        connect = sqlite3.connect
        sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=Counting, **kwargs)  # type: ignore[assignment]

    return arm


def after(seconds: float) -> Deadly:
    def kill() -> None:
        time.sleep(seconds)
        die()

    return lambda: threading.Thread(target=kill, daemon=True).start()


def never() -> None:
    """Live."""


def execute(make: Callable[[], Made], folder: Path) -> Any:
    flow, shared = make()
    log = Log(folder / "log")
    with Journal(folder / "runs.db") as journal, pf.hooked(log):
        if isinstance(flow, pf.AsyncNode):
            asyncio.run(journal.run_async(flow, shared, run_id=RUN))
        else:
            journal.run(flow, shared, run_id=RUN)
    return shared


def fork(work: Callable[[], Any]) -> int:
    """The id of a process that does the work."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except RunBusy:
            os._exit(BUSY)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return pid


def how_it_ended(pid: int) -> int:
    """0, `BUSY` or `KILLED`; any other failure is an error here."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, BUSY, KILLED):
        raise AssertionError(f"the process ended with {code}")
    return code


def uninterrupted(make: Callable[[], Made]) -> Any:
    flow, shared = make()
    asyncio.run(flow.run_async(shared)) if isinstance(flow, pf.AsyncNode) else flow.run(shared)
    return shared


def killed(make: Callable[[], Made], folder: Path, deadly: Deadly) -> bool:
    """Start or resume the run, and check that nothing ran that was finished before; whether it was killed."""
    before = len(lines(folder))
    finished = history(folder)

    def work() -> None:
        deadly()
        execute(make, folder)

    was_killed = how_it_ended(fork(work)) == KILLED
    for path in lines(folder)[before:]:
        outers = [path[:n] for n, char in enumerate(path) if char in "/["]
        again = {path, *outers} & finished
        assert not again, f"{make.__name__}: {path} ran, though {again} was finished"
    return was_killed


def lines(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def history(folder: Path) -> set[str]:
    if not (folder / "runs.db").exists():
        return set()
    with Journal(folder / "runs.db") as journal:
        known = [run["run_id"] for run in journal.runs()]
        return {commit["path"] for commit in journal.history(RUN)} if RUN in known else set()


def check_result(make: Callable[[], Made], folder: Path) -> None:
    shared: dict[str, Any] = {}
    flow, _ = make()
    with Journal(folder / "runs.db") as journal:
        run = journal.run_async(flow, shared, run_id=RUN) if isinstance(flow, pf.AsyncNode) else None
        asyncio.run(run) if run else journal.run(flow, shared, run_id=RUN)
    expected = uninterrupted(make)
    assert shared == expected, f"{make.__name__}: {shared} in place of {expected}"


def kill_at_statement(make: Callable[[], Made], number: int) -> int:
    """One kill, before the n-th statement, then a run to the end; 0 if the run ended before."""
    with tempfile.TemporaryDirectory() as name:
        was_killed = killed(make, Path(name), at_statement(number))
        if was_killed:
            assert not killed(make, Path(name), never)
        check_result(make, Path(name))
        return int(was_killed)


def kill_at_random(make: Callable[[], Made], chance: random.Random) -> int:
    """Kill again and again, later and later; how often it was killed."""
    kills, longest = 0, 0.01
    with tempfile.TemporaryDirectory() as name:
        while killed(make, Path(name), after(chance.uniform(0, longest))):
            kills, longest = kills + 1, longest * 1.1
        check_result(make, Path(name))
    return kills


def race(make: Callable[[], Made]) -> int:
    """Two processes that begin the same run at once: each step runs once. How many found it busy."""
    with tempfile.TemporaryDirectory() as name:
        ready, go = os.pipe()

        def work() -> None:
            os.close(go)
            os.read(ready, 1)  # until the other end is closed
            execute(make, Path(name))

        processes = [fork(work), fork(work)]
        os.close(ready)
        os.close(go)
        codes = [how_it_ended(pid) for pid in processes]
        ran = lines(Path(name))
        assert 0 in codes, f"{make.__name__}: no process finished"
        assert len(ran) == len(steps_of(make)), f"{make.__name__}: {len(ran)} steps ran"
        check_result(make, Path(name))
        return codes.count(BUSY)


def steps_of(make: Callable[[], Made]) -> list[str]:
    """What an uninterrupted run writes to its log."""
    with tempfile.TemporaryDirectory() as name:
        execute(make, Path(name))
        return lines(Path(name))


def main(least: int = 500, every: int = 1, seed: int = 0, races: int = 200) -> None:
    chance, kills, runs = random.Random(seed), 0, 0
    for make in FLOWS:
        number = 1 + chance.randrange(every)
        while died := kill_at_statement(make, number):
            kills, runs, number = kills + died, runs + 1, number + every
    at_statements = kills
    while kills < max(least, at_statements + least // 3):
        kills, runs = kills + kill_at_random(FLOWS[runs % len(FLOWS)], chance), runs + 1
    print(
        f"{kills} kills ({at_statements} at statements, {kills - at_statements} at random) in {runs} runs of"
        f" {len(FLOWS)} flows: every store was right, nothing that was finished ran again"
    )
    busy = sum(race(FLOWS[n % len(FLOWS)]) for n in range(races))
    print(f"{races} races of two processes for one run: every step ran once; {busy} times the second found it busy")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
