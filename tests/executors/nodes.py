"""Nodes and pools that the tests of executors share; processes find them here by name."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from pocketflow.executors import ExecutorBatchNode, ExecutorNode


def processes(method: str = "fork", workers: int = 1) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


class Keeps(ExecutorNode):
    """Leaves the result of exec in the store."""

    def prep(self, shared: Any) -> Any:
        return shared.get("input")

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["result"] = exec_res


class KeepsAll(ExecutorBatchNode):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res
