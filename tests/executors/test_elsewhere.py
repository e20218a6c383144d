"""What holds of work that is done elsewhere: who hears of it, what travels, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import copyreg
import multiprocessing
import os
import threading
import warnings
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.executors import Pool, RemoteError, WorkerDied
from tests.dataflow.kit import failing, run
from tests.executors.nodes import DiesOnItem, Emits, First, Keeps, KeepsAll, processes
from tests.hooks.hooks import Lines

# Nobody hears of it


class RunsAFlow(Keeps):
    def exec(self, prep_res: Any) -> Any:
        shared: dict[str, Any] = {}
        pf.Flow(Flaky(max_retries=2)).run(shared)
        asyncio.run(pf.AsyncFlow(Flaky(max_retries=2)).run_async(shared))
        return shared["result"], os.getpid()


class Flaky(pf.Node):
    def exec(self, prep_res: Any) -> Any:
        if self.cur_retry == 0:
            raise ValueError("once")
        return "done"

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["result"] = exec_res


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_no_hook_hears_of_what_a_worker_process_does_and_emit_there_is_an_error(method: str):
    log = Lines()
    with log, pytest.raises(RuntimeError, match="'progress'.* was emitted in a worker process, outside of the run"):
        run(Emits(executor=partial(processes, method)))
    assert not [line for line in log.lines if line.startswith("event")]


def test_a_pool_that_was_forked_while_hooks_were_installed_hears_nothing_either():
    log = Lines()
    with log, processes() as pool:
        pool.submit(os.getpid).result(30)
        with pytest.raises(RuntimeError, match="outside of the run"):
            run(Emits(executor=pool))


def test_a_flow_may_run_inside_of_a_worker_process():
    log = Lines()
    with log:
        result, pid = run(RunsAFlow(executor=processes))["result"]
    assert (result, pid != os.getpid()) == ("done", True)
    assert log.paths() == [
        "AsyncFlow",
        "AsyncFlow/prep",
        *(f"AsyncFlow/0:RunsAFlow{s}" for s in ("", "/prep", "/exec")),
    ]


class RetriesInThere(Keeps):
    def exec(self, prep_res: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pf.Flow(Flaky(max_retries=2)).run(shared := {})
        return shared["result"], [str(warning.message) for warning in caught]


def test_a_retry_of_a_sync_node_inside_of_a_worker_process_leaves_no_coroutine_behind():
    assert run(RetriesInThere(executor=processes))["result"] == ("done", [])


class Elsewhere(Executor):
    """Neither threads nor processes, as a cluster is."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def test_on_a_cluster_emit_is_the_same_error():
    with Lines(), pytest.raises(RuntimeError, match="outside of the run"):
        run(Emits(executor=Elsewhere()))


@pytest.mark.parametrize("executor", [None, processes, Elsewhere()], ids=["thread", "process", "cluster"])
def test_a_stop_iteration_is_an_error_like_any_other(executor: Any):
    """As it is in a coroutine: no future of asyncio can take it."""
    assert run(First(executor=executor))["result"].startswith("RuntimeError")


# What travels


class NeedsKeyword(Exception):
    """As errors of SDKs are: it can be pickled, and not be read again."""

    def __init__(self, message: str, *, response: str) -> None:
        super().__init__(message)
        self.response = response


class Refused(Keeps):
    def exec(self, prep_res: Any) -> Any:
        raise NeedsKeyword("rate limit reached", response="429")


class Fails(Keeps):
    def exec(self, prep_res: Any) -> Any:
        raise KeyError("own error")


class ReturnsALock(Keeps):
    def exec(self, prep_res: Any) -> Any:
        return threading.Lock()


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


class ReturnsUnreadable(Keeps):
    def exec(self, prep_res: Any) -> Any:
        return Unreadable()


def test_an_error_that_cannot_travel_is_told_with_its_text_and_traceback_and_the_pool_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delitem(copyreg.dispatch_table, NeedsKeyword, raising=False)  # where Dask has taught every error to
    with processes() as pool:
        with pytest.raises(RemoteError, match="NeedsKeyword: rate limit reached") as caught:
            run(Refused(executor=pool))
        assert "in exec\n    raise NeedsKeyword" in str(caught.value.__cause__)
        assert run(RunsAFlow(executor=pool))["result"][0] == "done"


