"""exec elsewhere against the bare executors."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from pocketflow.executors import ExecutorBatchNode
from tests.benchmarks.measure import Row, compare

ITEMS, SECONDS, CALLS = 64, 0.02, 1000


def busy(item: int) -> int:
    """Keep a core busy for 20 ms of its own time."""
    end = time.process_time() + SECONDS
    while time.process_time() < end:
        pass
    return item


def nothing(item: int) -> int:
    return item


class Batch(ExecutorBatchNode):
    def prep(self, shared: Any) -> Any:
        return range(shared["items"])


class Busy(Batch):
    def exec(self, item: int) -> int:
        return busy(item)


class Nothing(Batch):
    def exec(self, item: int) -> int:
        return nothing(item)


def run(node: Batch, items: int) -> None:
    asyncio.run(node.run_async({"items": items}))


def in_threads() -> None:
    async def calls() -> None:
        await asyncio.gather(*(asyncio.to_thread(nothing, item) for item in range(CALLS)))

    asyncio.run(calls())


def on_processes(executor: Executor) -> Iterator[Row]:
    what = f"{ITEMS} items of 20 ms of work, processes"
    ours, bare = (lambda: run(Busy(executor=executor), ITEMS)), (lambda: list(executor.map(busy, range(ITEMS))))
    yield compare(what, ours, bare, against="ProcessPoolExecutor.map", reach="1.05", rounds=5)


def on_dask() -> Iterator[Row]:
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        what = f"{ITEMS} items of 20 ms of work, Dask"
        ours = lambda: run(Busy(executor=client.get_executor()), ITEMS)  # noqa: E731  it stands beside its baseline
        bare = lambda: client.gather(client.map(busy, range(ITEMS), pure=False))  # noqa: E731  likewise
        yield compare(what, ours, bare, against="client.map", reach="1.11", rounds=5)


def rows() -> Iterator[Row]:
    with ProcessPoolExecutor() as executor:
        yield from on_processes(executor)
    with ThreadPoolExecutor() as threads:
        ours = lambda: run(Nothing(executor=threads), CALLS)  # noqa: E731  it stands beside its baseline
        yield compare(f"{CALLS} calls in threads", ours, in_threads, against="asyncio.to_thread")
    with contextlib.suppress(ImportError):  # the row of Dask needs the extra cluster
        yield from on_dask()
