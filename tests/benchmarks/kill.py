"""The proof of the journal: processes killed with SIGKILL, and what is there when their runs are resumed.

    python -m tests.benchmarks.kill [KILLS [EVERY [SEED [RACES [POSTGRES]]]]]     (1000 1 0 200 300)

Every flow of `tests.journal.flows` is killed before every statement that its journal sends to SQLite,
or every EVERY-th, the commits among them, once in a fresh run each; then at random moments, again and
again until the run ends. POSTGRES kills more are on a PostgreSQL server, EVERY being ten times that.
A log beside the database says what ran. Every run has to end with the store of an uninterrupted one,
and no step that the journal called finished may appear in the log afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pocketflow as pf
from pocketflow.hooks import Hook, Step
from pocketflow.journal import Journal, Paused, RunBusy
from tests.journal import server
from tests.journal.flows import ANSWER, FLOWS, Made

Deadly = Callable[[], None]
RUN = "run"
BUSY, KILLED = 3, -signal.SIGKILL


class Log(Hook):
    """Writes the paths of the steps that really ran to a file, at once."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        if event["type"] == "ran":
            os.write(self.file, f"{step.path}\n".encode())


class Place(NamedTuple):
    """Where a run is kept, and the log of what ran."""

    where: str
    log: Path


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_statement(number: int) -> Deadly:
    """Die before the n-th statement that is sent to the database."""

    def arm() -> None:
        left = iter(range(number))

        def counted(execute: Any) -> Any:
            def method(*args: Any, **kwargs: Any) -> Any:
                if next(left, None) is None:
                    die()
                return execute(*args, **kwargs)

            return method

        class Counting(sqlite3.Connection):
            execute = counted(sqlite3.Connection.execute)

        connect = sqlite3.connect
        sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=Counting, **kwargs)  # type: ignore[assignment]
        with contextlib.suppress(ImportError):
            import psycopg

            psycopg.Cursor.execute = counted(psycopg.Cursor.execute)  # type: ignore[method-assign]
            psycopg.Connection.commit = counted(psycopg.Connection.commit)  # type: ignore[method-assign]

    return arm


def after(seconds: float) -> Deadly:
    def kill() -> None:
        time.sleep(seconds)
        die()

    return lambda: threading.Thread(target=kill, daemon=True).start()


def never() -> None:
    """Live."""


def execute(make: Callable[[], Made], place: Place) -> Any:
    """Start or resume the run, and answer what it asks, until it ends."""
    flow, shared = make()
    log = Log(place.log)
    with Journal(place.where) as journal, log:
        while True:
            answer_all(journal)
            try:
                if isinstance(flow, pf.AsyncNode):
                    asyncio.run(journal.run_async(flow, shared, run_id=RUN))
                else:
                    journal.run(flow, shared, run_id=RUN)
                return shared
            except Paused:
                shared = {}


def answer_all(journal: Journal) -> None:
    for run in journal.runs():
        for question in run["questions"]:
            journal.answer(RUN, ANSWER, path=question["path"])


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
    if flow_asks(make):
        with tempfile.TemporaryDirectory() as name:
            return execute(make, Place(f"{name}/runs.db", Path(name, "log")))
    asyncio.run(flow.run_async(shared)) if isinstance(flow, pf.AsyncNode) else flow.run(shared)
    return shared


def flow_asks(make: Callable[[], Made]) -> bool:
    return make.__name__ == "pauses"


def killed(make: Callable[[], Made], place: Place, deadly: Deadly) -> bool:
    """Start or resume the run, and check that nothing ran that was finished before; whether it was killed."""
    before = len(lines(place))
    finished = history(place)

    def work() -> None:
        deadly()
        execute(make, place)

    was_killed = how_it_ended(fork(work)) == KILLED
    for path in lines(place)[before:]:
        outers = [path[:n] for n, char in enumerate(path) if char in "/["]
        again = {path, *outers} & finished
        assert not again, f"{make.__name__}: {path} ran, though {again} was finished"
    return was_killed


def lines(place: Place) -> list[str]:
    return place.log.read_text().splitlines() if place.log.exists() else []


def history(place: Place) -> set[str]:
    """The paths of the steps that are finished."""
    with Journal(place.where) as journal:
        if not journal.runs():
            return set()
        return {row["path"] for row in journal.history(RUN) if row["kind"] in ("prep", "exec", "node", "flow")}


