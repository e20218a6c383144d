"""What can be written on hooks in a few lines: a rate limit, a cache, a progress bar, a small journal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step
from tests.core.nodes import settle, soon
from tests.kits import SyncKit


class Double(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return shared["items"]

    async def exec_async(self, item: int) -> Any:
        await asyncio.sleep(0)
        return item * 2

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["results"] = exec_res


# A rate limit


class RateLimit(Hook):
    """Begins no more than one call in `seconds`; the loop goes on meanwhile."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.free_at = seconds, 0.0

    def on_start(self, step: Step) -> Any:
        if step.kind != "exec" or step.loop is None:
            return None
        now = step.loop.time()
        self.free_at = max(now, self.free_at) + self.seconds
        return asyncio.sleep(self.free_at - self.seconds - now)


async def test_a_rate_limit_waits_without_blocking_the_loop(monkeypatch: pytest.MonkeyPatch):
    async def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))

    waits: list[float] = []
    shared: dict[str, Any] = {"items": range(4)}
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: 100.0)
    with RateLimit(seconds=2):
        run = asyncio.create_task(Double().run_async(shared))
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await run
    assert [wait for wait in waits if wait] == [2, 4, 6]
    assert shared["results"] == [0, 2, 4, 6]


class Slots(Hook):
    """At most `n` execs at once, of all nodes together; it waits on the loop of the step."""

    def __init__(self, n: int) -> None:
        self.slots = asyncio.Semaphore(n)

    def on_start(self, step: Step) -> Any:
        return self.slots.acquire() if step.kind == "exec" and step.loop else None

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "exec" and step.loop:
            self.slots.release()

    def on_error(self, step: Step, error: BaseException) -> None:
        self.on_end(step, None)


async def test_a_limit_for_all_nodes_waits_for_a_slot():
    class Counts(Double):
        async def exec_async(self, item: int) -> Any:
            running.append(item)
            most.append(len(running))
            await settle()
            running.remove(item)

    running: list[int] = []
    most: list[int] = []
    first = Counts()
    first >> [Counts(), Counts()]
    with Slots(3):
        await soon(pf.AsyncFlow(first).run_async({"items": range(5)}))
    assert (max(most), len(most)) == (3, 15)


# A cache


class Cache(Hook):
    """The result of an exec stands for every other with the same name and input."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}

    def on_start(self, step: Step) -> Skip | None:
        key = f"{step.name} {step.input!r}"
        return Skip(self.results[key]) if step.kind == "exec" and key in self.results else None

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "exec":
            self.results[f"{step.name} {step.input!r}"] = result


def test_a_cache_spares_the_calls_it_knows(kit: SyncKit):
    class Calls(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

        def exec(self, item: Any) -> Any:
            calls.append(item)
            return item * 2

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    calls: list[str] = []
    kit.hooks = (Cache(),)
    assert kit.run(Calls(), {"items": "ab"}) == ["aa", "bb"]
    assert kit.run(kit.Flow(Calls()), {"items": "abc"}) == ["aa", "bb", "cc"]
    assert calls == ["a", "b", "c"]


# A progress bar


class Bar(Hook):
    """Draws how many items of a batch are done, each time that one is."""

    def __init__(self) -> None:
        self.begun, self.done, self.drawn = 0, 0, [""]

    def on_start(self, step: Step) -> None:
        self.begun += step.kind == "exec"

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "exec":
            self.done += 1
            self.drawn.append("#" * self.done + "." * (self.begun - self.done))


async def test_a_progress_bar_draws_what_is_done():
    with Bar() as bar:
        await Double().run_async({"items": range(3)})
    assert bar.drawn == ["", "#..", "##.", "###"]


# A small journal


class SmallJournal(Hook):
    """Keeps the result of every exec in a file of JSON lines, and does none of them twice."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.known = dict(json.loads(line) for line in lines)

    def on_start(self, step: Step) -> Skip | None:
        return Skip(self.known[step.path]) if step.kind == "exec" and step.path in self.known else None

    def on_end(self, step: Step, result: Any) -> None:
        if step.kind == "exec" and not step.skipped:
            with self.file.open("a") as file:
                file.write(json.dumps([step.path, result]) + "\n")


def test_a_small_journal_resumes_where_a_run_broke_off(kit: SyncKit, tmp_path: Path):
    class Works(kit.BatchNode):
        name = "works"

        def prep(self, shared: Any) -> Any:
            return range(4)

        def exec(self, item: int) -> Any:
            calls.append(item)
            if item == 2 and calls.count(2) == 1:
                raise OSError("the power is gone")
            return item * 2

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    calls: list[int] = []
    Works.max_concurrency = 1
    kit.hooks = (SmallJournal(tmp_path / "run.jsonl"),)
    with pytest.raises(OSError, match="the power is gone"):
        kit.run(kit.Flow(Works()))
    kit.hooks = (SmallJournal(tmp_path / "run.jsonl"),)
    assert kit.run(kit.Flow(Works())) == [0, 2, 4, 6]
    assert calls == [0, 1, 2, 2, 3]


# Several at once


async def test_they_can_be_installed_together():
    shared: dict[str, Any] = {"items": [1, 1, 2]}
    with Slots(1), Cache() as cache, Bar() as bar:
        await soon(Double(max_concurrency=1).run_async(shared))
    assert shared["results"] == [2, 2, 4]
    assert cache.results == {"Double 1": 2, "Double 2": 4}
    assert bar.done == 3
