"""A worker that is killed in a journaled run: right results, nothing left running, nothing finished paid twice."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow
from pocketflow.dataflow import Dataflow, task
from pocketflow.executors import ExecutorNode, WorkerDied
from pocketflow.journal import Journal, pause
from tests.executors.nodes import Pays, paid, pay, processes


def pays(executor: Any) -> AsyncFlow:
    return AsyncFlow(Pays(executor=executor))


def pays_as_dataflow(executor: Any) -> Dataflow:
    return Dataflow(task(pay, each={"item": "items"}), executor=executor, max_concurrency=1)


def store(folder: Path) -> dict[str, Any]:
    return {"folder": str(folder), "items": ["a", "b", "c"]}


def journaled(flow: AsyncFlow, folder: Path) -> dict[str, Any]:
    """The store after a run, or after the rest of one."""
    shared = store(folder)
    with Journal(folder / "runs.db") as journal:
        asyncio.run(asyncio.wait_for(journal.run_async(flow, shared, run_id="r"), 60))
    return shared


@pytest.mark.parametrize(
    ("make", "method"), [(pays, "fork"), (pays, "spawn"), (pays, "forkserver"), (pays_as_dataflow, "fork")]
)
def test_a_killed_process_costs_the_item_that_it_ran_and_the_run_goes_on(
    make: Callable[[Any], AsyncFlow], method: str, tmp_path: Path
):
    flow, before = make(partial(processes, method)), set(multiprocessing.active_children())
    with pytest.raises(WorkerDied, match="was in a pool whose worker died"):
        journaled(flow, tmp_path)
    assert journaled(flow, tmp_path)["pay"] == ["A", "B", "C"]
    assert paid(str(tmp_path)) == ["a", "b", "b", "c"]
    assert set(multiprocessing.active_children()) <= before


def test_a_killed_worker_of_a_cluster_costs_the_item_that_it_ran(tmp_path: Path, cluster: Any):
    assert journaled(pays(cluster.get_executor()), tmp_path)["pay"] == ["A", "B", "C"]
    assert paid(str(tmp_path)) == ["a", "b", "b", "c"]


class Asks(ExecutorNode):
    def exec(self, prep_res: Any) -> Any:
        return pause("publish?")


class Expensive(AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        return "an expensive answer"

    async def post_async(self, shared: Any, prep_res: Any, answer: Any) -> None:
        shared["answer"] = answer


def test_a_pause_in_another_process_is_an_error_and_costs_the_run_nothing(tmp_path: Path):
    flow = AsyncFlow(AsyncParallelFlow(Expensive(), Asks(executor=partial(processes, "fork"))))
    with pytest.raises(RuntimeError, match="outside of a journaled run"):
        journaled(flow, tmp_path)
    with Journal(tmp_path / "runs.db") as journal:
        assert journal.load("r")["answer"] == "an expensive answer"
        assert [run["status"] for run in journal.runs()] == ["failed"]
