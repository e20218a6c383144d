"""Steps and hooks: what a hook sees, what it may do, and what it cannot break."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

import pocketflow as pf
from tests.kits import SyncKit


class Log(pf.Hook):
    """Writes down everything, as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[pf.Step] = []

    def on_start(self, step: pf.Step) -> pf.Skip | None:
        self.steps.append(step)
        self.lines.append(f"start {step.path}")
        return None

    def on_event(self, step: pf.Step, event: dict[str, Any]) -> None:
        self.lines.append(f"event {step.path} {event['type']}")

    def on_retry(self, step: pf.Step, error: Exception, attempt: int, wait: float) -> None:
        self.lines.append(f"retry {step.path} {attempt} {wait} {error!r}")

    def on_end(self, step: pf.Step, result: Any) -> None:
        self.lines.append(f"end {step.path} {result!r}{' skipped' * step.skipped}")

    def on_error(self, step: pf.Step, error: BaseException) -> None:
        self.lines.append(f"error {step.path} {error!r}")

    def paths(self) -> list[str]:
        return [step.path for step in self.steps]


class Skipping(pf.Hook):
    """Skips the steps whose path ends so."""

    def __init__(self, ending: str, result: Any) -> None:
        self.ending, self.result = ending, result

    def on_start(self, step: pf.Step) -> pf.Skip | None:
        return pf.Skip(self.result) if step.path.endswith(self.ending) else None


def logged(kit: SyncKit, node: Any, shared: Any = None, *hooks: pf.Hook) -> Log:
    log = Log()
    kit.hooks = (log, *hooks)
    kit.run(node, shared)
    return log


def program(kit: SyncKit) -> Any:
    class Items(kit.BatchNode):
        name = "items"

        def prep(self, shared: Any) -> Any:
            return iter("ab")

        def exec(self, item: Any) -> Any:
            return item * 2

    class Entries(kit.BatchFlow):
        name = "entries"

        def prep(self, shared: Any) -> Any:
            return [{"n": 0}, {"n": 1}]

    class Main(kit.Flow): ...

    first, last = kit.Node(), kit.Node()
    first.name, last.name = "first", "la/st[1]"
    items = Items()
    first >> Entries(items) >> last
    return Main(first)


PATHS = [
    "Main",
    "Main/prep",
    "Main/0:first",
    "Main/0:first/prep",
    "Main/0:first/exec",
    "Main/1:entries",
    "Main/1:entries/prep",
    *(
        path
        for entry in ("Main/1:entries[0]", "Main/1:entries[1]")
        for path in (
            entry,
            f"{entry}/0:items",
            f"{entry}/0:items/prep",
            f"{entry}/0:items/exec[0]",
            f"{entry}/0:items/exec[1]",
        )
    ),
    "Main/2:la%2Fst%5B1%5D",
    "Main/2:la%2Fst%5B1%5D/prep",
    "Main/2:la%2Fst%5B1%5D/exec",
]


def test_paths_are_the_same_however_the_program_runs(kit: SyncKit):
    assert sorted(logged(kit, program(kit)).paths()) == sorted(PATHS)


def test_paths_come_in_order_where_nothing_runs_at_once():
    assert logged(SyncKit(), program(SyncKit())).paths() == PATHS


def test_a_step_says_what_it_is(kit: SyncKit):
    shared: dict[str, Any] = {}
    steps = {step.path: step for step in logged(kit, program(kit), shared).steps}
    visit, entry = steps["Main/1:entries[1]/0:items"], steps["Main/1:entries[1]"]
    item, prep = steps["Main/1:entries[1]/0:items/exec[1]"], steps["Main/1:entries[1]/0:items/prep"]
    assert [step.kind for step in (steps["Main"], entry, visit, prep, item)] == ["flow", "flow", "node", "prep", "exec"]
    assert (entry.index, entry.input, entry.parent.path) == (1, {"n": 1}, "Main/1:entries")
    assert (item.index, item.input, item.shared, item.parent) == (1, "b", None, visit)
    assert (visit.index, visit.shared, visit.name) == (None, shared, "items")
    assert all(step.shared is shared for step in steps.values() if step.kind != "exec")
    assert steps["Main/2:la%2Fst%5B1%5D"].name == "la/st[1]"
    assert repr(item) == "Step('Main/1:entries[1]/0:items/exec[1]', kind='exec')"


