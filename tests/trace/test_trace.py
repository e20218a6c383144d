"""What a trace records, prints and saves, and what the live progress shows."""

from __future__ import annotations

import asyncio
import gc
import html
import json
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step, emit, hooked
from pocketflow.journal import Journal
from pocketflow.trace import Retry, Span, Trace
from tests.memory import memory
from tests.rounds import ROUNDS
from tests.trace.made import Clock, Pause, failing, named


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run_failing(flow: Any, trace: Trace, error: type[BaseException]) -> None:
    with trace, pytest.raises(error):
        flow.run({})


# The text tree


def words(trace: Trace) -> list[str]:
    """The lines, with one space where there are more."""
    return [" ".join(line.split()) for line in str(trace).splitlines()]


def test_the_tree_shows_starts_durations_attempts_and_actions(clock: Clock):
    failures = iter([ValueError("busy")])

    def call(_: Any) -> None:
        clock.passing(2)
        for error in failures:
            raise error

    fetch = named("Fetch", exec=lambda _: clock.passing(0.25), post=lambda *_: "found")()
    fetch - "found" >> named("Call", exec=call)(max_retries=2)
    with Trace(clock=clock) as trace:
        pf.Flow(fetch).run({})
    assert str(trace) == (
        "Flow         +0 us    4.25 s\n  Fetch      +0 us  250.0 ms  -> found\n  Call   +250.0 ms    4.00 s  2 attempts"
    )


def test_a_batch_is_one_line_with_its_percentiles_and_retries(clock: Clock):
    failures = iter([ValueError("busy")])

    def call(item: int) -> None:
        clock.passing(item)
        for error in failures:
            raise error

    with Trace(clock=clock) as trace:
        named("Call", pf.BatchNode, prep=lambda _: range(100), exec=call)(max_retries=2).run({})
    assert words(trace) == [
        "Call +0 us 82 min 30 s 100 items, p50 50.00 s, p95 1 min 35 s, longest 1 min 39 s, 1 retry"
    ]


def test_one_item_is_one_item(clock: Clock):
    with Trace(clock=clock) as trace:
        named("Call", pf.BatchNode, prep=lambda _: [1], exec=lambda _: clock.passing(1))().run({})
    assert words(trace) == ["Call +0 us 1.00 s 1 item, p50 1.00 s, p95 1.00 s, longest 1.00 s"]


def test_the_item_that_failed_is_shown_however_late_it_came(clock: Clock):
    def call(item: int) -> None:
        if item == 500:
            raise ValueError(item)

    trace = Trace(clock=clock)
    run_failing(named("Call", pf.BatchNode, prep=lambda _: range(999), exec=call)(), trace, ValueError)
    head, failed = words(trace)
    assert head.startswith("Call +0 us 0 us failed, 501 items, p50 0 us")
    assert failed == "[500] +0 us 0 us failed: ValueError(500)"


def test_of_many_visits_the_ends_are_shown_and_all_that_failed(clock: Clock):
    def call(shared: dict[str, int]) -> None:
        shared["n"] += 1
        if shared["n"] == 26:
            with pytest.raises(ValueError, match="lost"):
                named("Ask", exec=failing(ValueError("lost")))().run({})

    visit = named(
        "Visit", prep=lambda shared: shared, exec=call, post=lambda shared, *_: shared["n"] < 60 and "again"
    )()
    visit - "again" >> visit
    visit >> None
    with Trace(clock=clock) as trace:
        pf.Flow(visit).run({"n": 0})
    lines = words(trace)
    assert sum(line.startswith("Visit") for line in lines) == 21
    assert [line for line in lines if "more" in line] == ["... 15 more", "... 24 more"]
    assert "Ask +0 us 0 us failed: ValueError('lost')" in lines


def test_many_entries_are_one_line_and_those_that_failed(clock: Clock):
    def call(shared: Any) -> None:
        clock.passing(1)
        if clock.now == 30:
            raise ValueError("bad")

    batch = named("Batch", pf.BatchFlow, prep=lambda _: [{}] * 40)(named("Call", exec=call)())
    trace = Trace(clock=clock)
    run_failing(batch, trace, ValueError)
    assert words(trace) == [
        "Batch +0 us 30.00 s failed, 30 entries, p50 1.00 s, p95 1.00 s, longest 1.00 s, 1 failed",
        "[29] +29.00 s 1.00 s failed",
        "Call +29.00 s 1.00 s failed: ValueError('bad')",
    ]


