"""Journaled steps against bare commits of the same bytes, and against LangGraph's savers on the same work.

python -m tests.benchmarks.bench_journal     what an event loop feels of 200 runs that begin at once
"""

from __future__ import annotations

import asyncio
import json
import operator
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pocketflow as pf
from pocketflow.hooks import Hook, Step
from pocketflow.journal import Journal
from tests.benchmarks.measure import Row, compare
from tests.journal import server

STEPS, ROUNDS = 100, 5
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


def lags(journal: Journal | None) -> tuple[list[float], float]:
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
            await asyncio.gather(*(journal.run_async(flow, {}, run_id=f"run {n}") for n, flow in enumerate(flows)))
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
    begun = []

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


def langgraph(steps: int) -> Callable[[Path], tuple[float, float]]:
    """Seconds and bytes of the same loop in LangGraph, every step a checkpoint."""
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(State)
    graph.add_node("grow", lambda state: {"log": [KILOBYTE]})
    graph.add_edge(START, "grow")
    graph.add_conditional_edges("grow", lambda state: "grow" if len(state["log"]) < steps else END)

    def work(path: Path) -> tuple[float, float]:
        with SqliteSaver.from_conn_string(str(path)) as saver:
            app = graph.compile(checkpointer=saver)
            start = time.perf_counter()
            app.invoke({"log": []}, {"configurable": {"thread_id": "1"}, "recursion_limit": steps + 10})
            took = time.perf_counter() - start
        return took, float(path.stat().st_size)

    return work


def grown(steps: int) -> Callable[[Path], float]:
    return lambda path: journaled(loop(Grow(steps)), {"log": []}, path)


def rows() -> Iterator[Row]:
    for size, called in ((10_000, "10 KB"), (1_000_000, "1 MB"), (50_000_000, "50 MB")):
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
                rounds=ROUNDS,
            )
    for steps in (100, 400, 1600):
        yield compare(
            f"size of the file, {steps} steps of 1 KB",
            lambda steps=steps: growth(steps),  # type: ignore[misc]
            lambda steps=steps: float(steps * len(KILOBYTE)),  # type: ignore[misc]
            against="the bytes that were appended",
            rounds=1,
        )
    for steps in (100, 400):
        theirs = langgraph(steps)
        yield compare(
            f"{steps} steps of 1 KB, time",
            lambda steps=steps: in_folder(grown(steps)),  # type: ignore[misc]
            lambda theirs=theirs: in_folder(theirs)[0],  # type: ignore[misc]
            against="LangGraph with SqliteSaver",
            rounds=ROUNDS,
        )
        yield compare(
            f"{steps} steps of 1 KB, size of the file",
            lambda steps=steps: growth(steps),  # type: ignore[misc]
            lambda theirs=theirs: in_folder(theirs)[1],  # type: ignore[misc]
            against="LangGraph with SqliteSaver",
            rounds=1,
        )


if __name__ == "__main__":
    tell_lags()