def test_every_start_has_one_end_and_ends_come_in_reverse(kit: SyncKit):
    lines = logged(kit, program(kit)).lines
    starts = [line.split()[1] for line in lines if line.startswith("start")]
    ends = [line.split()[1] for line in lines if line.startswith("end")]
    assert sorted(starts) == sorted(ends)
    assert ends[-1] == "Main"


def test_a_loop_counts_its_visits_and_a_second_orchestration_starts_anew(kit: SyncKit):
    class Loop(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["n"] += 1
            return "again" if shared["n"] % 3 else None

    class Inner(kit.Flow): ...

    loop = Loop()
    loop - "again" >> loop
    loop - "never" >> kit.Node()
    first, second = Inner(loop), Inner(loop)
    first >> second
    with pytest.warns(pf.FlowWarning, match="Flow ends"):
        paths = logged(kit, kit.Flow(first), {"n": 0}).paths()
    loops = [path.partition("/")[2] for path in paths if path.endswith("Loop")]
    assert loops == [f"{inner}:Inner/{n}:Loop" for inner in (0, 1) for n in range(3)]


def test_what_user_code_runs_inside_of_a_step_is_marked():
    class Calls(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            for _ in range(2):
                pf.Flow(pf.Node()).run({})

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            pf.Node().run(shared)

    paths = logged(SyncKit(), Calls()).paths()
    assert [path for path in paths if path.endswith(("Flow", "~0:Node"))] == [
        "Calls/exec/~0:Flow",
        "Calls/exec/~1:Flow",
        "Calls/~0:Node",
    ]


def test_a_retry_is_told_with_its_wait_and_the_step_knows_the_attempt(kit: SyncKit, monkeypatch: pytest.MonkeyPatch):
    class Flaky(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            if self.cur_retry < 2:
                raise ValueError(self.cur_retry)
            return "done"

    async def sleep(seconds: float) -> None: ...

    monkeypatch.setattr(pf.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(pf.asyncio, "sleep", sleep)
    node = Flaky(3, wait=0.5)
    node.name = "n"
    log = logged(kit, node)
    assert log.lines[3:6] == [
        "start n/exec",
        "retry n/exec 0 0.5 ValueError(0)",
        "retry n/exec 1 0.5 ValueError(1)",
    ]
    assert log.steps[-1].attempt == 2
    assert log.lines[-2:] == ["end n/exec 'done'", "end n None"]


def test_an_error_ends_every_step_around_it(kit: SyncKit):
    class Fails(kit.Node):
        name = "fails"

        def exec(self, prep_res: Any) -> Any:
            raise KeyError("x")

    class Main(kit.Flow): ...

    log = Log()
    kit.hooks = (log,)
    with pytest.raises(KeyError):
        kit.run(Main(Fails()))
    told = "error Main{} KeyError('x')"
    assert log.lines[-3:] == [told.format(place) for place in ("/0:fails/exec", "/0:fails", "")]


async def test_cancellation_is_told_as_an_error():
    class Waits(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            started.set()
            await asyncio.Event().wait()

    started, log = asyncio.Event(), Log()
    with pf.hooked(log):
        run = asyncio.create_task(Waits().run_async({}))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log.lines[-2:] == ["error Waits/exec CancelledError()", "error Waits CancelledError()"]


# Skip


def test_a_skipped_visit_returns_the_action_of_the_skip(kit: SyncKit):
    class Never(kit.Node):
        name = "never"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            pytest.fail("is skipped")

    class Main(kit.Flow): ...

    node, after = Never(), kit.Node()
    after.name = "after"
    node - "left" >> after
    log = logged(kit, Main(node), None, Skipping(":never", "left"))
    assert log.lines[3:5] == ["start Main/0:never", "end Main/0:never 'left' skipped"]
    assert "Main/1:after" in log.paths()


def test_prep_exec_an_item_and_an_entry_can_be_skipped(kit: SyncKit):
    class Items(kit.BatchNode):
        name = "items"

        def exec(self, item: Any) -> Any:
            return f"done {item}"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared.setdefault("post", []).append((prep_res, exec_res))

    class Entries(kit.BatchFlow):
        name = "entries"

        def prep(self, shared: Any) -> Any:
            return [{"n": 0}, {"n": 1}]

    kit.hooks = (Skipping("items/prep", ["a", "b"]), Skipping("exec[1]", "from the skip"), Skipping("entries[0]", None))
    shared: dict[str, Any] = {}
    kit.run(Entries(Items()), shared)
    assert shared["post"] == [(["a", "b"], ["done a", "from the skip"])]


def test_the_first_skip_wins_and_every_hook_is_told_start_and_end(kit: SyncKit):
    class Result(kit.Node):
        name = "n"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["result"] = exec_res

    first, second, last = Skipping("exec", "first"), Skipping("exec", "second"), Log()
    kit.hooks = (first, second, last)
    shared: dict[str, Any] = {}
    kit.run(Result(), shared)
    assert shared["result"] == "first"
    assert last.lines[3:5] == ["start n/exec", "end n/exec 'first' skipped"]


# Hooks that fail


class Failing(pf.Hook):
    def __init__(self, method: str, ending: str) -> None:
        self.ending = ending
        setattr(self, method, self.fail)

    def fail(self, step: pf.Step, *rest: Any) -> Any:
        if step.path.endswith(self.ending):
            raise ValueError("of the hook")


@pytest.mark.parametrize("method", ["on_start", "on_end", "on_event", "on_retry"])
def test_an_exception_of_a_hook_fails_the_run_untried_and_names_the_hook(kit: SyncKit, method: str):
    class Emits(kit.Node):
        name = "emits"

        def exec(self, prep_res: Any) -> Any:
            calls.append(1)
            pf.emit({"type": "x"})
            if method == "on_retry":
                raise KeyError("so that there is a retry")

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            pytest.fail("the work itself did not fail")

    calls: list[int] = []
    before, after = Log(), Log()
    kit.hooks = (before, Failing(method, "exec"), after)
    with pytest.raises(ValueError, match="of the hook") as caught:
        kit.run(Emits(max_retries=3))
    assert len(calls) <= 1
    assert "raised by the hook Failing" in "\n".join(caught.value.__notes__)
    for log in (before, after):
        starts = [line.split()[1] for line in log.lines if line.startswith("start")]
        ends = [line.split()[1] for line in log.lines if line.startswith(("end", "error"))]
        assert sorted(starts) == sorted(ends)


def test_an_exception_of_on_error_replaces_the_error_and_keeps_it_as_context(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise KeyError("first")

    kit.hooks = (Failing("on_error", "exec"),)
    with pytest.raises(ValueError, match="of the hook") as caught:
        kit.run(Fails())
    assert isinstance(caught.value.__context__, KeyError)


# hooked and emit


def test_blocks_nest_and_inner_hooks_hear_of_ends_first():
    class Named(pf.Hook):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, step: pf.Step) -> None:
            order.append(f"{self.name} start")

        def on_end(self, step: pf.Step, result: Any) -> None:
            order.append(f"{self.name} end")

    class Bare(pf.BaseNode):
        def _run(self, shared: Any) -> Any: ...

    order: list[str] = []
    with pf.hooked(Named("a")), pf.hooked(Named("b"), Named("c")):
        Bare().run({})
    Bare().run({})
    assert order == ["a start", "b start", "c start", "c end", "b end", "a end"]


def test_only_instances_of_hook_can_be_installed():
    with pytest.raises(TypeError, match="not an instance of Hook"), pf.hooked(Log):  # type: ignore[arg-type]  # the mistake
        pass


def test_threads_that_run_in_a_copy_of_the_context_are_seen():
    log, results = Log(), []
    with pf.hooked(log):
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: results.append(pf.Node().run({})),))
        thread.start()
        thread.join()
    assert log.paths() == ["Node", "Node/prep", "Node/exec"]


def test_emit_hands_every_hook_the_very_dict_so_that_a_hook_may_answer(kit: SyncKit):
    class Answers(pf.Hook):
        def on_event(self, step: pf.Step, event: dict[str, Any]) -> None:
            event["answer"] = f"{step.path}: 42"

    class Asks(kit.Node):
        name = "asks"

        def exec(self, prep_res: Any) -> Any:
            event = {"type": "question"}
            pf.emit(event)
            return event

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    kit.hooks = (Answers(),)
    assert kit.run(Asks()) == {"type": "question", "answer": "asks/exec: 42"}
    kit.hooks = ()
    assert kit.run(Asks()) == {"type": "question"}


@pytest.mark.parametrize("event", ["text", {"kind": "x"}, None])
def test_an_event_is_a_dict_with_a_type(event: Any):
    with pytest.raises(TypeError, match='write a dict with a "type"'):
        pf.emit(event)


def test_without_a_hook_no_step_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pf, "Step", None)
    pf.Flow(pf.Node()).run({})
    asyncio.run(pf.AsyncFlow(pf.AsyncNode()).run_async({}))
