"""Nodes and pools that the tests of executors share; processes find them here by name."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pocketflow.executors import ExecutorBatchNode, ExecutorNode
from pocketflow.hooks import emit


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


class First(Keeps):
    """Takes the first of what is empty."""

    def exec(self, prep_res: Any) -> Any:
        return next(iter(()))

    def exec_fallback(self, prep_res: Any, error: Exception) -> Any:
        return repr(error)


class Emits(Keeps):
    def exec(self, prep_res: Any) -> Any:
        return emit({"type": "progress"})


class Pid(KeepsAll):
    def exec(self, item: Any) -> Any:
        return os.getpid(), item, self.factor, self.params["base"], self.cur_retry

    factor = 1


class DiesOnItem(KeepsAll):
    """Its process dies of the item "bad", once; the others wait until it is dead."""

    def exec(self, item: Any) -> Any:
        name, folder = item
        if name == "bad" and not Path(folder, "died").exists():
            Path(folder, "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return name


def paid(folder: str) -> list[str]:
    """The items that were begun, in their order."""
    return Path(folder, "paid").read_text().split()


def pay(item: str, folder: str) -> str:
    """An expensive call; that for "b" is killed in the middle of it, the first time."""
    with Path(folder, "paid").open("a") as file:
        file.write(f"{item}\n")
    if item == "b" and paid(folder).count("b") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


class Pays(ExecutorBatchNode):
    max_concurrency = 1

    def prep(self, shared: Any) -> Any:
        return [(item, shared["folder"]) for item in "abc"]

    def exec(self, item: Any) -> str:
        return pay(*item)

    def post(self, shared: Any, items: Any, results: Any) -> None:
        shared["pay"] = results