def test_attempts_of_a_single_exec_stand_on_the_line_of_its_node(clock: Clock):
    node = named("Call", exec=failing(ValueError("busy")), exec_fallback=lambda *_: None)(max_retries=3)
    with Trace(clock=clock) as trace:
        node.run({})
    assert words(trace) == ["Call +0 us 0 us 3 attempts"]


@pytest.mark.parametrize(
    ("phase", "lines"),
    [
        ("prep", ["Flow failed", "Call failed", "prep failed: ValueError('bad')"]),
        ("exec", ["Flow failed", "Call failed: ValueError('bad')"]),
        ("post", ["Flow failed", "Call failed: ValueError('bad')"]),
    ],
)
def test_an_error_stands_once_where_it_arose(clock: Clock, phase: str, lines: list[str]):
    trace = Trace(clock=clock)
    run_failing(pf.Flow(named("Call", **{phase: failing(ValueError("bad"))})()), trace, ValueError)
    assert [line.replace("+0 us 0 us ", "") for line in words(trace)] == lines


def test_an_error_that_cannot_be_printed_stays_the_error_of_the_run():
    class Odd(Exception):
        def __repr__(self) -> str:
            raise ValueError("not now")

    with pytest.raises(Odd), Trace() as trace:
        named("Ask", exec=failing(Odd()))().run({})
    assert "Odd instance at" in (trace.spans[0].error or "")


def test_what_is_no_exception_cancels_and_does_not_fail(clock: Clock):
    trace = Trace(clock=clock)
    run_failing(named("Ask", exec=failing(Pause("who?")))(), trace, Pause)
    run_failing(named("Ask", exec=failing(asyncio.CancelledError()))(), trace, asyncio.CancelledError)
    assert words(trace) == ["Ask +0 us 0 us cancelled: Pause('who?')", "Ask +0 us 0 us cancelled"]
    assert trace.metrics()["Ask"]["errors"] == 0


class SkipAll(Hook):
    def on_start(self, step: Step) -> Skip:
        return Skip("kept")


def test_what_a_hook_skips_is_shown_as_skipped_and_not_counted(clock: Clock):
    with SkipAll(), Trace(clock=clock) as trace:
        named("Call", exec=failing(ValueError()))().run({})
    assert words(trace) == ["Call +0 us 0 us skipped, -> kept"]
    assert trace.metrics()["Call"]["count"] == 0


def test_what_runs_is_shown_as_running(clock: Clock):
    seen: list[str] = []
    trace = Trace(clock=clock)

    def look(_: Any) -> None:
        clock.passing(3)
        seen.extend(words(trace))

    with trace:
        pf.Flow(named("Call", exec=look)()).run({})
    assert seen == ["Flow +0 us 3.00 s running", "Call +0 us 3.00 s running"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0000125, "12 us"), (0.25, "250.0 ms"), (59.99, "59.99 s"), (60, "1 min 0 s"), (3599.7, "60 min 0 s")],
)
def test_durations_have_the_unit_that_suits_them(clock: Clock, seconds: float, shown: str):
    with Trace(clock=clock) as trace:
        named("Call", exec=lambda _: clock.passing(seconds))().run({})
    assert words(trace) == [f"Call +0 us {shown}"]


def test_a_name_cannot_steer_the_terminal(clock: Clock):
    node = named("Call", post=lambda *_: "a\x1b[2Jb")()
    node.name = "x\x1b]0;title\x07\nfake\u202eline"
    with Trace(clock=clock) as trace:
        node.run({})
    assert str(trace) == "x\\x1b]0;title\\x07\\nfake\\u202eline  +0 us  0 us  -> a\\x1b[2Jb"


