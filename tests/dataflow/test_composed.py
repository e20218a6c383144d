"""Flows as tasks, overrides, and what a dataflow says of itself and of its run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.dataflow import Dataflow, Input, MissingInput, task
from tests.dataflow.kit import failing, run
from tests.hooks.hooks import Lines
from tests.stream.streams import events_of


def words(text: str) -> list[str]:
    return text.split()


def longest(words: list[str], least: int = 0) -> str:
    return max((word for word in words if len(word) >= least), key=len)


class Shout(pf.Node):
    def prep(self, shared: Any) -> Any:
        return shared["text"]

    def exec(self, text: str) -> str:
        return text.upper()

    def post(self, shared: Any, text: str, shouted: str) -> None:
        shared["shouted"] = shouted


class ShoutAsync(pf.AsyncNode):
    async def prep_async(self, shared: Any) -> Any:
        return shared["text"]

    async def exec_async(self, text: str) -> AsyncIterator[str]:
        yield text.upper()

    async def post_async(self, shared: Any, text: str, shouted: list[str]) -> None:
        [shared["shouted"]] = shouted


# A flow as a part of a dataflow


def test_a_dataflow_as_a_task_has_a_store_of_its_own():
    inner = Dataflow(words, longest, final_vars=["longest"])
    outer = Dataflow(
        task(inner, name="of_title", mapping={"text": "title"}),
        task(inner, name="of_body", mapping={"text": "body"}),
        task(lambda of_title, of_body: [of_title["longest"], of_body["longest"]], name="both"),
    )
    result = outer.execute({"title": "to be", "body": "or perhaps not"})
    assert result["both"] == ["to", "perhaps"]
    assert set(result) == {"of_title", "of_body", "both"}


def test_returns_are_read_from_the_store_of_the_flow():
    @task(returns=["rows", "total"])
    def load() -> tuple[list[int], int]:
        return [1, 2], 3

    inner = Dataflow(load, task(lambda rows: len(rows), name="count"))
    one = task(inner, name="one", returns="count")
    two = task(inner, name="two", returns=["rows", "total"])
    assert dict(Dataflow(one, two).execute()) == {"count": 2, "rows": [1, 2], "total": 3}


def test_a_name_that_the_flow_did_not_leave_is_an_error_that_says_what_there_is():
    node = task(pf.Flow(Shout()), name="t", mapping={"text": "title"}, returns=["shout"])
    with pytest.raises(MissingInput, match=r"Flow left no 'shout' \(did you mean 'shouted'\?\)"):
        run(node, title="to be")


@pytest.mark.parametrize("flow", [pf.Flow(Shout()), pf.AsyncFlow(ShoutAsync()), Shout()], ids=["sync", "async", "node"])
def test_any_flow_or_node_is_a_task_with_each_too(flow: Any):
    once = task(flow, name="once", mapping={"text": "title"}, returns="shouted")
    assert run(once, title="to be") == {"title": "to be", "shouted": "TO BE"}
    every = task(flow, name="every", each={"text": "titles"}, returns="shouted")
    assert run(every, titles=["a", "b"])["shouted"] == ["A", "B"]
    whole = task(flow, name="whole", mapping={"text": "title"})
    assert run(whole, title="x")["whole"] == {"text": "x", "shouted": "X"}


def test_flows_over_each_element_run_at_once_without_meeting_in_the_store():
    async def meets(name: str) -> str:
        await asyncio.wait_for(barrier.wait(), 30)
        return name

    async def answer(meets: str) -> str:
        return f"{meets}!"

    async def main() -> Any:
        nonlocal barrier
        barrier = asyncio.Barrier(3)
        agent = Dataflow(meets, answer, final_vars=["answer"])
        return await Dataflow(task(agent, name="agents", each={"name": "names"})).execute_async({"names": "abc"})

    barrier = asyncio.Barrier(3)
    assert asyncio.run(main())["agents"] == [{"answer": "a!"}, {"answer": "b!"}, {"answer": "c!"}]


async def test_hooks_and_streams_show_what_happens_inside_of_every_item():
    every = task(pf.AsyncFlow(ShoutAsync()), name="every", each={"text": "titles"}, returns="shouted")
    log = Lines()
    with log:
        events = await events_of(Dataflow(every), {"titles": ["a", "b"]})
    inside = "Dataflow[0]/0:every/exec[{}]/~0:AsyncFlow/0:ShoutAsync"
    assert {inside.format(0), inside.format(1)} <= set(log.paths())
    chunks = [(event["path"], event["chunk"]) for event in events if event["type"] == "chunk"]
    assert sorted(chunks) == [(inside.format(0), "A"), (inside.format(1), "B")]


def test_a_dataflow_among_the_sources_gives_its_outputs_by_name():
    inner = Dataflow(words, longest, final_vars=["longest"])
    outer = Dataflow(inner, task(lambda longest: len(longest), name="size"))
    assert dict(outer.execute({"text": "to perhaps"})) == {"longest": "perhaps", "size": 7}
    assert list(outer.inputs) == ["text", "least"]


def test_two_flows_without_names_are_refused_among_the_sources():
    with pytest.raises(ValueError, match=r"two flows are named 'Dataflow': write task\(flow, name=...\)"):
        Dataflow(Dataflow(words), Dataflow(longest))


# Overrides, inputs and outputs


def test_overrides_stand_for_results_and_what_they_replace_does_not_run():
    def never() -> str:
        pytest.fail("it is overridden")

    flow = Dataflow(never, task(lambda never: len(never), name="size"))
    result = flow.execute(overrides={"never": "four"})
    assert dict(result) == {"never": "four", "size": 4}
    assert result.done == ["size"]
    assert flow.execute(overrides={"size": 1}, final_vars=["size"])["size"] == 1
    with pytest.raises(pytest.fail.Exception, match="it is overridden"):
        flow.execute()


def test_what_only_an_overridden_task_needs_is_not_needed():
    flow = Dataflow(words, longest, final_vars=["longest"])
    assert flow.execute(overrides={"words": ["a", "bc"]})["longest"] == "bc"


def test_overrides_of_unknown_names_and_of_a_half_are_refused():
    flow = Dataflow(task(lambda: (1, 2), name="split", returns=["low", "high"]))
    with pytest.raises(MissingInput, match=r"no task stores 'lo' \(did you mean 'low'\?\)"):
        flow.execute(overrides={"lo": 1})
    with pytest.raises(ValueError, match=r"split stores \['high'\] too; override all of its names or none"):
        flow.execute(overrides={"low": 1})
    assert dict(flow.execute(overrides={"low": 1, "high": 5})) == {"low": 1, "high": 5}


def test_inputs_say_what_is_read_and_outputs_what_is_given():
    flow = Dataflow(words, longest, final_vars=["longest"], resources={"db": object})
    assert flow.inputs == {"text": Input(str), "least": Input(int, 0)}
    assert [name for name, given in flow.inputs.items() if given.is_required] == ["text"]
    assert flow.outputs == ["longest"]
    assert Dataflow(words, longest).outputs == ["words", "longest"]


def test_an_input_that_one_task_requires_is_required_and_an_each_wants_a_list():
    optional = task(lambda x=1: x, name="optional")
    assert Dataflow(optional).inputs["x"].default == 1
    assert Dataflow(optional, task(lambda x: x, name="required")).inputs["x"].is_required
    assert Dataflow(task(words, each={"text": "texts"})).inputs == {"texts": Input(list[str])}
    assert Dataflow(task(words, mapping={"text": "page.body"})).inputs == {"page": Input(Any)}


def test_the_default_of_a_parameter_of_each_stands_in_for_what_is_missing():
    node = task(lambda x=("a", "b"): x, name="t", each={"x": "xs"})
    assert run(node)["t"] == ["a", "b"]


@pytest.mark.parametrize("names", [["x"], ["x", "y"]], ids=str)
def test_each_reads_returns_from_every_result(names: list[str]):
    node = task(lambda n: {"x": n, "y": -n}, name="t", each={"n": "numbers"}, returns=names)
    shared = run(node, numbers=[1, 2])
    assert {name: shared[name] for name in names} == {name: {"x": [1, 2], "y": [-1, -2]}[name] for name in names}


# What a run tells


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no repr")


def test_the_result_says_what_was_done_skipped_and_failed_and_why():
    @task(max_retries=2, each={"x": "xs"})
    def fails(x: int) -> None:
        raise KeyError(x)

    result = Dataflow(
        fails, task(lambda fails: 0, name="after"), task(lambda: {1}, name="fine"), on_error="collect"
    ).execute({"xs": [7]})
    assert (result.done, result.skipped, list(result.errors)) == (["fine"], ["after"], ["fails"])
    notes = result.errors["fails"].__notes__
    assert notes == ["attempts: 2, before with KeyError(7)", "item 0: {'x': 7}", "in fails", "in Dataflow"]
    told = result.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["values"] == {"fails": None, "after": None, "fine": "{1}"}
    assert told["errors"]["fails"] == {"error": "KeyError(7)", "notes": notes}
    assert told["run_id"] == result.run_id


def test_as_dict_never_raises():
    ring: list[Any] = [float("nan")]
    ring.append(ring)
    values = Dataflow(task(lambda: Unprintable(), name="odd"), task(lambda: ring, name="ring")).execute()
    told = values.as_dict()["values"]
    assert told == {"odd": "<Unprintable, whose repr raises ValueError>", "ring": ["nan", "..."]}


# What a server shares over all requests


async def served(flow: Dataflow, runs: int = 5) -> list[Any]:
    inputs = {"items": range(4)}
    return await asyncio.wait_for(asyncio.gather(*(flow.execute_async(inputs) for _ in range(runs))), 60)


async def test_one_semaphore_in_async_functions_is_the_limit_of_all_runs():
    async def call(item: int) -> int:
        nonlocal running, most
        async with slots:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
        return item

    slots, running, most = asyncio.Semaphore(4), 0, 0
    results = await served(Dataflow(task(call, each={"item": "items"})))
    assert [result["call"] for result in results] == [[0, 1, 2, 3]] * 5
    assert most == 4


async def test_one_executor_for_sync_functions_is_the_limit_of_all_runs_and_stays_open():
    def call(item: int) -> int:
        nonlocal most
        with lock:
            running.add(threading.get_ident())
            most = max(most, len(running))
        together.wait()  # four of them are there at once
        with lock:
            running.discard(threading.get_ident())
        return item

    lock, together, running, most = threading.Lock(), threading.Barrier(4, timeout=30), set[int](), 0
    with ThreadPoolExecutor(4) as threads:
        results = await served(Dataflow(task(call, each={"item": "items"}), executor=threads))
        assert threads.submit(int).result(30) == 0
    assert [result["call"] for result in results] == [[0, 1, 2, 3]] * 5
    assert most == 4


async def test_a_quick_function_of_one_run_does_not_wait_behind_slow_ones_of_another():
    def slow() -> None:
        started.release()
        assert released.wait(30)

    started, released = threading.Semaphore(0), threading.Event()
    slow_one = Dataflow(*(task(slow, name=f"slow{n}") for n in range(40)), max_concurrency=40)
    running = asyncio.create_task(slow_one.execute_async())
    try:
        for _ in range(40):
            await asyncio.to_thread(started.acquire, timeout=30)
        result = await asyncio.wait_for(Dataflow(task(lambda: "quick", name="quick")).execute_async(), 30)
        assert result["quick"] == "quick"
        assert not running.done()
    finally:
        released.set()
        await running


async def test_threads_that_wait_for_work_do_not_outlive_the_run():
    before = set(threading.enumerate())
    await Dataflow(task(words, each={"text": "texts"})).execute_async({"texts": ["a"] * 40})
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 30)
        assert not thread.is_alive() or thread.name.startswith("asyncio")


async def test_sync_functions_that_wait_for_a_thread_never_run_once_one_has_failed():
    def boom(i: int) -> None:
        ran.append(i)
        if i == 0:
            raise KeyError(i)
        assert released.wait(30)

    class Sees(Lines):
        def on_error(self, step: Any, error: BaseException) -> None:
            failed.set()

    ran: list[int] = []
    failed, released = asyncio.Event(), threading.Event()
    flow = Dataflow(task(boom, each={"i": "items"}), max_concurrency=2)
    with Sees():
        running = asyncio.create_task(flow.execute_async({"items": range(300)}))
    await failing(running, failed, released)
    assert len(ran) <= 3


# What hooks see


def test_a_step_of_a_task_begins_when_its_inputs_are_there():
    log = Lines()
    with log:
        Dataflow(task(lambda first: 0, name="second"), task(lambda: 0, name="first")).execute()
    assert [line.split()[:2] for line in log.lines if line.split()[1] in ("Dataflow[0]", "Dataflow[1]")] == [
        ["start", "Dataflow[1]"],
        ["end", "Dataflow[1]"],
        ["start", "Dataflow[0]"],
        ["end", "Dataflow[0]"],
    ]


def test_paths_are_the_same_whatever_the_limit_and_the_wanted_values():
    sources = [task(lambda: 0, name="a"), task(lambda: 0, name="b"), task(lambda a, b: 0, name="c")]
    paths = []
    for options in ({}, {"max_concurrency": 1}, {"final_vars": ["c"]}):
        log = Lines()
        with log:
            Dataflow(*sources, **options).execute()
        paths.append(sorted(log.paths()))
    assert paths[0] == paths[1] == paths[2]


# What must not be lost


class Pause(BaseException):
    """As `pocketflow.journal.pause` raises one."""


async def test_what_is_no_error_lets_those_that_run_come_to_their_end_and_nothing_new_begins():
    async def asks() -> None:
        await started.wait()
        raise Pause

    async def paid() -> str:
        started.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        finished.append("paid")
        return "an expensive answer"

    async def later(paid: str) -> None:
        pytest.fail("nothing new begins")

    started, finished = asyncio.Event(), list[str]()
    with pytest.raises(Pause):
        await Dataflow(asks, paid, later).execute_async()
    assert finished == ["paid"]


async def test_a_limit_holds_for_the_elements_of_each_too():
    async def call(item: int) -> None:
        nonlocal running
        running += 1
        most.append(running)
        await asyncio.sleep(0)
        running -= 1

    running, most = 0, list[int]()
    await Dataflow(task(call, each={"item": "items"}), max_concurrency=3).execute_async({"items": range(9)})
    assert max(most) == 3
