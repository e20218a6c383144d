"""Runs, their journal, other processes and several clients meet at the same moment."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pocketflow import AsyncNode, Flow, Node
from pocketflow.hooks import Hook, Step
from pocketflow.journal import Journal

pytest.importorskip("starlette", reason="pocketflow.serve needs starlette")
from pocketflow.serve import Conflict, NotFound, Runs
from pocketflow.serve.sse import woken_by
from tests.core.nodes import settle
from tests.serve.flows import Ask, Count, Gate, Usage, Words, branches, chain
from tests.serve.watching import PATIENCE, named, until, watched


async def stopped(runs: Runs, run_id: str) -> dict[str, Any]:
    """How a run stands when it has stopped."""
    await watched(runs.watch(run_id))
    return await runs.get(run_id)


# Other processes on the same journal


async def test_what_another_process_did_with_a_run_that_paused_here_is_seen_at_once(tmp_path: Path):
    flow = chain(Usage(), Ask())
    async with Runs(tmp_path / "runs.db", {"ask": flow}) as runs:
        await runs.start("ask", {}, "one")
        assert (await stopped(runs, "one"))["status"] == "paused"
        with Journal(tmp_path / "runs.db") as there:
            there.answer("one", "yes")
            assert (await runs.summary("one"))["questions"] == []
            await there.run_async(flow, {}, run_id="one")
            assert [run["status"] for run in await runs.list()] == ["finished"]
            assert (await runs.get("one"))["nodes"]["AsyncFlow/Ask"]["state"] == "done"
            there.delete("one")
            assert await runs.list() == []
            with pytest.raises(NotFound):
                await runs.get("one")


async def test_a_page_hears_that_another_process_has_deleted_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pocketflow.serve.runs.POLL", 0.01)
    flow = chain(Count())
    with Journal(tmp_path / "runs.db") as there:
        await there.run_async(flow, {}, run_id="one")
        async with Runs(tmp_path / "runs.db", {"count": flow}) as runs:
            page = runs.watch_all()
            await until(page, named("runs"))
            async with asyncio.timeout(PATIENCE):
                while not runs.seen:
                    await woken_by(runs.news.bell)
            there.delete("one")
            assert (await until(page, named("deleted")))[-1]["run_id"] == "one"
            await page.aclose()


class Deleting(Journal):
    """A journal whose runs are deleted by another process before their history is read."""

    def history(self, run_id: str) -> list[dict[str, Any]]:
        self.delete(run_id)
        return super().history(run_id)


async def test_a_run_that_is_deleted_while_it_is_read_is_not_found(tmp_path: Path):
    with Deleting(tmp_path / "runs.db") as journal:
        for ask in (Runs.get, Runs.history, Runs.store, Runs.trace):
            journal.create(flow := chain(Count()), {}, run_id="one")
            async with Runs(journal, {"count": flow}) as runs:
                with pytest.raises(NotFound, match="there is no run 'one'"):
                    await ask(runs, "one")


async def test_the_tag_flow_of_another_program_may_be_anything(tmp_path: Path):
    flow = chain(Count())
    with Journal(tmp_path / "runs.db") as there:
        await there.run_async(flow, {}, run_id="one", tags={"flow": ["not", "a", "name"]})
    async with Runs(tmp_path / "runs.db", {"count": flow}) as runs:
        assert [run["flow"] for run in await runs.list()] == [None]
        assert (await runs.get("one"))["flow"] == "count"


async def test_a_flow_that_has_changed_is_told_before_a_run_goes_on_and_before_an_answer_is_taken(tmp_path: Path):
    async with Runs(tmp_path / "runs.db", {"ask": chain(Count(), Ask())}) as runs:
        await runs.start("ask", {}, "one")
        await stopped(runs, "one")
    async with Runs(tmp_path / "runs.db", {"ask": chain(Count(), Words(), Ask())}) as runs:
        for refused in (runs.resume("one"), runs.answer("one", "yes")):
            with pytest.raises(Conflict, match="the graph of .one. changed.* .in a shell --allow-changes.$"):
                await refused
        state = await runs.get("one")
        assert (state["status"], len(state["questions"])) == ("paused", 1)
    async with Runs(tmp_path / "runs.db", {"ask": chain(Count(), Ask())}) as runs:
        await runs.answer("one", "yes")
        assert (await stopped(runs, "one"))["status"] == "finished"


# Several clients


async def test_an_id_that_is_refused_takes_nothing_from_the_run_that_has_it():
    async with Runs(flows={"words": chain(Words())}) as runs:
        await runs.start("words", {}, "one")
        first = await watched(runs.watch("one"))
        with pytest.raises(Conflict, match="choose another run_id"):
            await runs.start("words", {}, "one")
        assert await watched(runs.watch("one")) == first


async def test_a_run_that_is_deleted_and_started_at_once_is_not_lost():
    flow = chain(Words(gate=Gate()))
    async with Runs(flows={"words": flow}) as runs:
        for number in range(30):
            run_id = f"run-{number}"
            await runs.start("words", {}, run_id)
            await runs.cancel(run_id)
            commands = runs.delete(run_id), runs.start("words", {}, run_id), runs.resume(run_id)
            await asyncio.gather(*commands, return_exceptions=True)
            running = {run["run_id"] for run in runs.journal.runs(status="running")}
            assert running <= {it for it in runs.lives if runs.is_active(it)}
            if runs.is_active(run_id):
                await runs.cancel(run_id)


class Together(Ask):
    """Asks when all others are about to ask."""

    barrier: Any = None

    async def prep_async(self, shared: Any) -> None:
        if self.barrier:
            await self.barrier.wait()


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
async def test_two_questions_are_answered_at_once_by_two_clients(order: tuple[str, str]):
    Together.barrier = asyncio.Barrier(2)
    async with Runs(flows={"ask": branches(Together(name="A"), Together(name="B"))}) as runs:
        await runs.start("ask", {}, "one")
        state = await stopped(runs, "one")
        Together.barrier = None
        asked = {it["question"]: it["path"] for it in state["questions"]}
        assert set(asked) == {"A?", "B?"}
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(runs.answer("one", name, asked[f"{name}?"]) for name in order))
        assert (await stopped(runs, "one"))["status"] == "finished"
        assert (await runs.store("one"))["store"] == {"A": "A", "B": "B"}


# What is around a run


class Starts(AsyncNode):
    """Starts another run, as code of a node may do."""

    runs: Any = None

    async def exec_async(self, prep_res: Any) -> Any:
        return await self.runs.start("words", {}, "inner")


async def test_a_run_that_a_node_starts_is_a_run_of_its_own():
    gate = Gate()
    async with Runs(flows={"starts": chain(Starts()), "words": chain(Words(gate=gate))}) as runs:
        Starts.runs = runs
        await runs.start("starts", {}, "outer")
        assert set((await stopped(runs, "outer"))["nodes"]) == {"AsyncFlow", "AsyncFlow/Starts"}
        await asyncio.wait_for(gate.reached.wait(), PATIENCE)
        gate.open.set()
        state = await stopped(runs, "inner")
        assert (state["status"], set(state["nodes"])) == ("finished", {"AsyncFlow", "AsyncFlow/Words"})


async def test_hooks_around_runs_see_all_of_them():
    class Names(Hook):
        def __init__(self) -> None:
            self.names = list[str]()

        def on_start(self, step: Step) -> None:
            if step.kind == "node":
                self.names.append(step.path)

    with Names() as names:
        async with Runs(flows={"count": chain(Count())}) as runs:
            await stopped(runs, await runs.start("count", {}))
    assert names.names == ["AsyncFlow/0:Count"]


async def test_runs_that_are_started_with_one_store_do_not_meet_in_it():
    shared = {"list": [1]}
    flow = chain(Count())
    async with Runs(flows={"count": flow}, limit=1) as runs:
        ids = [await runs.start("count", shared) for _ in range(3)]
        shared["list"].append(2)
        assert [(await stopped(runs, run_id))["status"] for run_id in ids] == ["finished"] * 3
        stores = [(await runs.store(run_id))["store"]["list"] for run_id in ids]
        assert stores == ["[\n 1\n]"] * 3
        assert shared == {"list": [1, 2]}


async def test_what_the_journal_excludes_reaches_the_run(tmp_path: Path):
    class Uses(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["said"] = shared["client"]()

    with Journal(tmp_path / "runs.db", exclude=["client"]) as journal:
        async with Runs(journal, {"uses": chain(Uses())}) as runs:
            run_id = await runs.start("uses", {"client": lambda: "hello"})
            assert (await stopped(runs, run_id))["error"] is None
            assert (await runs.store(run_id))["store"] == {"said": "hello"}


async def test_a_run_that_starts_while_all_is_closed_does_not_run(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        runs = Runs(journal, {"count": chain(counted := Count([]))})
        starting = asyncio.create_task(runs.start("count", {}, "one"))
        await asyncio.sleep(0)  # now the journal is asked
        assert await runs.close() == []
        await asyncio.wait_for(starting, PATIENCE)
        await asyncio.wait_for(runs.lives["one"].stopped.wait(), PATIENCE)
        assert ([run["status"] for run in journal.runs()], counted.counted) == (["interrupted"], [])


async def test_a_sync_node_that_is_stopped_while_it_is_tried_again_is_not_tried_any_more():
    attempts = list[int]()
    reached, is_open = threading.Event(), threading.Event()

    class Fails(Node):
        def exec(self, prep_res: Any) -> None:
            attempts.append(self.cur_retry)
            reached.set()
            assert is_open.wait(PATIENCE)
            raise LookupError("nothing there")

    async with Runs(flows={"fails": Flow(Fails(max_retries=5))}) as runs:
        run_id = await runs.start("fails", {})
        assert await asyncio.to_thread(reached.wait, PATIENCE)
        stopping = asyncio.create_task(runs.cancel(run_id))
        await settle()
        is_open.set()
        await asyncio.wait_for(stopping, PATIENCE)
        assert ((await runs.get(run_id))["status"], attempts) == ("interrupted", [0])


async def test_runs_are_told_while_nodes_fill_all_threads_of_the_loop():
    class Blocks(AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            reached.set()
            await asyncio.to_thread(is_open.wait, PATIENCE)

    reached, is_open = asyncio.Event(), threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    async with Runs(flows={"blocks": chain(Blocks())}) as runs:
        try:
            run_id = await runs.start("blocks", {})
            await asyncio.wait_for(reached.wait(), PATIENCE)
            assert len(await asyncio.wait_for(runs.list(), PATIENCE / 4)) == 1
        finally:
            is_open.set()
        assert (await stopped(runs, run_id))["status"] == "finished"