def test_a_trace_of_nothing_is_empty(tmp_path: Path):
    assert (str(Trace()), Trace().metrics()) == ("", {})
    Trace().save(tmp_path / "run.html")
    assert saved(Trace(), tmp_path) == []


def test_a_notebook_shows_the_page_and_a_console_the_tree(clock: Clock):
    with Trace(clock=clock) as trace:
        named("Call")().run({})
    shown = trace._repr_mimebundle_()
    assert shown["text/plain"] == str(trace)
    assert shown["text/html"].startswith('<iframe sandbox="allow-scripts"')
    assert html.unescape(shown["text/html"]).count(trace.html()) == 1
    assert repr(trace) == "<Trace of 3 steps>"


# What was said, and what it cost


def ask(prompt: Any) -> str:
    for word in ("to ", "be"):
        emit({"type": "chunk", "chunk": word})
    emit({"type": "status", "text": "nearly"})
    emit({"type": "usage", "model": "small", "input_tokens": 12, "output_tokens": 3})
    return "an answer"


def spans_by_path(trace: Trace) -> dict[str, Span]:
    return {span.path: span for span in trace.spans}


def test_content_is_what_went_in_what_was_emitted_and_what_came_out():
    with Trace(content=True) as trace:
        named("Ask", prep=lambda _: "a prompt", exec=ask)().run({})
    spans = spans_by_path(trace)
    assert spans["Ask/prep"].content == {"result": "a prompt"}
    assert spans["Ask/exec"].content == {
        "input": "a prompt", "events": "to be\nstatus text: nearly\n", "result": "an answer",
    }  # fmt: skip


def test_without_content_nothing_that_was_said_is_kept():
    with Trace() as trace:
        named("Ask", prep=lambda _: "a prompt", exec=ask)().run({})
    assert {span.content for span in trace.spans} == {None}
    assert "prompt" not in trace.html()
    assert "an answer" not in trace.html()


@pytest.mark.parametrize("value", ["x" * 9999, ["x" * 9999], {"a": list(range(9999))}, range(10**9), "\x1b" * 9999])
def test_content_is_cut_at_two_thousand_characters(value: Any):
    with Trace(content=True) as trace:
        named("Ask", prep=lambda _: value, exec=lambda _: emit({"type": "chunk", "chunk": "y" * 9999}))().run({})
    for span in trace.spans:
        assert all(len(text) <= 2000 for text in (span.content or {}).values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"topic": "bees", "n": 3}, "topic: bees\nn: 3"),
        (("class", "one\ntwo"), "class\n\none\ntwo"),
        (["a", "b"], "['a', 'b']"),
        ({}, "{}"),
        (7, "7"),
    ],
)
def test_content_is_made_to_be_read(value: Any, shown: str):
    with Trace(content=True) as trace:
        named("Ask", prep=lambda _: value)().run({})
    assert spans_by_path(trace)["Ask/exec"].content == {"input": shown}


def test_chat_messages_are_paragraphs():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    with Trace(content=True) as trace:
        named("Ask", prep=lambda _: messages)().run({})
    assert spans_by_path(trace)["Ask/exec"].content == {"input": "system: Be brief.\n\nuser: Why?"}


def test_tokens_of_all_calls_are_added_up_by_name():
    node = named("Ask", pf.BatchNode, prep=lambda _: range(3), exec=ask)()
    with Trace() as trace:
        pf.Flow(node).run({})
    metrics = trace.metrics()
    assert (metrics["Ask"]["input_tokens"], metrics["Ask"]["output_tokens"]) == (36, 9)
    assert metrics["Flow"]["input_tokens"] == 0
    assert spans_by_path(trace)["Flow/0:Ask/exec[2]"].usage == (("small", 12, 3),)


def test_usage_emitted_by_several_threads_is_counted_whole():
    meet = threading.Barrier(4)

    def call() -> None:
        meet.wait(20)
        for _ in range(500):
            emit({"type": "usage", "input_tokens": 1})

    def exec_(_: Any) -> None:
        with ThreadPoolExecutor(4) as threads:
            for ended in [threads.submit(copy_context().run, call) for _ in range(4)]:
                ended.result()

    with Trace() as trace:
        named("Ask", exec=exec_)().run({})
    assert trace.metrics()["Ask"]["input_tokens"] == 2000