def test_an_error_that_travels_is_itself_with_the_traceback_of_the_worker_as_cause():
    with pytest.raises(KeyError, match="own error") as caught:
        run(Fails(executor=processes))
    assert 'raise KeyError("own error")' in str(caught.value.__cause__)
    assert caught.value.__notes__ == ["in Fails", "in AsyncFlow"]


def test_a_result_that_cannot_travel_is_named_and_the_pool_goes_on():
    with processes() as pool:
        with pytest.raises(TypeError, match="its result <unlocked _thread.lock .* cannot be pickled"):
            run(ReturnsALock(executor=pool))
        with pytest.raises(
            TypeError, match=r"ReturnsUnreadable: exec\(None\) returned a value that cannot be unpickled here"
        ):
            run(ReturnsUnreadable(executor=pool))
        assert run(RunsAFlow(executor=pool))["result"][0] == "done"


def test_an_item_that_cannot_travel_is_named():
    with pytest.raises(TypeError, match="its item cannot be pickled"):
        run(Fails(executor=processes), input=threading.Lock())


# Dead workers


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_killed_worker_costs_an_attempt_and_all_results_are_right(method: str, tmp_path: Path):
    items, before = [(name, str(tmp_path)) for name in ("a", "bad", "c")], set(multiprocessing.active_children())
    node = DiesOnItem(max_retries=3, executor=partial(processes, method))
    assert run(node, items=items)["results"] == ["a", "bad", "c"]
    assert set(multiprocessing.active_children()) <= before


def test_who_was_in_the_pool_of_a_dead_worker_is_not_blamed_for_it(tmp_path: Path):
    with pytest.raises(WorkerDied, match=r"DiesOnItem: exec\(.*\) was in a pool whose worker died"):
        run(DiesOnItem(executor=processes), items=[("bad", str(tmp_path))])


# What runs at once, and when it is over


def test_a_pool_is_closed_before_post():
    class Looks(Keeps):
        def exec(self, prep_res: Any) -> Any:
            return threading.current_thread()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            with pytest.raises(RuntimeError, match="after shutdown"):
                kept[0].submit(int)
            shared["looked"] = True

    def make() -> Executor:
        kept.append(ThreadPoolExecutor(1))
        return kept[-1]

    kept: list[Executor] = []
    assert run(Looks(executor=make))["looked"]


async def test_one_node_object_may_run_twice_at_once_and_keeps_its_attributes():
    class Meets(KeepsAll):
        def exec(self, item: Any) -> Any:
            barrier.wait()
            return item

    barrier = threading.Barrier(4, timeout=30)
    with ThreadPoolExecutor(4) as pool:
        node, stores = Meets(executor=pool), [{"items": "ab"}, {"items": "cd"}]
        before = dict(vars(node))
        await asyncio.gather(*(node.run_async(store) for store in stores))
    assert vars(node) == before
    assert [store["results"] for store in stores] == [["a", "b"], ["c", "d"]]


def test_max_concurrency_is_the_number_of_threads():
    class Meets(KeepsAll):
        def exec(self, item: Any) -> Any:
            barrier.wait()

    barrier = threading.Barrier(40, timeout=30)
    run(Meets(max_concurrency=40), items=range(40))


def test_no_visit_without_a_limit_makes_threads_for_items_that_are_not_there():
    class Counts(KeepsAll):
        def exec(self, item: Any) -> Any:
            return threading.get_ident()

    assert len(set(run(Counts(), items=[1])["results"])) == 1


async def test_items_that_wait_for_a_thread_never_run_once_one_has_failed():
    class Boom(KeepsAll):
        def exec(self, item: Any) -> Any:
            ran.append(item)
            if item == 0:
                raise KeyError(item)
            assert released.wait(30)

        def exec_fallback(self, item: Any, error: Exception) -> Any:
            failed.set()
            raise error

    ran: list[Any] = []
    failed, released = asyncio.Event(), threading.Event()
    node = Boom(max_concurrency=300, executor=lambda: ThreadPoolExecutor(2))
    running = asyncio.create_task(node.run_async({"items": range(300)}))
    await failing(running, failed, released)
    assert len(ran) <= 3


async def test_a_pool_runs_functions_for_others_and_is_closed_by_its_owner():
    async with Pool(threads=2) as pool:
        assert await pool.run(lambda: "sum", sum, [1, 2]) == 3
        assert pool.workers == 2
        assert await Keeps(executor=pool).run_async({}) is None
        assert await pool.run(lambda: "sum", sum, [3]) == 3
