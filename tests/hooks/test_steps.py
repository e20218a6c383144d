"""Steps: what is told of a run, in which order, and under which path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import hooked
from tests.core.nodes import soon
from tests.hooks.hooks import Lines, Skipping, logged
from tests.kits import SyncKit


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

    log = Lines()
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

    started, log = asyncio.Event(), Lines()
    with hooked(log):
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

    first, second, last = Skipping("exec", "first"), Skipping("exec", "second"), Lines()
    kit.hooks = (first, second, last)
    shared: dict[str, Any] = {}
    kit.run(Result(), shared)
    assert shared["result"] == "first"
    assert last.lines[3:5] == ["start n/exec", "end n/exec 'first' skipped"]


def test_the_loop_of_a_step_is_set_where_its_work_is_awaited():
    loops: dict[str, bool] = {}

    class Loops(Lines):
        def on_start(self, step: Any) -> Any:
            loops[step.path] = step.loop is not None

    def nodes() -> Any:
        first = pf.AsyncNode()
        first >> pf.Node() >> pf.Flow(pf.Node()) >> [pf.Node()]
        return first

    with Loops():
        asyncio.run(pf.AsyncFlow(nodes()).run_async({}))
    fan_out = "AsyncFlow/3:AsyncParallelFlow"
    assert {path for path, is_set in loops.items() if is_set} == {
        "AsyncFlow",
        "AsyncFlow/prep",
        "AsyncFlow/0:AsyncNode",
        "AsyncFlow/0:AsyncNode/prep",
        "AsyncFlow/0:AsyncNode/exec",
        "AsyncFlow/1:Node",
        "AsyncFlow/2:Flow",
        fan_out,
        f"{fan_out}/prep",
        f"{fan_out}[0]",
        f"{fan_out}[0]/0:Node",
    }
    loops.clear()
    with Loops():
        pf.Flow(pf.Node()).run({})
    assert not any(loops.values())


async def test_the_paths_of_branches_are_numbered():
    class Say(pf.Node): ...

    first, lines, shared = Say(), Lines(), {"x": 1}
    first >> [Say(), Say()]
    with lines:
        await pf.AsyncFlow(first).run_async(shared)
    fan_out = "AsyncFlow/1:AsyncParallelFlow"
    visits = [path for path in lines.paths() if path.endswith(":Say")]
    assert visits == ["AsyncFlow/0:Say", f"{fan_out}[0]/0:Say", f"{fan_out}[1]/0:Say"]
    branch = next(step for step in lines.steps if step.path == f"{fan_out}[1]")
    assert (branch.kind, branch.index, branch.shared) == ("flow", 1, shared)


@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_items_have_the_paths_of_their_positions_whatever_the_limit(limit: int | None):
    class Items(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return range(5)

        async def exec_async(self, item: int) -> Any:
            for _ in range(5 - item):
                await asyncio.sleep(0)
            return item

    lines = Lines()
    with lines:
        await soon(Items(max_concurrency=limit).run_async({}))
    ends = {line for line in lines.lines if line.startswith("end Items/exec")}
    assert ends == {f"end Items/exec[{item}] {item}" for item in range(5)}


async def test_an_own_loop_over_the_items_gives_each_its_step_too():
    class Own(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return "abc"

        async def _exec(self, items: Any) -> Any:
            one = super(pf.AsyncParallelBatchNode, self)._exec
            return await asyncio.gather(*(one(item) for item in items))

    lines = Lines()
    with lines:
        await Own().run_async({})
    items = [step for step in lines.steps if step.kind == "exec"]
    assert [(step.path, step.index, step.input) for step in items] == [
        (f"Own/exec[{n}]", n, item) for n, item in enumerate("abc")
    ]


def test_a_step_without_a_hook_is_never_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pocketflow.hooks.Step", None)
    pf.Flow(pf.Node()).run({})
    asyncio.run(pf.AsyncFlow(pf.AsyncNode()).run_async({}))


def test_what_is_skipped_above_is_not_told_below(kit: SyncKit):
    node = kit.Node()
    node.name = "skipped"
    lines = logged(kit, kit.Flow(node), None, Skipping("0:skipped", None))
    assert not [path for path in lines.paths() if "skipped/" in path]
    assert lines.is_balanced()