# Recorded runs


def row(path: str, kind: str, second: int, seconds: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "n": second,
        "path": path,
        "kind": kind,
        "at": f"2026-01-02T03:04:{second:02}+00:00",
        "seconds": seconds,
        **more,
    }


def test_a_history_is_a_trace_with_durations_actions_and_results():
    trace = Trace.of(
        [
            row("Flow/0:Ask/exec", "exec", 3, 2.0, result="an answer"),
            row("Flow/0:Ask", "node", 3, 2.0, action="found"),
            row("Flow/1:Call/exec[0]", "exec", 5, 1.0),
            row("Flow/1:Call/exec[1]", "exec", 6, 3.0),
            row("Flow/1:Call", "node", 6, 3.0, action=None),
            row("", "status", 6, None, status="running", error=None),
        ]
    )
    assert words(trace) == [
        "Flow +0 us 5.00 s running",
        "Ask +0 us 2.00 s -> found",
        "Call +2.00 s 3.00 s 2 items, p50 3.00 s, p95 3.00 s, longest 3.00 s",
    ]
    assert spans_by_path(trace)["Flow/0:Ask/exec"].content == {"result": "an answer"}
    assert "an answer" in trace.html()


def test_the_history_of_a_flow_tells_branches_from_entries():
    flow = pf.AsyncFlow(pf.AsyncParallelFlow(pf.Node(), pf.Node()))
    rows = [row("AsyncFlow/0:AsyncParallelFlow[1]/0:Node", "node", 2)]
    kinds = {span.path: span.kind for span in Trace.of(rows, flow).spans}
    assert kinds["AsyncFlow/0:AsyncParallelFlow[1]"] == "branch"
    assert {span.kind for span in Trace.of(rows).spans} == {"flow", "entry", "node"}
    assert '"0 AsyncFlow/AsyncParallelFlow[1]/Node"' in Trace.of(rows, flow).html()


class Ask(pf.Node):
    def exec(self, prep_res: Any) -> str:
        return "an answer"

    def post(self, shared: Any, prep_res: Any, exec_res: str) -> None:
        if shared.pop("fails", False):
            raise ValueError("bad")
        shared["answer"] = exec_res


def test_a_journaled_run_is_the_trace_that_was_seen_live(tmp_path: Path):
    batch = named("Batch", pf.BatchFlow, prep=lambda _: [{"n": 1}, {"n": 2}])(Ask())
    start = Ask()
    start >> batch
    flow = pf.Flow(start)
    with Journal(tmp_path / "runs.db") as journal:
        with Trace() as live:
            journal.run(flow, {}, run_id="monday")
        recorded = Trace.of(journal.history("monday"), flow)

    def facts(trace: Trace) -> set[tuple[str, ...]]:  # but for preps that changed nothing, and are not recorded
        return {(span.path, span.name, span.kind, span.state) for span in trace.spans if span.kind != "prep"}

    assert facts(recorded) == facts(live)
    assert recorded.metrics().keys() == live.metrics().keys()


def test_a_journaled_run_that_failed_says_how(tmp_path: Path):
    flow = pf.Flow(Ask())
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(ValueError, match="bad"):
            journal.run(flow, {"fails": True}, run_id="monday")
        recorded = Trace.of(journal.history("monday"), flow)
    assert [(span.path, span.state) for span in recorded.spans if span.is_visit] == [
        ("Flow", "failed"), ("Flow/0:Ask", "failed"),
    ]  # fmt: skip
    assert recorded.spans[0].error == "ValueError: bad"
    assert recorded.spans[0].notes == ("in Ask", "in Flow")


