"""Load on `pocketflow serve`: one server process, real connections, the clients in this process.

    python -m tests.benchmarks.load [CASE...] [--seconds 20] [--watchers 200] [--rate 100] ...

Prints a table, and fails if an event was lost or a request was not answered as it has to be. Cases: one run
with many watchers (`one`), many runs with a watcher each (`many`), more runs than may run (`limit`), watchers
that do not read (`slow`), starting the server (`start`), and the size of what it needs (`size`, with pip).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pocketflow
from tests.benchmarks.load.client import Client, Watcher

MODULE, EXTRA = "tests.benchmarks.load.server", ("starlette", "uvicorn")
START, STREAM, PAGE = "/api/flows/tick/runs", "/api/runs/{}/events", "/api/events?run={}"
SMALL = 20_000  # bytes of events, which is less than a second of them
LARGE = 5_000  # characters of a text that fills the sockets of those who do not read
PATIENCE = 60  # seconds


class Row(NamedTuple):
    """One line of the table; `reach` is what was aimed at."""

    what: str
    measured: str
    reach: str = ""


Args = argparse.Namespace
Plan = dict[str, Any]
Case = Callable[[Args], AsyncIterator[Row]]


# The server


class Server(NamedTuple):
    """A server process, and how to ask it."""

    pid: int
    client: Client

    def cpu(self) -> float:
        """The seconds of a core that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """The MB that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, **options)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        finally:
            running.kill()


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Server]:
    with process(MODULE, json.dumps(options)) as running:
        assert running.stdout
        yield Server(running.pid, Client(int(running.stdout.readline())))


# What is measured


class Load(NamedTuple):
    """What came of runs that were watched.

    late: by how many seconds events were sent after they were due. cpu, client_cpu: shares of a core.
    memory: MB of the server at the beginning, in the middle and at the end.
    """

    watchers: list[Watcher]
    slow: list[Watcher]
    late: list[float]
    cpu: float
    client_cpu: float
    memory: list[float]

    def rows(self, what: str, reach: str = "") -> Iterator[Row]:
        ages = [age for watcher in self.watchers for age in watcher.ages]
        yield Row(f"{what}: events received, none lost", f"{len(ages):,}")
        yield Row(f"{what}: age of an event, p50, p95, p99", ms(ages, 50, 95, 99), reach)
        yield Row(f"{what}: sent after it was due, p50, p95", ms(self.late, 50, 95))
        yield Row(f"{what}: CPU of the server, of the clients", f"{self.cpu:.2f}, {self.client_cpu:.2f} of a core")
        memory = ", ".join(f"{it:.1f}" for it in self.memory)
        yield Row(f"{what}: memory at the beginning, middle, end", f"{memory} MB")


async def watched(server: Server, plans: list[Plan], paths: list[str], last: str = "end", slow: int = 0) -> Load:
    """Start the runs, watch each on every path (in which {} is its id), and measure until all have ended.

    last: the type of the last event. slow: how many more watch the first run, and do not read until it has ended.
    """
    client, begin = server.client, plans[0]["begin"]
    ids = [await client.start(plan) for plan in plans]
    sleeping = [await client.watch(paths[0].format(ids[0]), is_slow=True) for _ in range(slow)]
    watchers = [await client.watch(path.format(id), last) for id in ids for path in paths]
    await each(watcher.began.wait() for watcher in watchers)
    assert time.monotonic() < begin, "not all were connected in time: write a larger --settle"
    await until(begin)
    before, memory = (server.cpu(), time.process_time()), [server.memory()]
    await until(begin + plans[0]["count"] / plans[0]["rate"] / 2)
    memory.append(server.memory())
    await each(watcher.ended.wait() for watcher in watchers)
    memory.append(server.memory())
    after, seconds = (server.cpu(), time.process_time()), time.monotonic() - begin
    for watcher in watchers:
        assert not watcher.faults, watcher.faults
        assert len(watcher.sent) == plans[0]["count"], f"{len(watcher.sent)} of {plans[0]['count']} events came"
    cpu, client_cpu = ((now - then) / seconds for now, then in zip(after, before, strict=True))
    return Load(watchers, sleeping, late(plans, watchers[:: len(paths)]), cpu, client_cpu, memory)


def late(plans: list[Plan], watchers: list[Watcher]) -> list[float]:
    """By how many seconds each event was sent after it was due; one watcher tells it of a run."""
    return [
        sent - plan["begin"] - number / plan["rate"]
        for plan, watcher in zip(plans, watchers, strict=True)
        for number, sent in enumerate(watcher.sent)
    ]


def ms(seconds: list[float], *percents: int) -> str:
    ordered = sorted(seconds)
    return ", ".join(f"{1000 * ordered[len(ordered) * percent // 100]:.0f}" for percent in percents) + " ms"


async def each(waits: Iterable[Awaitable[Any]]) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*waits)


async def until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())


def plan(args: Args, rate: float, size: int = 0, after: float = 0) -> Plan:
    """What `Tick` is asked for; after: by how many seconds it begins later than others."""
    begin = time.monotonic() + args.settle + after
    return {"begin": begin, "rate": rate, "count": round(args.seconds * rate), "size": size}


# The cases


async def one(args: Args) -> AsyncIterator[Row]:
    """Many watchers of one run."""
    what = f"1 run, {args.watchers} watchers, {args.rate:g}/s"
    for keep in (args.keep, SMALL):
        with serving(keep=keep) as server:
            load = await watched(server, [plan(args, args.rate)], [STREAM] * args.watchers)
            for row in load.rows(f"{what}, {keep // 1000:,} kB kept", "17, 31 ms"):
                yield row
    with serving(keep=args.keep) as server:
        load = await watched(server, [plan(args, args.rate)], [PAGE] * args.watchers, "node_end")
        for row in load.rows(f"{what}, as the page watches"):
            yield row


async def many(args: Args) -> AsyncIterator[Row]:
    """Many runs with a watcher each, which do not beat in time."""
    with serving(limit=args.runs) as server:
        plans = [plan(args, args.each, after=number / args.runs / args.each) for number in range(args.runs)]
        load = await watched(server, plans, [STREAM])
        for row in load.rows(f"{args.runs} runs, 1 watcher each, {args.each:g}/s each"):
            yield row


async def slow(args: Args) -> AsyncIterator[Row]:
    """Watchers that do not read, beside others that do."""
    what = f"1 run, 10 watchers and 10 that do not read, {args.rate:g}/s of {LARGE // 1000} kB"
    with serving(keep=args.keep) as server:
        load = await watched(server, [plan(args, args.rate, LARGE)], [STREAM] * 10, slow=10)
        for row in load.rows(what):
            yield row
        late = [await server.client.watch(load.slow[0].path, is_slow=True) for _ in range(50)]
        await asyncio.sleep(1)
        yield Row(f"{what}: memory with 50 more that come at the end", f"{server.memory():.1f} MB")
        for watcher in (*load.slow, *late):
            watcher.read()
        await each(watcher.ended.wait() for watcher in (*load.slow, *late))
    assert all(watcher.types["gap"] for watcher in load.slow), "those that did not read got all the same: --seconds 20"
    missed = len(load.watchers[0].sent) - max(len(watcher.sent) for watcher in load.slow)
    yield Row(f"{what}: in the gap of which those are told", f"{missed:,} events or more")


async def limit(args: Args) -> AsyncIterator[Row]:
    """More runs than may run and wait."""
    with serving(limit=8, waiting=16) as server:
        shared = {"begin": time.monotonic() + args.settle, "rate": 100, "count": 10, "size": 0}
        began = time.monotonic()
        answers = await asyncio.gather(*(server.client.ask("POST", START, {"shared": shared}) for _ in range(50)))
        seconds = time.monotonic() - began
        assert Counter(answer.status for answer in answers) == {201: 24, 503: 26}, answers
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status == 503), answers
        started = [answer.json["run_id"] for answer in answers if answer.status == 201]
        watchers = [await server.client.watch(STREAM.format(run_id)) for run_id in started]
        await each(watcher.ended.wait() for watcher in watchers)
        runs = (await server.client.ask("GET", "/api/runs")).json["runs"]
        assert {run["run_id"]: run["status"] for run in runs} == dict.fromkeys(started, "finished"), runs
    what = "50 runs at once, where 8 may run and 16 wait"
    yield Row(f"{what}: finished, refused with 503", "24, 26", "24, 26")
    yield Row(f"{what}: all answered after", f"{1000 * seconds:.0f} ms")


async def start(args: Args) -> AsyncIterator[Row]:
    """A server that nobody asks anything."""
    figures = [await started() for _ in range(7)]
    seconds, memory = (sorted(column) for column in zip(*figures, strict=True))
    range_ = f"{seconds[0]:.2f} to {seconds[-1]:.2f}"
    yield Row("`pocketflow serve`: until the first answer", f"{median(seconds):.2f} s ({range_})")
    yield Row("`pocketflow serve`: memory at rest", f"{median(memory):.1f} MB")


async def started() -> tuple[float, float]:
    """The seconds until a server answers, and its memory in MB."""
    began = time.monotonic()
    with process("pocketflow", "serve", f"{MODULE}:flow", "--port", "0", stderr=subprocess.DEVNULL) as running:
        assert running.stdout
        port = int(running.stdout.readline().rstrip("/\n").rpartition(":")[2])
        server = Server(running.pid, Client(port))
        answer = await server.client.ask("GET", "/")
        assert answer.status == 200, answer
        return time.monotonic() - began, server.memory()


async def size(args: Args) -> AsyncIterator[Row]:
    """What is installed beside the package, and what a browser loads."""
    yield installed()
    folder = Path(pocketflow.__file__).parent
    of_all, of_serve = (weight(it, "*.py") / 1e3 for it in (folder, folder / "serve"))
    yield Row("the sources of pocketflow, of pocketflow.serve in it", f"{of_all:.0f} kB, {of_serve:.0f} kB")
    page = [file.read_bytes() for file in resources.files("pocketflow.serve").joinpath("page").iterdir()]
    plain, packed = (sum(map(len, files)) / 1e3 for files in (page, [*map(gzip.compress, page)]))
    yield Row("the page as it is sent, and as a proxy packs it", f"{plain:.1f} kB, {packed:.1f} kB", "60 kB")


def installed() -> Row:
    with tempfile.TemporaryDirectory() as target:
        pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--target", target]
        subprocess.run([sys.executable, "-m", *pip, *EXTRA], check=True)
        names = sorted(path.name.partition("-")[0] for path in Path(target).glob("*.dist-info"))
        return Row(f"installed: {', '.join(names)}", f"{weight(Path(target)) / 1e6:.1f} MB", "5 MB")


def weight(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


CASES: dict[str, Case] = {case.__name__: case for case in (one, many, slow, limit, start, size)}


async def main() -> None:
    args = parser().parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before.\n")
    print("| what | measured | reach |\n| --- | --- | --- |")
    for name in args.case or CASES:
        async for row in CASES[name](args):
            print(f"| {row.what} | {row.measured} | {row.reach} |", flush=True)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.benchmarks.load", description=__doc__)
    made.add_argument("case", nargs="*", choices=[[], *CASES], help="default: all")
    made.add_argument("--seconds", type=float, default=20, help="for which events are sent (%(default)s)")
    made.add_argument("--rate", type=float, default=100, help="events a second of one run (%(default)s)")
    made.add_argument("--watchers", type=int, default=200, help="of one run (%(default)s)")
    made.add_argument("--runs", type=int, default=200, help="at once (%(default)s)")
    made.add_argument("--each", type=float, default=10, help="events a second of each of many runs (%(default)s)")
    made.add_argument("--keep", type=int, default=2_000_000, help="bytes of events kept of a run (%(default)s)")
    made.add_argument("--settle", type=float, default=5, help="seconds for all to connect (%(default)s)")
    return made


if __name__ == "__main__":
    asyncio.run(main())
