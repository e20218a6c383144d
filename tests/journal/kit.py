"""What the tests of the journal share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, Paused, pause


def run(journal: Journal, flow: Any, shared: dict[str, Any], run_id: str = "run", **options: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await journal.run_async(flow, shared, run_id=run_id, **options)

    if isinstance(flow, pf.AsyncNode):
        return asyncio.run(bounded())
    return journal.run(flow, shared, run_id=run_id, **options)


class Crash(BaseException):
    """Stands for the end of the process: no retry, no fallback takes it."""


class Say(pf.Node):
    """Writes its name to the log that no journal keeps, and to the store."""

    def __init__(self, log: list[Any], name: str, fail: bool = False) -> None:
        super().__init__()
        self.log, self.name, self.fail = log, name, fail

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        self.log.append(self.name)
        if self.fail:
            raise Crash
        shared.setdefault("said", []).append(self.name)
        return f"after {self.name}"


class PopFlow(pf.Flow):
    def prep(self, shared: Any) -> Any:
        shared["popped"] = shared.get("popped", 0) + 1


def chain(*nodes: Any) -> Any:
    for before, after in pairwise(nodes):
        before - f"after {before.name}" >> after
    return nodes[0]


def crash_and_resume(
    journal: Journal, make: Callable[[bool], Any], shared: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """The store of a run that crashed as `make(True)`, and was then resumed as `make(False)`."""
    with pytest.raises(Crash):
        run(journal, make(True), dict(shared))
    resumed: dict[str, Any] = {}
    run(journal, make(False), resumed, **options)
    return resumed


class Approve(pf.Node):
    def __init__(self, questions: int = 1, choices: list[str] | None = None) -> None:
        super().__init__()
        self.questions, self.choices = questions, choices

    def exec(self, prep_res: Any) -> Any:
        return [pause(f"question {n}?", self.choices) for n in range(self.questions)]

    def post(self, shared: Any, prep_res: Any, answers: Any) -> Any:
        shared["answers"] = answers


def paused(journal: Journal, flow: Any, **options: Any) -> Paused:
    with pytest.raises(Paused) as caught:
        run(journal, flow, {}, **options)
    return caught.value


def steps(journal: Journal, run_id: str = "run") -> list[dict[str, Any]]:
    """The rows of the history that are steps."""
    return [row for row in journal.history(run_id) if row["kind"] in ("prep", "exec", "node", "flow")]
