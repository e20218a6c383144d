"""What a user may do with a journal's file who is not its owner; root may do everything."""

from __future__ import annotations

import multiprocessing
import os
import urllib.parse  # noqa: F401  # pathlib imports it late, and the other user may not read the library
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pocketflow as pf
from pocketflow.journal import Journal, JournalError
from tests.processes import LONGEST

NOBODY = 65534


def write(folder: str) -> str:
    """Run a flow in "runs.db" there; the error that it gives."""
    become_other_user(folder)
    try:
        with Journal("runs.db") as journal:
            journal.run(pf.Flow(pf.Node()), {}, run_id="new")
    except JournalError as error:
        return str(error)
    return ""


def read(folder: str) -> tuple[list[str], str]:
    """The states of the runs there, and the beginning of what one of them left."""
    become_other_user(folder)
    with Journal("runs.db") as journal:
        return [run["status"] for run in journal.runs()], journal.load("done")["log"][0][:3]


def become_other_user(folder: str) -> None:
    os.chdir(folder)
    if os.getuid() == 0:
        os.setuid(NOBODY)


def does(work: Callable[[str], Any], folder: str) -> Any:
    """What the work comes to in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        return pool.submit(work, folder).result(LONGEST)
