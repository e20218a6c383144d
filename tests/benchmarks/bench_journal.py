"""Journaled steps against bare commits of the same bytes, and against LangGraph's savers and DBOS on the same work.

python -m tests.benchmarks.bench_journal     what an event loop feels of 200 runs that begin at once, in ms

The rows of LangGraph and DBOS need the extra bench, those of PostgreSQL a server that is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pocketflow as pf
from pocketflow.hooks import Hook, Step
from pocketflow.journal import Journal
from tests.benchmarks.measure import Row, compare
from tests.journal import server

STEPS = 100
KILOBYTE = "x" * 1000


class Count(pf.Node):
    """Changes one small key of the store."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["count"] += 1
        return "again" if shared["count"] < STEPS else "enough"


class Slow(pf.AsyncNode):
    """Waits a little, as for a model."""

    async def exec_async(self, prep_res: Any) -> Any:
        await asyncio.sleep(0.01)
        return KILOBYTE

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["count"] = shared.get("count", 0) + 1
        return "again" if shared["count"] < 11 else "enough"


def lags(journal: Journal | None, number: int = 0) -> tuple[list[float], float]:
    """By how many seconds an event loop was late, every 5 ms, while 200 runs of 11 steps began at once; its time."""
    late = list[float]()

    async def watch() -> None:
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - due)

    async def scenario() -> None:
        slow = Slow()
        slow - "again" >> slow
        slow - "enough" >> None
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.02)
        flows = [pf.AsyncFlow(slow) for _ in range(200)]
        if journal:
            await asyncio.gather(
                *(journal.run_async(flow, {}, run_id=f"run {number}.{n}") for n, flow in enumerate(flows))
            )
        else:
            await asyncio.gather(*(flow.run_async({}) for flow in flows))
        watching.cancel()

    began = time.perf_counter()
    asyncio.run(scenario())
    return late, time.perf_counter() - began


def tell_lags() -> None:
    def line(what: str, journal: Journal | None) -> None:
        late, took = lags(journal)
        median, most, longest = statistics.median(late), statistics.quantiles(late, n=50)[-1], max(late)
        print(
            f"{what:18} loop late by {median * 1e3:6.1f} ms in the median, {most * 1e3:6.1f} ms in 98 of 100,"
            f" {longest * 1e3:6.1f} ms at most; all 200 runs took {took:.2f} s"
        )

    line("without a journal", None)
    for synchronous in ("normal", "full"):
        with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/runs.db", synchronous=synchronous) as journal:
            line(f"SQLite, {synchronous}", journal)
    if server.programs():
        with server.running() as started, Journal(started.schema()) as journal:
            line("PostgreSQL", journal)


class Grow(pf.Node):
    """Appends a kilobyte."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append(KILOBYTE)
        return "again" if len(shared["log"]) < self.steps else "enough"


def loop(node: pf.Node) -> pf.Flow:
    node - "again" >> node
    node - "enough" >> pf.Node()
    return pf.Flow(node)


def store(size: int) -> dict[str, Any]:
    """`size` bytes, in documents of some kilobytes."""
    return {"count": 0, "documents": [{"id": n, "text": "x" * 4000} for n in range(size // 4000)]}


def journaled(flow: pf.Flow, shared: dict[str, Any], path: Path | str) -> float:
    """Seconds from the first step to the end: without the beginning of the run, which keeps all of the store."""
    begun = list[float]()

    class Begun(Hook):
        def on_start(self, step: Step) -> None:
            if not begun:
                begun.append(time.perf_counter())

    with Journal(path) as journal, Begun():
        journal.run(flow, shared, run_id="run")
        return time.perf_counter() - begun[0]


def bare(rows: list[Any], path: Path) -> float:
    """Seconds that a commit takes of one of these rows, as the journal is set up."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = normal")
    columns = ", ".join(f"c{n}" for n in range(len(rows[0]) - 1))
    db.execute(f"CREATE TABLE commits (id INTEGER PRIMARY KEY, {columns})")
    start = time.perf_counter()
    for row in rows:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"INSERT INTO commits VALUES ({', '.join('?' * len(row))})", row)
        db.execute("COMMIT")
    took = time.perf_counter() - start
    db.close()
    return took / len(rows)


def in_folder(work: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder) / "runs.db")


def committed(flow: pf.Flow, shared: dict[str, Any]) -> list[Any]:
    """What a run commits after its beginning."""

    def work(path: Path) -> list[Any]:
        journaled(flow, shared, path)
        db = sqlite3.connect(path)
        rows = db.execute("SELECT * FROM pocketflow_records ORDER BY id").fetchall()[2:]
        db.close()
        return rows

    return in_folder(work)  # type: ignore[no-any-return]  # what the work gives


def whole(shared: dict[str, Any]) -> list[Any]:
    """Commits of all of the store, as a journal of snapshots would make them."""
    text = json.dumps(shared)
    return [(n, "", "", "", "", text, "") for n in range(5)]


