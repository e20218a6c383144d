"""Functions as nodes, and what a dataflow runs, when, and with what."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.dataflow import Dataflow, MissingInput, Task, task
from pocketflow.hooks import hooked
from pocketflow.stream import stream
from tests import loopback
from tests.dataflow.kit import run
from tests.hooks.hooks import Lines
from tests.stream.streams import events_of

# Tasks


def test_a_task_reads_by_name_from_params_then_shared_and_stores_under_its_name():
    @task
    def total(a: int, b: int, c: int = 100) -> int:
        return a + b + c

    flow, shared = pf.AsyncFlow(total), {"a": 1, "b": 2}
    flow.set_params({"b": 20})
    asyncio.run(flow.run_async(shared))
    assert shared == {"a": 1, "b": 2, "total": 121}
    assert total(1, 2, 3) == 6


def test_sync_functions_run_in_threads_beside_async_ones_on_the_loop():
    def sync() -> str:
        barrier.wait()
        event.wait(30)
        return threading.current_thread().name

    async def on_the_loop() -> str:
        event.set()
        return threading.current_thread().name

    barrier, event = threading.Barrier(2, timeout=30), threading.Event()
    result = Dataflow(task(sync, name="one"), task(sync, name="two"), on_the_loop).execute()
    assert result["on_the_loop"] == threading.main_thread().name
    assert len({result["one"], result["two"], threading.main_thread().name}) == 3


def test_mapping_reads_another_key_or_a_dotted_path():
    class Page:
        def __init__(self, size: int) -> None:
            self.size = size

    look = task(lambda rows, second, size: (rows, second, size), name="look", mapping={
        "rows": "fetch.result.rows", "second": "fetch.result.rows.1", "size": "page.size",
    })  # fmt: skip
    shared = run(look, fetch={"result": {"rows": [1, 2]}}, page=Page(7))
    assert shared["look"] == ([1, 2], 2, 7)


@pytest.mark.parametrize(
    ("returns", "result", "stored"),
    [
        (["x"], {"x": 1, "y": 2}, {"x": 1}),
        (["x"], {"y": 2}, {"x": {"y": 2}}),
        (["x"], 5, {"x": 5}),
        (["x", "y"], {"x": 1, "y": 2, "z": 3}, {"x": 1, "y": 2}),
        (["x", "y"], (1, 2), {"x": 1, "y": 2}),
        (["x", "y"], iter([1, 2]), {"x": 1, "y": 2}),
    ],
)
def test_returns_names_what_is_stored(returns: list[str], result: Any, stored: dict[str, Any]):
    assert run(task(lambda: result, name="t", returns=returns)) == stored


@pytest.mark.parametrize("result", [{"x": 1}, "ab", (1, 2, 3), {1, 2}, 5], ids=repr)
def test_several_names_that_are_not_in_the_result_are_an_error(result: Any):
    with pytest.raises(MissingInput, match="t returned"):
        run(task(lambda: result, name="t", returns=["x", "y"]))


def test_each_runs_once_for_every_element_at_once_in_order():
    def greet(greeting: str, language: str) -> str:
        barrier.wait()
        return f"{greeting} {language}"

    barrier = threading.Barrier(2, timeout=30)
    shared = run(task(greet, each={"language": "languages"}), greeting="in", languages=iter(["es", "fr"]))
    assert shared["greet"] == ["in es", "in fr"]


def test_action_maps_the_result_to_the_edge():
    check = task(lambda x: x > 3, name="check", action=lambda result: "big" if result else "small")
    check - "big" >> task(lambda: "was big", name="word")
    check - "small" >> task(lambda: "was small", name="word")
    assert run(check, x=5)["word"] == "was big"
    assert run(check, x=1)["word"] == "was small"


def test_retries_and_stream_end_type_are_those_of_a_node():
    async def flaky() -> AsyncIterator[dict[str, Any]]:
        tries.append(1)
        yield {"type": "status", "status": "thinking"}
        if len(tries) == 1:
            raise ValueError("once")
        yield {"type": "complete", "text": "answer"}

    tries: list[int] = []
    node = task(flaky, returns=["text"], stream_end_type="complete", max_retries=2)
    assert run(node)["text"] == "answer"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_generators_stream_what_they_yield(kind: str):
    def sync() -> Iterator[Any]:
        yield "to"
        yield {"type": "done", "full_text": "to be"}

    async def asynchronous() -> AsyncIterator[Any]:
        for event in sync():
            yield event

    node = task(sync if kind == "sync" else asynchronous, name="llm", returns=["full_text"])
    shared: dict[str, Any] = {}
    events = await events_of(pf.AsyncFlow(node), shared)
    told = [event["type"] for event in events if event["node"] == "llm"]
    assert told == ["node_start", "chunk", "done", "node_end"]
    assert shared == {"full_text": "to be"}


def test_a_missing_parameter_names_the_task_what_is_there_and_the_closest_match():
    with pytest.raises(MissingInput, match=r"total needs 'price' \(did you mean 'prices'\?\); there is \['prices'\]"):
        run(task(lambda price: 0, name="total"), prices=1)


def variadic(*args: Any) -> None: ...


def keywords(**kwargs: Any) -> None: ...


def positional(x: int, /) -> None: ...


@pytest.mark.parametrize("function", [variadic, keywords, positional])
def test_parameters_without_a_name_to_read_by_are_refused(function: Any):
    with pytest.raises(TypeError, match=f"{function.__name__}: the parameter .* has no name"):
        task(function)
    with pytest.raises(TypeError, match="has no parameter 'y'"):
        task(lambda x: 0, name="t", mapping={"y": "x"})


def square(x: int) -> int:
    return x * x


def test_a_sync_function_may_run_on_any_executor():
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        shared = run(task(lambda: threading.current_thread().name, name="thread", executor=pool))
    assert shared["thread"].startswith("mine")
    assert run(task(square, executor=ProcessPoolExecutor), x=3)["square"] == 9
    assert Dataflow(square, executor=ProcessPoolExecutor).execute({"x": 4})["square"] == 16


# Dataflows


def test_a_parameter_named_like_a_function_is_an_edge():
    def doubled(number: int) -> int:
        return number * 2

    async def text(doubled: int, suffix: str = "!") -> str:
        return f"{doubled}{suffix}"

    result = Dataflow(text, doubled).execute({"number": 4})
    assert dict(result) == {"text": "8!", "doubled": 8}
    assert list(result) == ["text", "doubled"]
    assert repr(result) == "Result({'text': '8!', 'doubled': 8})"
    assert set(result.durations) == {"text", "doubled"}
    assert result.duration >= 0
    assert result.run_id != Dataflow(text, doubled).execute({"number": 4}).run_id


async def test_a_task_starts_when_its_own_inputs_are_there_without_levels():
    """On an unbalanced graph: the long branch's second task runs while the short branch's first still does."""

    async def slow() -> None:
        await second_done.wait()

    async def first() -> None: ...

    async def second(first: None) -> None:
        second_done.set()

    async def join(slow: None, second: None) -> str:
        return "joined"

    second_done = asyncio.Event()
    result = await asyncio.wait_for(Dataflow(slow, first, second, join).execute_async(), 30)
    assert result["join"] == "joined"


async def test_only_what_the_final_values_need_is_run():
    def needed() -> int:
        return 1

    def unneeded() -> None:
        pytest.fail("nobody wants it")

    def wanted(needed: int) -> int:
        return needed + 1

    flow = Dataflow(needed, unneeded, wanted, final_vars=["wanted"])
    assert dict(await flow.execute_async()) == {"wanted": 2}
    assert dict(await flow.execute_async(final_vars=["needed"])) == {"needed": 1}
    assert flow.final_vars == ["wanted"]
    assert dict(await flow.execute_async(final_vars="needed")) == {"needed": 1}
    assert Dataflow(needed, unneeded, wanted, final_vars="needed").outputs == ["needed"]


async def test_max_concurrency_bounds_the_tasks_and_waiting_ones_hold_no_place():
    async def work() -> None:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0)
        running.pop()

    running: list[int] = []
    most: list[int] = []
    sources = [task(work, name=f"t{n}") for n in range(6)]
    await Dataflow(*sources, max_concurrency=2).execute_async()
    assert max(most) == 2
    chain = [task(work, name="a"), task(lambda a: 1, name="b"), task(lambda b: 2, name="c")]
    assert (await Dataflow(*reversed(chain), max_concurrency=1).execute_async())["c"] == 2


def test_tasks_that_return_several_names_feed_their_users():
    split = task(lambda: (1, 2), name="split", returns=["low", "high"])
    assert dict(Dataflow(split, task(lambda low, high: low + high, name="both")).execute()) == {
        "low": 1, "high": 2, "both": 3,
    }  # fmt: skip


def test_mapping_and_each_make_edges_too():
    fetch = task(lambda: {"rows": [1, 2]}, name="fetch")
    double = task(lambda row: row * 2, name="double", each={"row": "rows"})
    rows = task(lambda found: found, name="rows", mapping={"found": "fetch.rows"})
    assert Dataflow(double, rows, fetch).execute()["double"] == [2, 4]


def test_the_later_source_of_a_name_wins():
    def base() -> int:
        return 1

    def top(base: int) -> int:
        return base

    assert Dataflow(base, top, task(lambda: 2, name="base")).execute()["top"] == 2


async def test_execute_inside_of_a_loop_says_what_to_write():
    with pytest.raises(RuntimeError, match=r"await dataflow\.execute_async"):
        Dataflow(square).execute({"x": 1})


def test_hooks_see_the_tasks_with_paths_that_end_in_their_names():
    log = Lines()
    with hooked(log):
        Dataflow(task(lambda b: 0, name="a"), task(lambda: 0, name="b")).execute()
    visits = [step.path for step in log.steps if step.kind == "node"]
    assert visits == ["Dataflow[1]/0:b", "Dataflow[0]/0:a"]


async def test_a_dataflow_streams_the_events_of_its_tasks():
    async def llm() -> AsyncIterator[str]:
        yield "token"

    events = await events_of(Dataflow(llm))
    assert [(event["path"], event["type"]) for event in events] == [
        ("Dataflow", "node_start"),
        ("Dataflow", "item_start"),
        ("Dataflow[0]/0:llm", "node_start"),
        ("Dataflow[0]/0:llm", "chunk"),
        ("Dataflow[0]/0:llm", "node_end"),
        ("Dataflow", "item_end"),
        ("Dataflow", "node_end"),
    ]


def test_as_a_node_it_reads_shared_and_leaves_its_final_values_alone():
    fetch = task(lambda: [3, 4], name="rows")
    report = task(lambda mean: f"mean {mean}", name="report")
    inner = Dataflow(
        task(lambda rows: sum(rows), name="total"),
        task(lambda total, rows: total / len(rows), name="mean"),
        final_vars=["mean"],
    )
    fetch >> inner >> report
    assert run(fetch) == {"rows": [3, 4], "mean": 3.5, "report": "mean 3.5"}


def test_two_runs_of_one_dataflow_at_once_do_not_meet():
    async def both() -> list[Any]:
        flow = Dataflow(task(lambda x: x * 2, name="double"), task(lambda double: double + 1, name="more"))
        return await asyncio.gather(*(flow.execute_async({"x": x}) for x in range(20)))

    assert [result["more"] for result in asyncio.run(both())] == [x * 2 + 1 for x in range(20)]


# Errors


async def test_the_first_error_cancels_the_others_and_waits_for_them():
    async def fails() -> None:
        await started.wait()
        raise KeyError("own error")

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned")

    started, log = asyncio.Event(), []
    with pytest.raises(KeyError, match="own error") as caught:
        await Dataflow(fails, waits).execute_async()
    assert log == ["cleaned"]
    assert caught.value.__notes__ == ["in fails", "in Dataflow"]


def test_an_error_of_a_run_is_not_told_as_one_that_arose_while_another_was_handled():
    with pytest.raises(MissingInput) as caught:
        Dataflow(square).execute()
    assert caught.value.__context__ is None


def test_collected_errors_let_the_rest_run():
    def fails() -> None:
        raise KeyError("own error")

    def depends(fails: None) -> None:
        pytest.fail("its input failed")

    def independent() -> str:
        return "ran"

    result = Dataflow(fails, depends, independent, on_error="collect").execute()
    assert result["independent"] == "ran"
    assert list(result.errors) == ["fails"]
    for name in ("fails", "depends"):
        with pytest.raises(KeyError, match="own error"):
            result[name]
    assert "KeyError" in repr(result)


def test_bad_graphs_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"a cycle: (a <- b <- a|b <- a <- b)"):
        Dataflow(task(lambda b: 0, name="a"), task(lambda a: 0, name="b"))
    with pytest.raises(ValueError, match="a and b both store 'x': rename one"):
        Dataflow(task(lambda: 0, name="a", returns=["x"]), task(lambda: 0, name="b", returns=["x"]))
    with pytest.raises(MissingInput, match=r"no task stores 'squar' \(did you mean 'square'\?\)"):
        Dataflow(square, final_vars=["squar"])
    with pytest.raises(TypeError, match="5 is not a source"):
        Dataflow(5)
    with pytest.raises(ValueError, match="on_error='ignore'"):
        Dataflow(square, on_error="ignore")
    with pytest.raises(ValueError, match="max_concurrency must be at least 1, not 0"):
        Dataflow(square, max_concurrency=0)


def test_missing_inputs_and_names_that_clash_are_refused_before_anything_runs():
    def first() -> None:
        pytest.fail("must not run")

    flow = Dataflow(first, task(lambda first, numbr: 0, name="second"))
    with pytest.raises(MissingInput, match=r"second needs 'numbr' \(did you mean 'number'\?\)"):
        flow.execute({"number": 1})
    with pytest.raises(ValueError, match="the input 'first' is also stored by the task first"):
        flow.execute({"first": 1, "numbr": 1})
    inner = Dataflow(first, task(lambda first: 0, name="second"), final_vars=["second"])
    with pytest.raises(ValueError, match=r"first would overwrite shared\['first'\]"):
        run(inner, first="of the user")


# Resources


class Handler(loopback.Handler):
    def do_GET(self) -> None:
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def resources(log: list[str]) -> dict[str, Callable[..., Any]]:
    async def db() -> AsyncIterator[sqlite3.Connection]:
        log.append("open db")
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute("CREATE TABLE pages (path)")
        yield connection
        connection.close()
        log.append("close db")

    def server() -> Iterator[str]:
        log.append("open server")
        with loopback.Server(Handler) as server:
            yield server.url
        log.append("close server")

    return {"db": db, "server": server, "unused": lambda: pytest.fail("nobody asked for it")}


def fetch(server: str, page: str) -> str:
    with urllib.request.urlopen(f"{server}/{page}") as answer:
        return json.load(answer)["path"]


def save(db: sqlite3.Connection, pages: list[str]) -> int:
    db.executemany("INSERT INTO pages VALUES (?)", [(page,) for page in pages])
    return db.execute("SELECT count(*) FROM pages").fetchone()[0]


PAGES = task(fetch, name="pages", each={"page": "names"})


def test_resources_are_opened_once_shared_and_closed_in_reverse_order():
    log: list[str] = []
    first = task(lambda server: server, name="address")
    result = Dataflow(first, PAGES, save, resources=resources(log)).execute({"names": ["a", "b"]})
    assert (result["pages"], result["save"]) == (["/a", "/b"], 2)
    assert log == ["open server", "open db", "close db", "close server"]
    assert result.resource_access == {"db": 1, "server": 2, "unused": 0}


def test_resources_are_closed_after_an_error():
    log: list[str] = []

    def fails(pages: list[str], db: sqlite3.Connection) -> None:
        raise KeyError("own error")

    with pytest.raises(KeyError, match="own error"):
        Dataflow(PAGES, fails, resources=resources(log)).execute({"names": ["a"]})
    assert log == ["open server", "open db", "close db", "close server"]


async def test_resources_are_closed_after_cancellation():
    async def waits(db: sqlite3.Connection) -> None:
        started.set()
        await asyncio.Event().wait()

    started, log = asyncio.Event(), []
    run = asyncio.create_task(Dataflow(waits, resources=resources(log)).execute_async())
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["open db", "close db"]


async def test_async_with_keeps_the_resources_open_from_run_to_run():
    log: list[str] = []
    async with Dataflow(task(lambda db: id(db), name="which"), resources=resources(log)) as flow:
        assert (await flow.execute_async())["which"] == (await flow.execute_async())["which"]
        assert log == ["open db"]
    assert log == ["open db", "close db"]


async def test_a_factory_that_hangs_is_cancelled_and_what_was_open_is_closed():
    async def hangs() -> None:
        started.set()
        await asyncio.Event().wait()

    async def uses(db: sqlite3.Connection, hangs: None) -> None: ...

    started, log = asyncio.Event(), []
    first = task(lambda db: 0, name="first")
    after = task(uses, mapping={"hangs": "hangs"})
    flow = Dataflow(first, after, resources={**resources(log), "hangs": hangs})
    run = asyncio.create_task(flow.execute_async())
    await asyncio.wait_for(started.wait(), 30)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 30)
    assert log == ["open db", "close db"]


async def test_a_second_cancel_leaves_nothing_open():
    async def slow_to_close() -> AsyncIterator[int]:
        log.append("open")
        yield 1
        closing.set()
        await released.wait()
        log.append("closed")

    async def waits(slow: int) -> None:
        started.set()
        await asyncio.Event().wait()

    log: list[str] = []
    started, closing, released = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run = asyncio.create_task(Dataflow(waits, resources={"slow": slow_to_close}).execute_async())
    for event in (started, closing):
        await asyncio.wait_for(event.wait(), 30)
        run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 30)
    assert log == ["open", "closed"]


def test_resources_and_threads_are_closed_before_post():
    class Looks(Dataflow):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            log.append("post")

    log: list[str] = []
    run(Looks(task(lambda db: 0, name="t"), resources=resources(log)))
    assert log == ["open db", "close db", "post"]


def test_a_resource_is_closed_by_the_task_that_opened_it():
    async def scope() -> AsyncIterator[int]:
        opener = asyncio.current_task()
        yield 1
        assert asyncio.current_task() is opener
        closed.append(True)

    closed: list[bool] = []
    Dataflow(task(lambda scope: 0, name="t"), resources={"scope": scope}).execute()
    assert closed == [True]


def test_an_error_of_a_clean_up_is_told():
    def scope() -> Iterator[int]:
        yield 1
        raise OSError("cannot be closed")

    with pytest.raises(OSError, match="cannot be closed") as caught:
        Dataflow(task(lambda scope: 0, name="t"), resources={"scope": scope}).execute()
    assert "raised by the factory of the resource 'scope'" in caught.value.__notes__


def test_plain_and_async_factories_make_resources_and_a_failing_one_is_named():
    async def number() -> int:
        return 2

    def broken() -> int:
        raise OSError("no such server")

    both = task(lambda number, word: word * number, name="both")
    assert Dataflow(both, resources={"number": number, "word": lambda: "ab"}).execute()["both"] == "abab"
    with pytest.raises(OSError, match="no such server") as caught:
        Dataflow(task(lambda broken: 0, name="t"), resources={"broken": broken}).execute()
    assert "raised by the factory of the resource 'broken'" in caught.value.__notes__


# What the async chapters of other systems show


async def test_server_sent_events_end_with_the_run():
    async def llm(prompt: str) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "status", "status": "thinking"}
        for word in prompt.split():
            yield {"type": "chunk", "text": word}
        yield {"type": "done", "full_text": prompt}

    async def event_stream(prompt: str) -> AsyncIterator[str]:
        async with contextlib.aclosing(stream(pf.AsyncFlow(task(llm)), {"prompt": prompt})) as events:
            async for event in events:
                yield f"data: {json.dumps(event)}\n\n"

    sent = [json.loads(line.removeprefix("data: ")) async for line in event_stream("to be")]
    told = [event["type"] for event in sent if event["node"] == "llm"]
    assert told == ["node_start", "status", "chunk", "chunk", "done", "node_end"]


async def test_branches_stream_as_they_happen():
    async def translate(text: str, word: str) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "status", "message": f"to {word}"}
        await barrier.wait()
        yield {"type": "done", "translation": f"{word}: {text}"}

    barrier = asyncio.Barrier(2)
    generate = task(lambda: "hello", name="text")
    spanish = task(translate, name="spanish", mapping={"word": "es"}, returns=["spanish"])
    french = task(translate, name="french", mapping={"word": "fr"}, returns=["french"])
    generate >> [spanish, french]
    shared: dict[str, Any] = {"es": "ES", "fr": "FR"}
    await events_of(pf.AsyncFlow(generate), shared)
    assert shared["spanish"] == {"translation": "ES: hello"}


async def test_a_map_over_languages_streams_from_every_one():
    async def process(text: str, language: str) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "status", "message": f"processing {language}"}
        await barrier.wait()
        yield {"type": "done", "result": f"[{language.upper()}] {text}"}

    barrier = asyncio.Barrier(3)
    shared: dict[str, Any] = {"text": "hello", "languages": ["spanish", "french", "german"]}
    node = task(process, each={"language": "languages"})
    events = await events_of(pf.AsyncFlow(node), shared)
    assert [event["item"] for event in events if event["type"] == "status"] == [0, 1, 2]
    assert [made["result"] for made in shared["process"]] == ["[SPANISH] hello", "[FRENCH] hello", "[GERMAN] hello"]


def test_a_pipeline_of_api_calls_that_join():
    calls = [task(lambda user_id, kind=kind: {kind: user_id}, name=kind) for kind in ("user", "orders", "preferences")]

    def profile(user: Any, orders: Any, preferences: Any) -> dict[str, Any]:
        return user | orders | preferences

    result = Dataflow(*calls, profile, max_concurrency=2).execute({"user_id": 7})
    assert result["profile"] == {"user": 7, "orders": 7, "preferences": 7}


def test_a_task_has_the_docstring_of_its_function():
    def documented() -> None:
        """What it does."""

    assert task(documented).__doc__ == "What it does."
    assert isinstance(task(documented), Task)


async def test_a_thread_that_runs_when_the_run_is_cancelled_is_awaited():
    def waits() -> None:
        started.set()
        assert released.wait(30)
        log.append("ended")

    started, released = threading.Event(), threading.Event()
    log: list[str] = []
    run = asyncio.create_task(Dataflow(waits).execute_async())
    await asyncio.to_thread(started.wait, 30)
    run.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    run.cancel()
    assert not run.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log == ["ended"]