def check_result(make: Callable[[], Made], place: Place) -> None:
    shared: dict[str, Any] = {}
    flow, _ = make()
    with Journal(place.where) as journal:
        run = journal.run_async(flow, shared, run_id=RUN) if isinstance(flow, pf.AsyncNode) else None
        asyncio.run(run) if run else journal.run(flow, shared, run_id=RUN)
    expected = uninterrupted(make)
    assert shared == expected, f"{make.__name__}: {shared} in place of {expected}"


Places = Callable[[], contextlib.AbstractContextManager[Place]]


@contextlib.contextmanager
def in_sqlite() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as name:
        yield Place(f"{name}/runs.db", Path(name, "log"))


def in_postgres(started: server.Server) -> Places:
    @contextlib.contextmanager
    def place() -> Iterator[Place]:
        with tempfile.TemporaryDirectory() as name:
            yield Place(started.schema(), Path(name, "log"))

    return place


def kill_at_statement(make: Callable[[], Made], number: int, places: Places) -> int:
    """One kill, before the n-th statement, then a run to the end; 0 if the run ended before."""
    with places() as place:
        was_killed = killed(make, place, at_statement(number))
        if was_killed:
            assert not killed(make, place, never)
        check_result(make, place)
        return int(was_killed)


def kill_at_random(make: Callable[[], Made], chance: random.Random, places: Places) -> int:
    """Kill again and again, later and later; how often it was killed."""
    kills, longest = 0, 0.01
    with places() as place:
        while killed(make, place, after(chance.uniform(0, longest))):
            kills, longest = kills + 1, longest * 1.1
        check_result(make, place)
    return kills


def race(make: Callable[[], Made], places: Places) -> int:
    """Two processes that begin the same run at once: each step runs once. How many found it busy."""
    with places() as place:
        ready, go = os.pipe()

        def work() -> None:
            os.close(go)
            os.read(ready, 1)  # until the other end is closed
            execute(make, place)

        processes = [fork(work), fork(work)]
        os.close(ready)
        os.close(go)
        codes = [how_it_ended(pid) for pid in processes]
        ran = lines(place)
        assert 0 in codes, f"{make.__name__}: no process finished"
        assert len(ran) == len(steps_of(make)), f"{make.__name__}: {len(ran)} steps ran"
        check_result(make, place)
        return codes.count(BUSY)


def steps_of(make: Callable[[], Made]) -> list[str]:
    """What an uninterrupted run writes to its log."""
    with in_sqlite() as place:
        execute(make, place)
        return lines(place)


def prove(database: str, places: Places, least: int, every: int, chance: random.Random, races: int) -> None:
    kills = runs = 0
    for make in FLOWS:
        number = 1 + chance.randrange(every)
        while died := kill_at_statement(make, number, places):
            kills, runs, number = kills + died, runs + 1, number + every
    at_statements = kills
    while kills < max(least, at_statements + least // 3):
        kills, runs = kills + kill_at_random(FLOWS[runs % len(FLOWS)], chance, places), runs + 1
    print(
        f"{database}: {kills} kills ({at_statements} at statements, {kills - at_statements} at random) in {runs} runs"
        f" of {len(FLOWS)} flows: every store was right, nothing that was finished ran again"
    )
    makes = [make for make in FLOWS if not flow_asks(make)]
    busy = sum(race(makes[n % len(makes)], places) for n in range(races))
    print(
        f"{database}: {races} races of two processes for one run: every step ran once; {busy} times the second found"
        " it busy"
    )


def main(least: int = 1000, every: int = 1, seed: int = 0, races: int = 200, postgres: int = 300) -> None:
    prove("SQLite", in_sqlite, least, every, random.Random(seed), races)
    if postgres:
        with server.running("fsync=off") as started:
            prove("PostgreSQL", in_postgres(started), postgres, 10 * every, random.Random(seed), races // 10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.kill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, usual in zip(("KILLS", "EVERY", "SEED", "RACES", "POSTGRES"), main.__defaults__ or (), strict=True):
        parser.add_argument(name, nargs="?", type=int, default=usual)
    main(*vars(parser.parse_args()).values())