async def test_a_journaled_run_that_failed_blames_the_step_that_did_and_those_around_it(tmp_path: Path):
    begun = asyncio.Event()

    class Wait(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

    class Fail(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await begun.wait()
            raise ValueError("bad")

    ask = Ask()
    ask >> Wait()
    with Journal(tmp_path / "runs.db") as journal:
        with pytest.raises(ValueError, match="bad"):
            await journal.run_async(pf.AsyncFlow(pf.AsyncParallelFlow(Fail(), ask)), {}, run_id="monday")
        rows = journal.history("monday")
    fan = "AsyncFlow/0:AsyncParallelFlow"
    spans = spans_by_path(Trace.of(rows))
    assert {path: span.state for path, span in spans.items() if span.kind != "prep" and "Ask/" not in path} == {
        "AsyncFlow": "failed", fan: "failed", f"{fan}[0]": "failed", f"{fan}[0]/0:Fail": "failed",
        f"{fan}[0]/0:Fail/exec": "failed", f"{fan}[1]": "cancelled", f"{fan}[1]/0:Ask": "done",
    }  # fmt: skip
    span = spans[f"{fan}[0]/0:Fail/exec"]
    assert (span.error, span.end - span.start) == ("ValueError: bad", pytest.approx(rows[-1]["seconds"], abs=1e-5))


def test_the_history_of_nothing_is_an_empty_trace():
    assert str(Trace.of([])) == ""


# Recording


def test_metrics_count_visits_errors_retries_and_seconds(clock: Clock):
    durations = iter([1, 2, 6])

    def call(_: Any) -> None:
        clock.passing(next(durations))
        if clock.now == 1:
            raise ValueError("busy")

    with Trace(clock=clock) as trace:
        node = named("Call", exec=call)(max_retries=2)
        node.run({})
        node.run({})
    run_failing(named("Call", exec=failing(ValueError()))(), trace, ValueError)
    assert trace.metrics() == {
        "Call": {
            "count": 3,
            "errors": 1,
            "retries": 1,
            "total": 9,
            "mean": 3,
            "longest": 6,
            "input_tokens": 0,
            "output_tokens": 0,
        },
    }


def test_metrics_count_the_visits_of_a_batch_flow_and_not_its_entries(clock: Clock):
    batch = named("Batch", pf.BatchFlow, prep=lambda _: [{"n": 1}, {"n": 2}])(named("Call")())
    with Trace(clock=clock) as trace:
        batch.run({})
    assert {name: row["count"] for name, row in trace.metrics().items()} == {"Batch": 1, "Call": 2}


def test_one_trace_takes_runs_of_several_loops_and_threads(tmp_path: Path):
    trace, meet = Trace(), threading.Barrier(2)

    def work(_: int) -> None:
        with trace:
            asyncio.run(pf.AsyncFlow(named("Call", exec=lambda _: meet.wait(20))()).run_async({}))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert trace.metrics()["Call"]["count"] == 2
    events = saved(trace, tmp_path)
    check_events(events)
    assert lanes_of([event for event in events if event["name"] == "AsyncFlow"], "X") == {1, 2}


async def test_tasks_may_enter_one_trace_beside_one_another_and_leave_in_any_order():
    trace, first, second = Trace(), asyncio.Event(), asyncio.Event()

    async def enter(mine: asyncio.Event, other: asyncio.Event) -> None:
        with trace:
            mine.set()
            await other.wait()
            await pf.AsyncNode().run_async({})

    await asyncio.gather(enter(first, second), enter(second, first))
    await pf.AsyncNode().run_async({})
    assert trace.metrics()["AsyncNode"]["count"] == 2


def test_a_trace_inside_of_itself_hears_everything_once(clock: Clock):
    with Trace(clock=clock) as trace, trace:
        named("Call")().run({})
    named("Call")().run({})
    assert words(trace) == ["Call +0 us 0 us"]


def test_a_trace_keeps_nothing_of_the_store_alive():
    class Big:
        def __repr__(self) -> str:
            return "x" * 10_000

    item = Big()
    kept = weakref.ref(item)
    node = named("Call", pf.BatchNode, prep=lambda shared: shared["items"], exec=lambda item: item)()
    node.post = lambda shared, *_: shared["items"][0]
    with Trace(content=True) as trace:
        node.run({"items": [item]})
    del item
    gc.collect()
    assert kept() is None
    assert len(trace.spans[0].action or "") <= 500


@pytest.mark.usefixtures("traced")
def test_a_step_costs_some_hundred_bytes():
    node = named("Call", pf.BatchNode, prep=lambda _: range(1_000), exec=lambda _: None)()
    with Trace() as trace:
        node.run({})
    assert memory() / len(trace.spans) < 500


# Chrome trace events


def saved(trace: Trace, folder: Path) -> list[dict[str, Any]]:
    trace.save(folder / "run.json")
    return json.loads((folder / "run.json").read_text())["traceEvents"]  # type: ignore[no-any-return]  # of any JSON


def lanes_of(events: list[dict[str, Any]], phases: str) -> set[int]:
    return {event["tid"] for event in events if event["ph"] in phases}


FIELDS = {
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
    "X": {"name": str, "cat": str, "ts": int, "dur": int, "pid": int, "tid": int, "args": dict},
    "i": {"name": str, "cat": str, "ts": int, "s": str, "pid": int, "tid": int, "args": dict},
}


def check_events(events: list[dict[str, Any]]) -> None:
    """Every event has its fields, every lane its name, and bars of one lane are inside one another, or apart."""
    for event in events:
        fields = FIELDS[event["ph"]]
        assert {key: type(event[key]) for key in fields} == fields
    bars = [event for event in events if event["ph"] == "X"]
    assert lanes_of(events, "M") == lanes_of(events, "Xi")
    for lane in {event["tid"] for event in bars}:
        check_nesting([(event["ts"], event["ts"] + event["dur"]) for event in bars if event["tid"] == lane])


def check_nesting(bars: list[tuple[int, int]]) -> None:
    around: list[tuple[int, int]] = []
    for start, end in bars:
        assert start >= 0
        assert end >= start
        while around and around[-1][1] <= start:
            around.pop()
        assert not around or end <= around[-1][1]
        around.append((start, end))


def test_parallel_items_stand_in_lanes_of_their_own(tmp_path: Path):
    class Call(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            self.meet = asyncio.Barrier(3)
            return range(6)

        async def exec_async(self, item: int) -> None:
            await self.meet.wait()

    with Trace() as trace:
        asyncio.run(Call(max_concurrency=3).run_async({}))
    events = saved(trace, tmp_path)
    check_events(events)
    lanes = {event["args"]["path"]: event["tid"] for event in events if event["ph"] == "X"}
    assert [lanes[f"Call/exec[{item}]"] for item in range(3)] == [1, 2, 3]
    assert {lanes[f"Call/exec[{item}]"] for item in (3, 4, 5)} == {1, 2, 3}
    assert lanes["Call"] == 1


def test_what_runs_in_a_row_stays_in_one_lane(tmp_path: Path):
    inner = pf.Flow(named("Call")())
    with Trace() as trace:
        pf.Flow(named("Ask", exec=lambda _: inner.run({}))()).run({})
    events = saved(trace, tmp_path)
    check_events(events)
    assert {event["tid"] for event in events} == {1}


def test_a_lane_is_free_again_the_moment_it_is_left(tmp_path: Path):
    trace = Trace(clock=lambda: 3.0)
    flow = Span(None, "flow", "Flow", "Flow", 0.0, 3.0, "done")
    times = [(0.0, 1.0), (0.0, 1.0), (1.0, 2.0), (1.0, 2.0)]
    trace.spans = [flow, *(Span(flow, "entry", "Flow", f"Flow[{n}]", *time, "done") for n, time in enumerate(times))]
    assert [event["tid"] for event in saved(trace, tmp_path) if event["ph"] == "X"] == [1, 1, 2, 1, 2]


def test_what_ends_while_the_trace_is_written_counts_as_ended_now(tmp_path: Path):
    trace = Trace(clock=lambda: 2.0)
    flow = Span(None, "flow", "Flow", "Flow", 0.0)
    trace.spans = [
        flow,
        Span(flow, "node", "Call", "Flow/0:Call", 0.0, 2.5, "done", None, None, (Retry(2.2, 1.0, "busy"),)),
    ]
    events = saved(trace, tmp_path)
    check_events(events)
    assert [event["dur"] for event in events if event["ph"] == "X"] == [2_000_000, 2_000_000]


def test_a_wait_that_is_cut_short_ends_with_its_exec(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    def interrupted(_: float) -> None:
        clock.passing(1)
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    trace = Trace(clock=clock)
    run_failing(named("Call", exec=failing(ValueError("busy")))(max_retries=2, wait=100), trace, KeyboardInterrupt)
    events = saved(trace, tmp_path)
    check_events(events)
    assert [event["dur"] for event in events if event["name"] == "Call wait"] == [1_000_000]


def test_a_trace_that_begins_inside_of_an_exec_does_not_disturb_its_retries():
    trace = Trace()

    def call(_: Any) -> None:
        if not trace.spans:
            trace.__enter__()
            trace.spans.append(Span(None, "node", "Call", "Call", 0.0))
            raise ValueError("busy")

    with hooked(Hook()):  # without a hook there are no steps, and so no retries to hear of
        named("Call", exec=call)(max_retries=2).run({})
        trace.__exit__()


def test_a_retry_is_an_instant_and_its_wait_a_bar(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", clock.passing)
    node = named("Call", exec=failing(ValueError("busy")), exec_fallback=lambda *_: None)(max_retries=3, wait=2)
    with Trace(clock=clock) as trace:
        node.run({})
    events = saved(trace, tmp_path)
    check_events(events)
    times = [(event["name"], event["ts"], event.get("dur")) for event in events if event["ph"] != "M"]
    assert [time for time in times if "prep" not in time[0]] == [
        ("Call", 0, 4_000_000),
        ("Call exec", 0, 4_000_000),
        ("retry", 0, None),
        ("Call wait", 0, 2_000_000),
        ("retry", 2_000_000, None),
        ("Call wait", 2_000_000, 2_000_000),
    ]


def test_events_tell_the_path_the_state_the_attempts_the_action_and_the_error(tmp_path: Path, clock: Clock):
    trace = Trace(clock=clock)
    run_failing(named("Call", exec=failing(ValueError("bad")))(), trace, ValueError)
    with trace:
        named("Ask", post=lambda *_: "yes")().run({})
    details = {event["name"]: event["args"] for event in saved(trace, tmp_path) if event["ph"] == "X"}
    assert details["Call"] == {"path": "Call", "state": "failed", "attempts": 1, "error": "ValueError('bad')"}
    assert details["Ask"] == {"path": "Ask", "state": "done", "attempts": 1, "action": "yes"}


def random_spans(random: random.Random, count: int) -> list[Span]:
    """Trees of spans that overlap in every way, on few times, so that many are equal."""
    spans: list[Span] = []
    for number in range(count):
        parent = random.choice([None, *spans])
        start = random.randint(int(parent.start) if parent else 0, 20)
        retries = tuple(
            Retry(random.uniform(start, start + 9), random.choice([0, 1.5]), "busy") for _ in range(number % 2)
        )
        end = None if random.random() < 0.1 else start + random.choice([0, 1, 1 / 3, 5])
        spans.append(Span(parent, "exec", "Call", f"{number}", start, end, "done", None, None, retries))
    return sorted(spans, key=lambda span: span.start)


@pytest.mark.parametrize("seed", range(20 * ROUNDS))
def test_bars_of_a_lane_never_overlap_whatever_ran(seed: int, tmp_path: Path):
    trace = Trace(clock=lambda: 30.0)
    trace.spans = random_spans(random.Random(seed), 40)
    check_events(saved(trace, tmp_path))


def test_another_suffix_says_what_to_write(tmp_path: Path):
    with pytest.raises(ValueError, match=r"save\('run.txt'\): write a name that ends in .html or .json"):
        Trace().save("run.txt")


def test_a_trace_can_be_saved_while_it_runs(tmp_path: Path, clock: Clock):
    trace = Trace(clock=clock)
    states: list[str] = []

    def save(_: Any) -> None:
        clock.passing(1)
        trace.save(tmp_path / "run.html")
        states.extend(event["args"]["state"] for event in saved(trace, tmp_path) if event["ph"] == "X")

    with trace:
        named("Call", exec=save)().run({})
    assert states == ["running", "done", "running"]