def growth(steps: int) -> float:
    """Bytes of the file after so many steps of a kilobyte."""

    def work(path: Path) -> float:
        journaled(loop(Grow(steps)), {"log": []}, path)
        return float(path.stat().st_size)

    return in_folder(work)  # type: ignore[no-any-return]  # what the work gives


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def langgraph(steps: int, saver: Any) -> float:
    """Seconds of the same loop in LangGraph, every step a checkpoint."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    graph.add_node("grow", lambda state: {"log": [KILOBYTE]})
    graph.add_edge(START, "grow")
    graph.add_conditional_edges("grow", lambda state: "grow" if len(state["log"]) < steps else END)
    app = graph.compile(checkpointer=saver)
    start = time.perf_counter()
    app.invoke({"log": []}, {"configurable": {"thread_id": "1"}, "recursion_limit": steps + 10})
    return time.perf_counter() - start


def langgraph_in_sqlite(steps: int) -> Callable[[Path], tuple[float, float]]:
    """Its seconds, and the bytes of the file."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    def work(path: Path) -> tuple[float, float]:
        with SqliteSaver.from_conn_string(str(path)) as saver:
            took = langgraph(steps, saver)
        return took, float(path.stat().st_size)

    return work


def langgraph_in_postgres(steps: int, where: str) -> float:
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(where) as saver:
        saver.setup()
        return langgraph(steps, saver)


def dbos(steps: int, path: Path) -> float:
    """Seconds of the same loop as a workflow of DBOS, each step one of its steps."""
    from dbos import DBOS

    address = f"sqlite:///{path}"
    DBOS(config={"name": "bench", "system_database_url": address, "log_level": "CRITICAL"})

    @DBOS.step()  # type: ignore[untyped-decorator,unused-ignore]  # of an optional package
    def grow() -> str:
        return KILOBYTE

    @DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]  # likewise
    def grow_all() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            grow()
        return time.perf_counter() - start

    DBOS.launch()
    try:
        return float(grow_all())
    finally:
        DBOS.destroy(destroy_registry=True)


def grown(steps: int) -> Callable[[Path], float]:
    return lambda path: journaled(loop(Grow(steps)), {"log": []}, path)


def rows() -> Iterator[Row]:
    yield from against_commits()
    yield from file_sizes()
    with contextlib.suppress(ImportError):
        yield from against_langgraph()
    with contextlib.suppress(ImportError):
        yield from against_dbos()
    with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/runs.db", synchronous="full") as journal:
        yield lag("SQLite, full", journal)
    with contextlib.suppress(ImportError):
        yield from on_postgres()


def against_commits() -> Iterator[Row]:
    for size, called, rounds in ((10_000, "10 KB", 5), (1_000_000, "1 MB", 5), (50_000_000, "50 MB", 2)):
        changes, snapshots = committed(loop(Count()), store(size)), whole(store(size))

        def ours(size: int = size, commits: int = len(changes)) -> float:
            return float(in_folder(lambda path: journaled(loop(Count()), store(size), path))) / commits

        for what, baseline in (("all of the store", snapshots), ("the change alone", changes)):
            yield compare(
                f"a journaled step, {called} in the store",
                ours,
                lambda baseline=baseline: in_folder(lambda path: bare(baseline, path)),  # type: ignore[misc]
                against=f"a bare commit of {what}",
                reach="2" if baseline is snapshots else "",
                rounds=rounds,
            )


def file_sizes() -> Iterator[Row]:
    for steps in (100, 400, 1600):
        what, appended = f"size of the file, {steps} steps of 1 KB", float(steps * len(KILOBYTE))
        ours = lambda steps=steps: growth(steps)  # noqa: E731  it stands beside its baseline
        bytes_of = lambda appended=appended: appended  # noqa: E731  likewise
        yield compare(what, ours, bytes_of, against="the bytes that were appended", rounds=1)


def against_langgraph() -> Iterator[Row]:
    for steps in (100, 400):
        theirs, name = langgraph_in_sqlite(steps), "LangGraph with SqliteSaver"
        took = lambda theirs=theirs: in_folder(theirs)[0]  # noqa: E731  it stands beside what it is compared with
        size = lambda theirs=theirs: in_folder(theirs)[1]  # noqa: E731  likewise
        ours = lambda steps=steps: in_folder(grown(steps))  # noqa: E731  likewise
        yield compare(f"{steps} steps of 1 KB, SQLite", ours, took, against=name, rounds=3)
        sizes = lambda steps=steps: growth(steps)  # noqa: E731  likewise
        yield compare(f"{steps} steps of 1 KB, size of the file", sizes, size, against=name, rounds=1)


def against_dbos() -> Iterator[Row]:
    what = f"{STEPS} steps of 1 KB, SQLite"
    theirs = lambda: in_folder(lambda path: dbos(STEPS, path))  # noqa: E731  it stands beside ours
    yield compare(what, lambda: in_folder(grown(STEPS)), theirs, against="DBOS on SQLite", rounds=3)


def on_postgres() -> Iterator[Row]:
    if not server.programs():
        return
    with server.running() as started:
        with Journal(started.schema()) as journal:
            yield lag("PostgreSQL", journal)
        ours = lambda: journaled(loop(Grow(STEPS)), {"log": []}, started.schema())  # noqa: E731  it stands beside theirs
        theirs = lambda: langgraph_in_postgres(STEPS, started.schema())  # noqa: E731  likewise
        name = "LangGraph with PostgresSaver"
        yield compare(f"{STEPS} steps of 1 KB, PostgreSQL", ours, theirs, against=name, rounds=3)


def lag(where: str, journal: Journal) -> Row:
    """What 98 of 100 turns of the loop stay below, against the same without a journal."""
    numbers = count()
    ours = lambda: statistics.quantiles(lags(journal, next(numbers))[0], n=50)[-1]  # noqa: E731  it stands beside
    bare = lambda: statistics.quantiles(lags(None)[0], n=50)[-1]  # noqa: E731  its baseline
    return compare(f"lag of the loop, 200 runs, {where}", ours, bare, against="without a journal", rounds=1)


if __name__ == "__main__":
    tell_lags()
