"""Runs outlive those who watch them, and can be stopped, answered, resumed, forked and deleted."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pocketflow import AsyncFlow, AsyncNode
from pocketflow.hooks import emit
from pocketflow.journal import Journal, pause

pytest.importorskip("starlette", reason="pocketflow.serve needs starlette")
from pocketflow.serve import Busy, Conflict, NotFound, Problem, Runs
from pocketflow.serve.sse import Buffer, woken_by
from tests.core.nodes import settle
from tests.serve.flows import Ask, Count, Fail, Gate, Hold, Usage, Words, branches, chain, sync
from tests.serve.watching import PATIENCE, changes, ended, messages, named, of_type, until, watched


class Busily(AsyncNode):
    """Says something every few milliseconds, until it is stopped."""

    async def exec_async(self, prep_res):
        while True:
            await asyncio.sleep(0.005)
            yield "word "


async def stopped(runs: Runs, run_id: str) -> dict[str, Any]:
    """How a run stands when it has stopped."""
    await watched(runs.watch(run_id))
    return await runs.get(run_id)


# Starting and watching


async def test_a_run_is_started_watched_and_finished():
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        seen = await watched(runs.watch(run_id))
        assert "".join(event["chunk"] for event in seen if event["type"] == "chunk") == "to be or not"
        assert [event["changes"]["run"]["status"] for event in seen if event["type"] == "status"] == [
            "waiting", "running", "finished",
        ]  # fmt: skip
        assert seen[-1] == ended("finished")
        assert (await runs.store(run_id))["store"] == {"Words": "to be or not"}


async def test_a_run_goes_on_when_nobody_watches_it_any_more():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        watcher = runs.watch(run_id)
        await until(watcher, of_type("chunk"))
        await watcher.aclose()
        gate.open.set()
        assert (await stopped(runs, run_id))["status"] == "finished"


async def test_every_watcher_gets_all_from_the_event_on_that_it_asks_for():
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        first = await watched(runs.watch(run_id))
        again = await watched(runs.watch(run_id))
        assert again == first
        for number, event in enumerate(first[:-1]):
            assert await watched(runs.watch(run_id, event["sse_id"])) == first[number + 1 :]


async def test_ids_count_the_events_of_a_run():
    async with Runs(flows={"words": chain(Words())}) as runs:
        seen = await watched(runs.watch(await runs.start("words", {})))
        lives, numbers = zip(*(event["sse_id"].split("-") for event in seen[:-1]), strict=True)
        assert len(set(lives)) == 1
        assert [int(number) for number in numbers] == [*range(len(seen) - 1)]


async def test_what_is_not_kept_any_more_is_told_as_a_gap():
    async with Runs(flows={"words": chain(Words("a " * 200))}, keep=2000) as runs:
        run_id = await runs.start("words", {})
        await watched(runs.watch(run_id))
        late = await watched(runs.watch(run_id))
        assert late[0]["type"] == "gap"
        assert [event["type"] for event in late].count("gap") == 1
        assert 1 < len(late) < 100


async def test_what_is_kept_goes_out_in_pieces_as_who_comes_late_may_not_read_them():
    buffer = Buffer(keep=2_000_000)
    for _ in range(100):
        buffer.add({"text": "." * 10_000})
    number, pieces = 0, list[bytes]()
    while number < buffer.end:
        number, piece = buffer.since(number)
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(buffer.messages)
    assert max(map(len, pieces)) < 100_000


async def test_events_of_another_life_are_a_gap():
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        all_of_them = await watched(runs.watch(run_id))
        assert (await watched(runs.watch(run_id, "before-7")))[1:] == all_of_them


@pytest.mark.parametrize("id", ["", "x", "-", "-1", "x-99999", "x-²", "x--1"])
async def test_no_id_breaks_a_watcher(id: str):
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        seen = await watched(runs.watch(run_id, id))
        assert (seen[0]["type"], seen[-1]["type"]) == ("gap", "end")


async def test_the_events_of_a_run_that_is_only_in_the_journal_are_a_gap(tmp_path: Path):
    flow = chain(Words())
    async with Runs(tmp_path / "runs.db", {"words": flow}) as runs:
        await runs.start("words", {}, "one")
        await watched(runs.watch("one"))
    async with Runs(tmp_path / "runs.db", {"words": flow}) as runs:
        assert [event["type"] for event in await watched(runs.watch("one"))] == ["gap", "end"]


async def test_a_silent_run_sends_heartbeats():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}, heartbeat=0.01) as runs:
        run_id = await runs.start("words", {})
        async with asyncio.timeout(PATIENCE):
            async for message in runs.watch(run_id):
                if message == b": \n\n":
                    break
        gate.open.set()


async def test_a_silent_run_sends_heartbeats_beside_one_that_is_not():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate)), "busy": chain(Busily())}, heartbeat=0.05) as runs:
        silent, _ = await runs.start("words", {}), await runs.start("busy", {})
        async with asyncio.timeout(PATIENCE):
            async for message in runs.watch(silent):
                if message == b": \n\n":
                    break
        gate.open.set()


async def test_results_of_exec_are_told_where_nothing_was_streamed():
    async with Runs(flows={"both": chain(Count(), Words())}) as runs:
        seen = await watched(runs.watch(await runs.start("both", {})))
        assert [event["changes"]["output"]["text"] for event in seen if event["type"] == "result"] == ["Count 1"]


# Who may run


async def test_an_id_that_exists_is_refused():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        await runs.start("words", {}, "one")
        with pytest.raises(Conflict, match="'one' runs already"):
            await runs.start("words", {}, "one")
        gate.open.set()
        await stopped(runs, "one")
        with pytest.raises(Conflict, match="there is a run 'one' already: choose another run_id"):
            await runs.start("words", {}, "one")


async def test_of_two_who_start_one_id_at_once_one_starts_it():
    async with Runs(flows={"words": chain(Words())}) as runs:
        both = await asyncio.gather(*(runs.start("words", {}, "one") for _ in range(2)), return_exceptions=True)
        assert sorted(type(it).__name__ for it in both) == ["Conflict", "str"]


@pytest.mark.parametrize("run_id", ["", " ", "../x", "a/b", ".", "-x", "x" * 201, "a\nb", 7])
async def test_an_id_that_no_address_can_hold_is_refused(run_id: Any):
    async with Runs(flows={"words": chain(Words())}) as runs:
        with pytest.raises(Problem, match="write up to 200 letters"):
            await runs.start("words", {}, run_id)


async def test_what_is_not_there_is_not_found():
    async with Runs(flows={"words": chain(Words())}) as runs:
        with pytest.raises(NotFound, match="there is no flow 'letters': the flows are words"):
            await runs.start("letters", {})
        for ask in (
            runs.get,
            runs.summary,
            runs.history,
            runs.store,
            runs.trace,
            runs.resume,
            runs.cancel,
            runs.delete,
        ):
            with pytest.raises(NotFound, match="there is no run 'one'"):
                await ask("one")
        with pytest.raises(NotFound):
            await runs.answer("one", "yes")
        with pytest.raises(NotFound):
            await watched(runs.watch("one"))


async def test_a_store_that_cannot_be_kept_is_refused_and_takes_no_place():
    async with Runs(flows={"words": chain(Words())}, limit=1, waiting=0) as runs:
        with pytest.raises(Problem, match="object"):
            await runs.start("words", {"x": object()})
        assert (await stopped(runs, await runs.start("words", {})))["status"] == "finished"


async def test_what_is_beyond_the_limit_waits_and_what_is_beyond_that_is_refused():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}, limit=2, waiting=1) as runs:
        started = [await runs.start("words", {}) for _ in range(3)]
        with pytest.raises(Busy, match=r"the server is full \(2 running, 1 waiting\): try again later"):
            await runs.start("words", {})
        await until(runs.watch(started[1]), of_type("chunk"))
        statuses = [(await runs.get(run_id))["status"] for run_id in started]
        assert statuses == ["running", "running", "waiting"]
        gate.open.set()
        assert [(await stopped(runs, run_id))["status"] for run_id in started] == ["finished"] * 3
        await runs.start("words", {})


async def test_a_run_that_waits_is_in_the_journal_already(tmp_path: Path):
    gate = Gate()
    async with Runs(tmp_path / "runs.db", {"words": chain(Words(gate=gate))}, limit=1) as runs:
        await runs.start("words", {}, "first")
        await runs.start("words", {"x": 1}, "second")
        with Journal(tmp_path / "runs.db") as journal:
            assert journal.load("second") == {"x": 1}


# Stopping, and going on


async def test_a_run_that_is_stopped_is_interrupted_and_can_be_resumed():
    gate, counted = Gate(), list[str]()
    async with Runs(flows={"words": chain(Count(counted), Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        await runs.cancel(run_id)
        assert (await runs.get(run_id))["status"] == "interrupted"
        gate.open.set()
        await runs.resume(run_id)
        assert (await stopped(runs, run_id))["status"] == "finished"
        assert counted == ["Count"]


async def test_a_run_that_waits_for_its_turn_can_be_stopped():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}, limit=1) as runs:
        await runs.start("words", {}, "first")
        await runs.start("words", {}, "second")
        await runs.cancel("second")
        assert (await runs.get("second"))["status"] == "interrupted"
        gate.open.set()
        await stopped(runs, "first")
        await runs.resume("second")
        assert (await stopped(runs, "second"))["status"] == "finished"


async def test_a_run_that_is_stopped_as_it_waits_to_go_on_stands_as_before():
    gate = Gate()
    flows = {"words": chain(Words(gate=gate)), "fail": chain(Count(), Fail())}
    async with Runs(flows=flows, limit=1) as runs:
        await runs.start("fail", {}, "second")
        await stopped(runs, "second")
        await runs.start("words", {}, "first")
        await gate.reached.wait()
        await runs.resume("second")
        await runs.cancel("second")
        state = await runs.get("second")
        assert (state["status"], state["nodes"]["AsyncFlow/Count"]["state"]) == ("failed", "done")
        assert [output["text"] for output in state["outputs"]] == ["Count 1"]
        gate.open.set()


async def test_what_has_stopped_cannot_be_stopped():
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        await stopped(runs, run_id)
        with pytest.raises(Conflict, match="is finished, and does not run here: there is nothing to stop"):
            await runs.cancel(run_id)


async def test_what_is_finished_or_runs_cannot_be_resumed():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        with pytest.raises(Conflict, match="is running already: watch it"):
            await runs.resume(run_id)
        gate.open.set()
        await stopped(runs, run_id)
        with pytest.raises(Conflict, match="is finished already: fork it"):
            await runs.resume(run_id)


async def test_a_run_that_failed_says_why_and_where_and_can_be_resumed():
    async with Runs(flows={"fail": chain(Count(), Fail())}) as runs:
        run_id = await runs.start("fail", {})
        state = await stopped(runs, run_id)
        assert state["status"] == "failed"
        assert state["error"].startswith("LookupError: nothing there")
        assert {id: node["state"] for id, node in state["nodes"].items()} == {
            "AsyncFlow": "failed", "AsyncFlow/Count": "done", "AsyncFlow/Fail": "failed",
        }  # fmt: skip
        await runs.resume(run_id)
        assert (await stopped(runs, run_id))["nodes"]["AsyncFlow/Count"]["state"] == "restored"


async def test_the_log_has_the_traceback_of_a_run_that_failed(caplog: pytest.LogCaptureFixture):
    async with Runs(flows={"fail": chain(Fail())}) as runs:
        await runs.start("fail", {}, "monday")
        await stopped(runs, "monday")
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("pocketflow.serve.runs", "monday failed")
    assert "in exec_async" in caplog.text


async def test_a_sync_flow_ends_with_the_step_at_which_it_is_stopped():
    hold, after = Hold(), Hold()
    async with Runs(flows={"hold": sync(hold, after)}) as runs:
        run_id = await runs.start("hold", {})
        await asyncio.to_thread(hold.reached.wait, PATIENCE)
        stopping = asyncio.create_task(runs.cancel(run_id))
        await settle()
        hold.open.set()
        await stopping
        assert (await runs.get(run_id))["status"] == "interrupted"
        assert not after.reached.is_set()


async def test_a_run_that_cannot_stop_at_once_is_stopping_until_it_has_stopped():
    hold = Hold()
    async with Runs(flows={"hold": sync(hold, Hold())}) as runs:
        run_id = await runs.start("hold", {})
        await asyncio.to_thread(hold.reached.wait, PATIENCE)
        try:
            for _ in range(2):
                await runs.cancel(run_id, grace=0.01)
                assert (await runs.get(run_id))["status"] == "stopping"
            with pytest.raises(Conflict, match="is stopping already: resume it when it has stopped"):
                await runs.resume(run_id)
        finally:
            hold.open.set()
        seen = [event["changes"]["run"] for event in await watched(runs.watch(run_id)) if event["type"] == "status"]
        assert [run["status"] for run in seen] == ["waiting", "running", "stopping", "interrupted"]
        assert seen[-1]["error"] is None


async def test_why_a_run_ended_is_told_also_where_the_journal_cannot_write_it():
    async with Runs(flows={"odd": chain(Words(name="\ud800"))}) as runs:
        state = await stopped(runs, await runs.start("odd", {}))
        assert "names and ids have to be text that UTF-8 can write" in state["error"]


async def test_a_node_that_calls_sys_exit_fails_its_run_alone():
    class Exit(AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            raise SystemExit(3)

    async with Runs(flows={"exit": chain(Exit()), "words": chain(Words())}) as runs:
        state = await stopped(runs, await runs.start("exit", {}))
        assert state["status"] == "failed"
        assert "Exit raised SystemExit(3): raise an Exception in a server" in state["error"]
        assert (await stopped(runs, await runs.start("words", {})))["status"] == "finished"


async def test_closing_stops_all_runs_and_ends_all_watching(tmp_path: Path):
    gate, flow = Gate(), None
    flow = chain(Words(gate=gate))
    runs = Runs(tmp_path / "runs.db", {"words": flow}, limit=1)
    await runs.start("words", {}, "running")
    await runs.start("words", {}, "waiting")
    await gate.reached.wait()
    watching = [asyncio.create_task(watched(runs.watch(run_id))) for run_id in ("running", "waiting")]
    page = asyncio.create_task(watched(runs.watch_all("running")))
    await asyncio.sleep(0)
    assert await runs.close() == []
    for watcher in watching:
        assert (await watcher)[-1] == ended("interrupted")
    await page
    with pytest.raises(Busy, match="the server is closing"):
        await runs.start("words", {})
    gate.open.set()
    async with Runs(tmp_path / "runs.db", {"words": flow}) as again:
        assert {run["run_id"]: run["status"] for run in await again.list()} == {
            "running": "interrupted", "waiting": "interrupted",
        }  # fmt: skip
        for run_id in ("running", "waiting"):
            await again.resume(run_id)
            assert (await stopped(again, run_id))["status"] == "finished"


async def test_what_was_asked_of_the_journal_is_answered_before_it_is_closed(tmp_path: Path):
    runs = Runs(tmp_path / "runs.db", {"words": chain(Words())})
    await stopped(runs, await runs.start("words", {}, "one"))
    asked, is_open = runs.journal.runs, threading.Event()
    runs.journal.runs = lambda **options: is_open.wait(PATIENCE) and asked(**options)  # type: ignore[method-assign]  # a slow one
    listing, closing = asyncio.create_task(runs.list()), asyncio.create_task(runs.close())
    await settle()
    is_open.set()
    assert ([run["run_id"] for run in await listing], await closing) == (["one"], [])
    with pytest.raises(Busy, match="the server is closing"):
        await runs.list()


async def test_closing_names_the_runs_whose_step_outlives_the_grace():
    hold = Hold()
    runs = Runs(flows={"hold": sync(hold)}, grace=0.01)
    run_id = await runs.start("hold", {})
    await asyncio.to_thread(hold.reached.wait, PATIENCE)
    watching = asyncio.create_task(watched(runs.watch(run_id)))
    await asyncio.sleep(0)
    try:
        assert await runs.close() == [run_id]
        assert (await watching)[-1] == ended("interrupted")
    finally:
        hold.open.set()
        async with asyncio.timeout(PATIENCE):
            await runs.lives[run_id].stopped.wait()
        assert await runs.close() == []


async def test_the_last_event_tells_how_what_was_being_said_was_left():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        await runs.cancel(run_id)
        [*_, last, _] = await watched(runs.watch(run_id))
        assert (last["type"], last["changes"]["run"]["status"]) == ("status", "interrupted")
        assert last["changes"]["outputs"] == [{"slot": "AsyncFlow/Words", "state": "stopped"}]
        assert last["changes"]["run"]["error"] is None


# Questions


async def test_a_question_is_answered_and_the_run_goes_on():
    async with Runs(flows={"ask": chain(Ask(["yes", "no"]), Words())}) as runs:
        run_id = await runs.start("ask", {})
        state = await stopped(runs, run_id)
        assert state["status"] == "paused"
        assert state["nodes"]["AsyncFlow/Ask"]["state"] == "waiting"
        [question] = state["questions"]
        assert (question["question"], question["choices"]) == ("Ask?", ["yes", "no"])
        await runs.answer(run_id, "yes", by="ada")
        assert (await stopped(runs, run_id))["status"] == "finished"
        assert (await runs.store(run_id))["store"]["Ask"] == "yes"
        [answer] = [row for row in await runs.history(run_id) if row["kind"] == "answer"]
        assert (answer["value"], answer["by"]) == ("yes", "ada")


async def test_who_answers_the_moment_the_question_is_asked_is_heard():
    async with Runs(flows={"ask": chain(Ask())}) as runs:
        run_id = await runs.start("ask", {})
        [*_, asked] = await until(runs.watch(run_id), of_type("pause"))
        await runs.answer(run_id, "yes", path=asked["path"])
        assert (await stopped(runs, run_id))["status"] == "finished"


async def test_of_two_answers_at_once_one_counts_and_the_other_is_told():
    async with Runs(flows={"ask": chain(Ask())}) as runs:
        run_id = await runs.start("ask", {})
        await stopped(runs, run_id)
        both = await asyncio.gather(runs.answer(run_id, "a"), runs.answer(run_id, "b"), return_exceptions=True)
        assert [type(it) for it in both] == [type(None), Conflict]
        await stopped(runs, run_id)
        assert (await runs.store(run_id))["store"]["Ask"] == "a"


async def test_an_answer_that_is_not_one_of_the_choices_is_refused():
    async with Runs(flows={"ask": chain(Ask([1, 2]))}) as runs:
        run_id = await runs.start("ask", {})
        await stopped(runs, run_id)
        with pytest.raises(Problem, match=r"3 is not an answer: the choices are \[1, 2\]"):
            await runs.answer(run_id, 3)
        assert len((await runs.get(run_id))["questions"]) == 1


async def test_a_question_that_is_asked_one_after_the_other_is_answered_each_time():
    class Twice(AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            return [pause("first?"), pause("second?")]

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["answers"] = exec_res

    async with Runs(flows={"twice": chain(Twice())}) as runs:
        run_id = await runs.start("twice", {})
        for answer in ("a", "b"):
            assert (await stopped(runs, run_id))["status"] == "paused"
            await runs.answer(run_id, answer)
        await stopped(runs, run_id)
        assert (await runs.store(run_id))["store"]["answers"] == '[\n "a",\n "b"\n]'


async def test_a_question_outlives_the_server(tmp_path: Path):
    flow = chain(Count(counted := []), Ask())
    async with Runs(tmp_path / "runs.db", {"ask": flow}) as runs:
        await stopped(runs, await runs.start("ask", {}, "one"))
    async with Runs(tmp_path / "runs.db", {"ask": flow}) as runs:
        state = await runs.get("one")
        assert (state["status"], len(state["questions"])) == ("paused", 1)
        assert state["nodes"]["AsyncFlow/Ask"]["state"] == "waiting"
        await runs.answer("one", "yes")
        assert (await stopped(runs, "one"))["status"] == "finished"
        assert counted == ["Count"]


# The past


async def test_a_fork_runs_from_a_row_of_the_history():
    async with Runs(flows={"two": chain(Count(counted := []), Words())}) as runs:
        run_id = await runs.start("two", {"x": 1})
        await stopped(runs, run_id)
        counted_at = next(row["n"] for row in await runs.history(run_id) if row["path"] == "AsyncFlow/0:Count")
        fork = await runs.fork(run_id, counted_at)
        state = await runs.get(fork)
        assert (state["status"], state["fork_of"]) == ("interrupted", {"run_id": run_id, "n": counted_at})
        await runs.resume(fork)
        assert (await stopped(runs, fork))["status"] == "finished"
        assert counted == ["Count"]
        assert (await runs.store(fork))["store"] == {"x": "1", "count": "Count 1", "Words": "to be or not"}


async def test_the_store_is_seen_as_it_was_with_what_each_row_changed():
    class Change(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["new"], shared["old"] = 1, 2
            del shared["gone"]

    async with Runs(flows={"change": chain(Change())}) as runs:
        run_id = await runs.start("change", {"old": 1, "gone": 1})
        await stopped(runs, run_id)
        n = next(row["n"] for row in await runs.history(run_id) if row["kind"] == "node")
        before, after = await runs.store(run_id, n - 1), await runs.store(run_id, n)
        assert (before["n"], before["store"], before["changes"]) == (n - 1, {"old": "1", "gone": "1"}, {})
        assert (after["n"], after["store"]) == (n, {"old": "2", "new": "1"})
        assert after["changes"] == {"old": "changed", "new": "added", "gone": "removed"}
        assert [then["nodes"]["AsyncFlow/Change"]["state"] for then in (before, after)] == ["running", "done"]
        with pytest.raises(NotFound, match="has no row 99"):
            await runs.store(run_id, 99)


async def test_a_history_says_which_node_each_row_is_of():
    async with Runs(flows={"two": branches(Count(name="a"), Count(name="b"))}) as runs:
        run_id = await runs.start("two", {})
        await stopped(runs, run_id)
        rows = {row["path"]: row["id"] for row in await runs.history(run_id) if row["kind"] == "exec"}
        graph = {node["name"]: node["id"] for node in runs.flows["two"].described()["nodes"]}
        assert sorted(rows.values()) == [graph["a"], graph["b"]]


async def test_a_timeline_is_a_page_of_its_own():
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        await stopped(runs, run_id)
        page = await runs.trace(run_id)
        assert page.lower().startswith("<!doctype html>")
        assert "Words" in page


def drawn(page: str) -> dict[str, Any]:
    """The columns of numbers in a timeline, whose times are microseconds."""
    found = re.search(r">({.*})</script>", page)
    assert found
    return dict(json.loads(found[1]))


async def test_in_a_timeline_what_runs_still_has_lasted_until_now(tmp_path: Path):
    gate = Gate()
    with Journal(tmp_path / "runs.db") as journal:
        journal.clock = lambda: datetime.now(UTC) - timedelta(hours=2)
        async with Runs(journal, {"two": chain(Count(), Words(gate=gate))}) as runs:
            run_id = await runs.start("two", {})
            await gate.reached.wait()
            running = drawn(await runs.trace(run_id))
            await runs.cancel(run_id)
            ended_run = drawn(await runs.trace(run_id))
        of_flow, microseconds = running["name"].index(running["words"].index("AsyncFlow")), 3_600_000_000
        assert running["time"][of_flow] > microseconds > ended_run["time"][of_flow]


async def test_a_run_is_deleted_with_its_past():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        with pytest.raises(Conflict, match="runs: stop it first"):
            await runs.delete(run_id)
        gate.open.set()
        await stopped(runs, run_id)
        await runs.delete(run_id)
        assert await runs.list() == []
        await runs.start("words", {}, run_id)


async def test_what_a_run_took_is_counted_over_its_stops():
    async with Runs(flows={"usage": chain(Usage(), Ask(), Usage())}) as runs:
        run_id = await runs.start("usage", {})
        assert (await stopped(runs, run_id))["tokens"] == {"input": 10, "output": 2}
        await runs.answer(run_id, 1)
        assert (await stopped(runs, run_id))["tokens"] == {"input": 20, "output": 4}


async def test_what_a_run_took_is_known_to_the_next_server(tmp_path: Path):
    flows = {"usage": chain(Usage(), Ask(), Usage())}
    async with Runs(tmp_path / "runs.db", flows) as runs:
        await stopped(runs, await runs.start("usage", {}, "one"))
    async with Runs(tmp_path / "runs.db", flows) as runs:
        assert (await runs.get("one"))["tokens"] == {"input": 10, "output": 2}
        await runs.answer("one", 1)
        assert (await stopped(runs, "one"))["tokens"] == {"input": 20, "output": 4}


async def test_an_ended_run_is_forgotten_after_a_while_but_for_the_journal():
    async with Runs(flows={"words": chain(Words())}, linger=0.0) as runs:
        run_id = await runs.start("words", {})
        live = runs.lives[run_id]
        await watched(runs.watch(run_id))
        async with asyncio.timeout(PATIENCE):
            while runs.lives:
                await woken_by(live.buffer.bell)
        assert (await runs.get(run_id))["event"] is None
        assert (await runs.get(run_id))["status"] == "finished"


class Break(AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        yield "as far as "
        raise ConnectionError


async def let_go(runs: Runs, run_id: str) -> None:
    """Wait until the events of a run that has stopped are no longer kept."""
    await watched(runs.watch(run_id))
    async with asyncio.timeout(PATIENCE):
        while run_id in runs.lives and runs.lives[run_id].buffer.messages:
            await settle()


async def test_where_a_run_failed_and_what_it_had_said_is_known_longer_than_its_events_are_kept():
    async with Runs(flows={"fail": chain(Count(), Break())}, linger=0.0) as runs:
        run_id = await runs.start("fail", {})
        await let_go(runs, run_id)
        state = await runs.get(run_id)
        assert [event["type"] for event in await watched(runs.watch(run_id))] == ["gap", "end"]
        assert [event["type"] for event in await watched(runs.watch(run_id, state["event"]))] == ["end"]
        assert state["nodes"]["AsyncFlow/Break"]["state"] == "failed"
        assert {it["text"]: it["state"] for it in state["outputs"]} == {"Count 1": "done", "as far as ": "failed"}
        await runs.resume(run_id)
        assert (await stopped(runs, run_id))["nodes"]["AsyncFlow/Count"]["state"] == "restored"


async def test_of_runs_that_failed_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pocketflow.serve.runs.REMEMBERED", 2)
    async with Runs(flows={"fail": chain(Break())}, linger=0.0) as runs:
        for run_id in ("a", "b", "c"):
            await runs.start("fail", {}, run_id)
            await let_go(runs, run_id)
        assert [*runs.lives] == ["b", "c"]
        assert (await runs.get("a"))["status"] == "failed"


# Runs of others


async def test_a_run_of_the_command_line_is_shown_with_the_flow_that_fits(tmp_path: Path):
    flow = chain(Count(), Ask())
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(BaseException, match="waits at"):
            await journal.run_async(flow, {}, run_id="other")
        async with Runs(journal, {"ask": flow, "words": chain(Words())}) as runs:
            assert (await runs.get("other"))["flow"] == "ask"
            await runs.answer("other", "yes")
            assert (await stopped(runs, "other"))["status"] == "finished"


async def test_a_run_of_an_unknown_flow_is_shown_and_not_resumed(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(LookupError):
            await journal.run_async(chain(Count(), Fail()), {}, run_id="other")
        async with Runs(journal, {"words": chain(Words())}) as runs:
            state = await runs.get("other")
            assert (state["flow"], state["status"], state["nodes"]) == (None, "failed", {})
            with pytest.raises(Conflict, match="belongs to no flow served here: those are words"):
                await runs.resume("other")


# The page's stream


async def test_a_page_gets_the_runs_the_state_and_then_the_events():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        page = runs.watch_all(run_id)
        [listed, *_] = await until(page, named("runs"))
        assert [run["run_id"] for run in listed["runs"]] == [run_id]
        [*_, state] = await until(page, named("state"))
        assert state["outputs"][0]["text"] == "to be or "
        gate.open.set()
        seen = await until(page, lambda message: changes(message).get("run", {}).get("status") == "finished")
        assert [event["changes"]["append"]["text"] for event in seen if event.get("type") == "chunk"] == ["not"]
        await page.aclose()


async def test_a_page_lists_what_was_before_it_came():
    gate = Gate()
    async with Runs(flows={"words": chain(Words(gate=gate))}) as runs:
        run_id = await runs.start("words", {})
        await gate.reached.wait()
        page = runs.watch_all(run_id)
        [*_, state, past] = await until(page, named("past"))
        assert state["sse_name"] == "state"
        assert [event.get("chunk") for event in past["events"] if event["type"] == "chunk"] == ["to ", "be ", "or "]
        gate.open.set()
        seen = await until(page, lambda message: changes(message).get("run", {}).get("status") == "finished")
        told = past["events"] + [message for message in seen if "sse_name" not in message]
        alone = (await watched(runs.watch(run_id)))[:-1]
        assert [event["type"] for event in told] == [event["type"] for event in alone]
        await page.aclose()


async def test_of_the_past_a_page_gets_so_much_as_one_can_read_and_how_much_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("pocketflow.serve.view.PAST", 3)
    async with Runs(flows={"words": chain(Words())}) as runs:
        run_id = await runs.start("words", {})
        alone = (await watched(runs.watch(run_id)))[:-1]
        page = runs.watch_all(run_id)
        [*_, past] = await until(page, named("past"))
        assert [event["type"] for event in past["events"]] == [event["type"] for event in alone[-3:]]
        assert past["left_out"] == len(alone) - 3
        await page.aclose()


async def test_a_page_gets_every_event_also_where_a_restored_flow_needs_a_new_state():
    gate, turn = Gate(), Gate()
    nested = chain(chain(Words(name="inside"), Count()), Words(gate=gate))
    async with Runs(flows={"nested": nested, "before": chain(Words(gate=turn))}, limit=1) as runs:
        run_id = await runs.start("nested", {})
        await gate.reached.wait()
        await runs.cancel(run_id)
        await runs.start("before", {})
        await runs.resume(run_id)
        page = runs.watch_all(run_id)
        [*_, past] = await until(page, named("past"))
        turn.open.set()
        [*before, state] = await until(page, named("state"))
        assert state["nodes"]["AsyncFlow/AsyncFlow/inside"]["state"] == "restored"
        gate.open.set()
        after = await until(page, lambda message: changes(message).get("run", {}).get("status") == "finished")
        told = past["events"] + [message for message in [*before, *after] if "sse_name" not in message]
        assert [it["type"] for it in told] == [it["type"] for it in (await watched(runs.watch(run_id)))[:-1]]
        await page.aclose()


async def test_a_page_hears_of_all_runs():
    async with Runs(flows={"words": chain(Words())}) as runs:
        page = runs.watch_all()
        await until(page, named("runs"))
        run_id = await runs.start("words", {})
        await until(page, lambda message: message.get("status") == "finished" and message["run_id"] == run_id)
        await runs.delete(run_id)
        [*_, deleted] = await until(page, named("deleted"))
        assert deleted["run_id"] == run_id
        await page.aclose()


async def test_a_page_gets_a_new_state_when_its_run_goes_on():
    async with Runs(flows={"ask": chain(Words(), Ask())}) as runs:
        run_id = await runs.start("ask", {})
        await stopped(runs, run_id)
        page = runs.watch_all(run_id)
        await until(page, named("state"))
        await runs.answer(run_id, "yes")
        await until(page, named("state"))
        await until(page, lambda message: message.get("status") == "finished")
        await page.aclose()


async def test_a_page_of_a_run_that_is_not_there_is_told(tmp_path: Path):
    async with Runs(flows={"words": chain(Words())}) as runs:
        page = runs.watch_all("nothing")
        [*_, missing] = await until(page, named("missing"))
        assert missing["run_id"] == "nothing"
        await page.aclose()


async def test_a_page_hears_of_the_runs_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pocketflow.serve.runs.POLL", 0.01)
    flow, asking = chain(Words()), chain(Ask())
    async with Runs(tmp_path / "runs.db", {"words": flow, "ask": asking}) as runs:
        page = runs.watch_all("other")
        await until(page, named("missing"))
        with Journal(tmp_path / "runs.db") as journal:
            with pytest.raises(BaseException, match="waits at"):
                await journal.run_async(asking, {}, run_id="other")
            seen = await until(page, lambda message: message.get("status") == "paused" and "nodes" in message)
            assert seen[-1]["nodes"]["AsyncFlow/Ask"]["state"] == "waiting"
        await page.aclose()


# Values


async def test_a_value_that_json_lacks_stands_as_its_repr():
    class Odd(AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await emit({"type": "odd", "nan": float("nan"), "set": {1}, "text": "\ud800"})
            deep: list[Any] = []
            for _ in range(100_000):
                deep = [deep]
            await emit({"type": "deep", "value": deep, "set": {1}})

    async with Runs(flows={"odd": chain(Odd())}) as runs:
        seen = {event["type"]: event for event in await watched(runs.watch(await runs.start("odd", {})))}
        assert (seen["odd"]["nan"], seen["odd"]["set"], seen["odd"]["text"]) == ("nan", "{1}", "\ud800")
        assert seen["deep"]["value"] == "(nested too deeply)"
        assert seen["end"]["status"] == "finished"


def test_messages_are_read_as_they_were_sent():
    assert messages(b'id: a-1\nevent: run\ndata: {"x": "a: b"}\n\n: \n\n') == [
        {"x": "a: b", "sse_id": "a-1", "sse_name": "run"}
    ]


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="limit=0: write 1 or more"):
        Runs(flows={"words": AsyncFlow(start=Words())}, limit=0)
