"""A journaled run in a process of its own, which tells how far it is and waits for a word to go on."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pocketflow as pf
from pocketflow.journal import Journal, RunBusy
from tests.processes import LONGEST

PROCESSES = multiprocessing.get_context("forkserver")


class Tell(pf.Node):
    """Its exec is a word that another process says."""

    def __init__(self, other: Connection) -> None:
        super().__init__()
        self.other = other

    def exec(self, prep_res: Any) -> Any:
        self.other.send("in exec")
        return self.other.recv()

    def post(self, shared: Any, prep_res: Any, answer: Any) -> None:
        shared["answers"] = [*shared.get("answers", ()), answer]


def run(other: Connection, path: Path, run_id: str) -> None:
    """What the process does: it runs two such nodes, as soon as it is told to go."""
    warnings.simplefilter("error")
    first, shared = Tell(other), dict[str, Any]()
    first >> Tell(other)
    other.send("ready")
    other.recv()
    with Journal(path) as journal:
        try:
            journal.run(pf.Flow(first), shared, run_id=run_id)
            other.send(f"finished {shared['answers']}")
        except RunBusy as error:
            other.send(f"busy: {error}")


class Process:
    """A process that will `run`, what it says, and what is said to it; no wait is endless."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.connection, other = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=run, args=(other, path, run_id))
        self.process.start()
        other.close()  # so that the connection ends with the process

    def heard(self) -> str:
        assert self.connection.poll(LONGEST), "it says nothing"
        return str(self.connection.recv())

    def say(self, word: str) -> None:
        with contextlib.suppress(ConnectionError):  # it may have ended
            self.connection.send(word)

    def rest(self, *words: str) -> list[str]:
        """All that it still says until it has ended, when it is told these words."""
        for word in words:
            self.say(word)
        lines = []
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                lines.append(self.heard())
        self.process.join(LONGEST)
        return lines

    def begin(self) -> None:
        """Let it run until its first node is done, and its second one is at work."""
        go(self)
        assert self.heard() == "in exec"
        self.say("one")
        assert self.heard() == "in exec"

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process.pid
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.join(LONGEST)
        self.connection.close()


def go(*processes: Process) -> None:
    """Let processes run, once all are ready."""
    assert {process.heard() for process in processes} == {"ready"}
    for process in processes:
        process.say("go")
