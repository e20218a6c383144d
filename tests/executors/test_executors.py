"""exec on threads, on processes and on a Dask cluster."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.executors import ExecutorNode, WorkerDied
from pocketflow.hooks import emit, hooked
from tests.dataflow.kit import run
from tests.executors.nodes import Keeps, KeepsAll, Pid, processes
from tests.hooks.hooks import Lines

# Threads


def test_the_loop_is_free_while_exec_runs_and_prep_and_post_stay_on_it():
    class Waits(ExecutorNode):
        def prep(self, shared: Any) -> Any:
            shared["threads"] = [threading.current_thread()]

        def exec(self, prep_res: Any) -> Any:
            assert released.wait(30)
            return threading.current_thread()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["threads"] += [exec_res, threading.current_thread()]

    class Releases(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            released.set()

    released = threading.Event()
    prep, exec_, post = run(pf.AsyncParallelFlow(Waits(), Releases()))["threads"]
    assert prep is post is threading.main_thread()
    assert exec_ is not prep


def test_the_items_of_a_batch_run_at_once_and_keep_their_order():
    class Meet(KeepsAll):
        def exec(self, item: Any) -> Any:
            barrier.wait()
            return item * 2

    barrier = threading.Barrier(3, timeout=30)
    node = Meet(executor=lambda: ThreadPoolExecutor(3))
    assert run(node, items=iter([1, 2, 3]))["results"] == [2, 4, 6]


def test_a_thread_sees_the_attempt_and_the_hooks():
    class Flaky(Keeps):
        def exec(self, prep_res: Any) -> Any:
            emit({"type": f"try {self.cur_retry}"})
            if self.cur_retry < 2:
                raise ValueError("again")
            return self.cur_retry

    log = Lines()
    with hooked(log):
        assert run(Flaky(max_retries=3))["result"] == 2
    assert [line.split(maxsplit=2)[2] for line in log.lines if line.startswith("event")] == ["try 0", "try 1", "try 2"]


def test_each_item_has_its_own_attempts_and_the_fallback_runs_at_home():
    class Fails(KeepsAll):
        def exec(self, item: Any) -> Any:
            with lock:
                tries.append(item)
            raise ValueError(item)

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            return threading.current_thread() is threading.main_thread(), str(exc)

    tries: list[Any] = []
    lock = threading.Lock()
    assert run(Fails(max_retries=2), items="ab")["results"] == [(True, "a"), (True, "b")]
    assert sorted(tries) == ["a", "a", "b", "b"]


def test_max_concurrency_bounds_what_is_sent_and_is_twice_the_workers_by_default():
    class Counts(KeepsAll):
        def exec(self, item: Any) -> Any: ...

        async def exec_async(self, item: Any) -> Any:
            running.append(item)
            most.append(len(running))
            await super().exec_async(item)
            running.remove(item)

    for limit, expected in ((None, 4), (3, 3)):
        running: list[Any] = []
        most: list[int] = []
        node = Counts(executor=lambda: ThreadPoolExecutor(2), max_concurrency=limit)
        run(node, items=range(50))
        assert max(most) == expected
        assert node.max_concurrency == limit


def made(kept: list[Executor]) -> Callable[[], Executor]:
    def make() -> Executor:
        kept.append(ThreadPoolExecutor(1))
        return kept[-1]

    return make


def is_open(executor: Executor) -> bool:
    try:
        return executor.submit(int).result() == 0
    except RuntimeError:
        return False


@pytest.mark.parametrize("fails", [False, True])
def test_an_executor_that_the_node_made_is_closed_and_one_of_the_user_is_not(fails: bool):
    class Work(ExecutorNode):
        def exec(self, prep_res: Any) -> Any:
            if fails:
                raise KeyError("own error")

    kept: list[Executor] = []
    with ThreadPoolExecutor(1) as own:
        for executor in (made(kept), own):
            if fails:
                with pytest.raises(KeyError, match="own error"):
                    run(Work(executor=executor))
            else:
                run(Work(executor=executor))
        assert not is_open(kept[0])
        assert is_open(own)


async def test_cancelled_work_that_has_not_started_never_does_and_a_running_thread_is_awaited():
    class Slow(KeepsAll):
        def exec(self, item: Any) -> Any:
            log.append(f"start {item}")
            started.set()
            assert released.wait(30)
            log.append(f"end {item}")

    log: list[str] = []
    started, released = threading.Event(), threading.Event()
    kept: list[Executor] = []
    task = asyncio.create_task(Slow(executor=made(kept)).run_async({"items": [1, 2]}))
    await asyncio.to_thread(started.wait, 30)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["start 1", "end 1"]
    assert not is_open(kept[0])


def test_what_is_no_executor_is_refused():
    with pytest.raises(TypeError, match="executor=5: write an Executor"):
        run(ExecutorNode(executor=5))  # type: ignore[arg-type]  # the mistake


def test_the_sync_phases_of_an_executor_node_do_not_warn():
    assert run(Keeps())["result"] is None


# Processes


def test_a_process_pool_runs_exec_elsewhere_with_the_attributes_and_params():
    node = Pid(executor=partial(processes, "spawn"))
    node.factor = 3
    flow, shared = pf.AsyncFlow(node), {"items": [1, 2]}
    flow.set_params({"base": 7})
    asyncio.run(flow.run_async(shared))
    pids, *rest = zip(*shared["results"], strict=True)
    assert os.getpid() not in pids
    assert rest == [(1, 2), (3, 3), (7, 7), (0, 0)]


class FlakyThere(KeepsAll):
    def exec(self, item: Any) -> Any:
        if self.cur_retry == 0:
            raise ValueError("once")
        return item, self.cur_retry


def test_retries_stay_with_the_caller(monkeypatch: pytest.MonkeyPatch):
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    slept: list[float] = []
    monkeypatch.setattr(pf.asyncio, "sleep", sleep)
    node = FlakyThere(max_retries=2, wait=lambda attempt, error: 0.5, executor=processes)
    assert run(node, items=["x"])["results"] == [("x", 1)]
    assert slept == [0.5]


def test_an_attribute_that_cannot_travel_is_named():
    node = Pid(executor=processes)
    node.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"Pid: exec\(1\) cannot be sent .* attribute lock = .* make lock inside exec"):
        run(node, items=[1])


def test_a_class_that_cannot_travel_is_named():
    class Local(Keeps):
        def exec(self, prep_res: Any) -> Any: ...

    with pytest.raises(TypeError, match=r"Local: exec\(None\) cannot be sent .* define it at the top of a module"):
        run(Local(executor=processes))


class DiesOnce(Keeps):
    """Its process dies, unless the file tells that it did already."""

    def prep(self, shared: Any) -> Any:
        return shared["file"]

    def exec(self, file: str) -> Any:
        if not Path(file).exists():
            Path(file).touch()
            os._exit(1)
        return "survived"


def test_a_dead_worker_is_a_failed_attempt_and_the_pool_is_made_anew(tmp_path: Path):
    node = DiesOnce(max_retries=2, executor=processes)
    assert run(node, file=str(tmp_path / "died"))["result"] == "survived"


def test_a_dead_worker_is_an_error_that_names_the_node(tmp_path: Path):
    with pytest.raises(WorkerDied, match=r"DiesOnce: exec\(.* was in a pool whose worker died"):
        run(DiesOnce(executor=processes), file=str(tmp_path / "died"))


# A Dask cluster


def test_a_cluster_runs_the_same_node_and_its_executor_stays_open(cluster: Any):
    node = Pid(executor=cluster.get_executor())
    node.factor = 3
    node.set_params({"base": 7})
    shared = {"items": list(range(8))}
    for _ in range(2):
        asyncio.run(node.run_async(shared))
    pids, items, *_ = zip(*shared["results"], strict=True)
    assert items == tuple(range(8))
    assert os.getpid() not in pids


def test_a_failure_on_the_cluster_is_tried_again_from_here(cluster: Any):
    node = FlakyThere(max_retries=2, executor=cluster.get_executor())
    assert run(node, items=["x"])["results"] == [("x", 1)]


class Dies(Keeps):
    def exec(self, prep_res: Any) -> Any:
        os._exit(1)


def test_a_worker_of_the_cluster_that_dies_is_an_error_that_names_the_node(cluster: Any):
    with pytest.raises(WorkerDied, match=r"Dies: exec\(None\) was in a pool whose worker died"):
        run(Dies(executor=cluster.get_executor(retries=0)))
