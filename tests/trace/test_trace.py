"""What a trace records, prints and saves, and what the live progress shows."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import threading
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step, hooked
from pocketflow.trace import Span, Trace
from tests.trace.made import Clock, Pause, failing, named


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run_failing(flow: Any, trace: Trace, error: type[BaseException]) -> None:
    with trace, pytest.raises(error):
        flow.run({})


# The text tree


def test_the_tree_shows_durations_attempts_actions_and_items(clock: Clock):
    failures = iter([ValueError("busy")])

    def call(item: int) -> None:
        clock.passing(item)
        for error in failures:
            raise error

    fetch = named("Fetch", exec=lambda _: clock.passing(0.25), post=lambda *_: "found")()
    fetch - "found" >> named("Call", pf.BatchNode, prep=lambda _: [1, 2], exec=call)(max_retries=2)
    with Trace(clock=clock) as trace:
        pf.Flow(fetch).run({})
    assert str(trace) == (
        "Flow        4.25 s\n"
        "  Fetch   250.0 ms  -> found\n"
        "  Call      4.00 s\n"
        "    [0]     2.00 s  2 attempts\n"
        "    [1]     2.00 s"
    )


def test_attempts_of_a_single_exec_stand_on_the_line_of_its_node(clock: Clock):
    node = named("Call", exec=failing(ValueError("busy")), exec_fallback=lambda *_: None)(max_retries=3)
    with Trace(clock=clock) as trace:
        node.run({})
    assert str(trace) == "Call       0 us  3 attempts"


@pytest.mark.parametrize(
    ("phase", "lines"),
    [
        ("prep", ["Flow       0 us  failed", "  Call     0 us  failed", "    prep   0 us  failed: ValueError('bad')"]),
        ("exec", ["Flow       0 us  failed", "  Call     0 us  failed: ValueError('bad')"]),
        ("post", ["Flow       0 us  failed", "  Call     0 us  failed: ValueError('bad')"]),
    ],
)
def test_an_error_stands_once_where_it_arose(clock: Clock, phase: str, lines: list[str]):
    trace = Trace(clock=clock)
    run_failing(pf.Flow(named("Call", **{phase: failing(ValueError("bad"))})()), trace, ValueError)
    assert [" ".join(line.split()) for line in str(trace).splitlines()] == [" ".join(line.split()) for line in lines]


def test_what_is_no_exception_cancels_and_does_not_fail(clock: Clock):
    trace = Trace(clock=clock)
    run_failing(named("Ask", exec=failing(Pause("who?")))(), trace, Pause)
    run_failing(named("Ask", exec=failing(asyncio.CancelledError()))(), trace, asyncio.CancelledError)
    assert str(trace).splitlines() == ["Ask       0 us  cancelled: Pause('who?')", "Ask       0 us  cancelled"]
    assert trace.metrics()["Ask"]["errors"] == 0


class SkipAll(Hook):
    def on_start(self, step: Step) -> Skip:
        return Skip("kept")


def test_what_a_hook_skips_is_shown_as_skipped_and_not_counted(clock: Clock):
    with hooked(SkipAll()), Trace(clock=clock) as trace:
        named("Call", exec=failing(ValueError))().run({})
    assert str(trace) == "Call       0 us  skipped, -> kept"
    assert trace.metrics()["Call"]["count"] == 0


def test_what_runs_is_shown_as_running(clock: Clock):
    seen: list[str] = []
    trace = Trace(clock=clock)

    def look(_: Any) -> None:
        clock.passing(3)
        seen.append(str(trace))

    with trace:
        pf.Flow(named("Call", exec=look)()).run({})
    assert seen == ["Flow       3.00 s  running\n  Call     3.00 s  running"]


def test_of_many_siblings_the_first_twenty_are_shown(clock: Clock):
    def only_low(item: int) -> None:
        if item > 24:
            raise ValueError(item)

    trace = Trace(clock=clock)
    run_failing(named("Call", pf.BatchNode, prep=lambda _: range(99), exec=only_low)(), trace, ValueError)
    lines = str(trace).splitlines()
    assert len(lines) == 22
    assert lines[-1].split() == ["...", "6", "more", "1", "failed"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0000125, "12 us"), (0.25, "250.0 ms"), (59.99, "59.99 s"), (60, "1 min 0 s"), (3599.7, "60 min 0 s")],
)
def test_durations_have_the_unit_that_suits_them(clock: Clock, seconds: float, shown: str):
    with Trace(clock=clock) as trace:
        named("Call", exec=lambda _: clock.passing(seconds))().run({})
    assert str(trace).split(maxsplit=1) == ["Call", shown]


def test_a_name_cannot_steer_the_terminal(clock: Clock):
    node = named("Call", post=lambda *_: "a\x1b[2Jb")()
    node.name = "x\x1b]0;title\x07\nfake\u202eline"
    with Trace(clock=clock) as trace:
        node.run({})
    assert str(trace) == "x\\x1b]0;title\\x07\\nfake\\u202eline       0 us  -> a\\x1b[2Jb"


def test_a_trace_of_nothing_is_empty(tmp_path: Path):
    assert (str(Trace()), Trace().metrics()) == ("", {})
    Trace().save(tmp_path / "run.html")
    assert saved(Trace(), tmp_path) == []


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
        "Call": {"count": 3, "errors": 1, "retries": 1, "total": 9, "mean": 3, "longest": 6},
    }


def test_metrics_count_the_visits_of_a_batch_flow_and_not_its_entries(clock: Clock):
    batch = named("Batch", pf.BatchFlow, prep=lambda _: [{"n": 1}, {"n": 2}])(named("Call")())
    with Trace(clock=clock) as trace:
        batch.run({})
    assert {name: row["count"] for name, row in trace.metrics().items()} == {"Batch": 1, "Call": 2}


def test_one_trace_takes_runs_of_several_loops_and_threads(tmp_path: Path):
    trace, meet = Trace(), threading.Barrier(2)

    def work() -> None:
        with trace:
            asyncio.run(pf.AsyncFlow(named("Call", exec=lambda _: meet.wait(20))()).run_async({}))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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
    assert str(trace) == "Call       0 us"


def test_a_trace_keeps_nothing_of_what_ran_alive():
    class Big:
        def __repr__(self) -> str:
            return "x" * 10_000

    node, item = named("Call", pf.BatchNode, prep=lambda shared: shared["items"], exec=lambda item: item)(), Big()
    kept = [weakref.ref(node), weakref.ref(item)]
    node.post = lambda shared, *_: shared["items"][0]
    with Trace() as trace:
        node.run({"items": [item]})
    del node, item
    gc.collect()
    assert [ref() for ref in kept] == [None, None]
    assert len(trace.spans[0].action or "") <= 120


def test_a_step_costs_some_hundred_bytes():
    node = named("Call", pf.BatchNode, prep=lambda _: range(10_000), exec=lambda _: None)()
    tracemalloc.start()
    try:
        with Trace() as trace:
            node.run({})
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] / len(trace.spans) < 500
    finally:
        tracemalloc.stop()


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
    """Every event has its fields, every lane its name, and bars of one lane are inside of one another, or apart."""
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


def lanes_and_depths(trace: Trace, folder: Path) -> dict[str, tuple[int, int]]:
    """By path, as the page has them."""
    trace.save(folder / "run.html")
    data = json.loads((folder / "run.html").read_text().split('id="run">')[1].split("</script>")[0])
    paths: list[str] = []
    for parent, place in zip(data["parent"], data["place"], strict=True):
        paths.append((paths[parent] if parent >= 0 else "") + data["words"][place])
    return dict(zip(paths, zip(data["lane"], data["depth"], strict=True), strict=True))


def test_what_takes_no_time_is_still_inside_of_its_parent(tmp_path: Path, clock: Clock):
    with Trace(clock=clock) as trace:
        pf.Flow(named("Call")()).run({})
    places = lanes_and_depths(trace, tmp_path)
    assert [places[path] for path in ("Flow", "Flow/0:Call", "Flow/0:Call/exec")] == [(0, 0), (0, 1), (0, 2)]


def test_a_lane_is_free_again_the_moment_it_is_left(tmp_path: Path):
    trace = Trace(clock=lambda: 3.0)
    flow = Span(None, "flow", "Flow", "Flow", 0.0, 3.0, "done")
    times = [(0.0, 1.0), (0.0, 1.0), (1.0, 2.0), (1.0, 2.0)]
    trace.spans = [flow, *(Span(flow, "flow", "Flow", f"Flow[{n}]", *time, "done") for n, time in enumerate(times))]
    assert [lane for lane, _ in lanes_and_depths(trace, tmp_path).values()] == [0, 0, 1, 0, 1]


def test_what_ends_while_the_trace_is_written_counts_as_ended_now(tmp_path: Path):
    trace = Trace(clock=lambda: 2.0)
    flow = Span(None, "flow", "Flow", "Flow", 0.0)
    trace.spans = [flow, Span(flow, "node", "Call", "Flow/0:Call", 0.0, 2.5, "done", None, None, ((2.2, 1.0, "busy"),))]
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
        retries = tuple((random.uniform(start, start + 9), random.choice([0, 1.5]), "busy") for _ in range(number % 2))
        end = None if random.random() < 0.1 else start + random.choice([0, 1, 1 / 3, 5])
        spans.append(Span(parent, "exec", "Call", f"{number}", start, end, "done", None, None, retries))
    return sorted(spans, key=lambda span: span.start)


@pytest.mark.parametrize("seed", range(50))
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
