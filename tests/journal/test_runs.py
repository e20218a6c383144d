"""The journal: what is recorded, what a resumed run does, and what it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step, hooked
from pocketflow.journal import Journal, JournalError, RunBusy
from tests.journal.kit import Crash, PopFlow, Say, chain, crash_and_resume, run, steps


# What is not run again


def test_a_finished_run_gives_its_action_and_its_store_and_runs_nothing(journal: Journal):
    log: list[str] = []
    flow, shared, again = pf.Flow(Say(log, "a")), {"x": (1, [2])}, {}
    assert run(journal, flow, shared) == run(journal, flow, again) == "after a"
    assert again == shared == {"x": (1, [2]), "said": ["a"]}
    assert log == ["a"]


def test_a_resumed_run_goes_on_with_the_node_that_did_not_finish(journal: Journal):
    log: list[str] = []
    shared = crash_and_resume(journal, lambda fail: pf.Flow(chain(Say(log, "a"), Say(log, "b", fail))), {})
    assert (shared["said"], log) == (["a", "b"], ["a", "b", "b"])


def test_an_error_that_is_no_crash_can_be_resumed_too(journal: Journal):
    log: list[Any] = []

    class Flaky(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            log.append("tried")
            if len(log) == 1:
                raise LookupError

    flow, shared = pf.Flow(Flaky()), {"x": 1}
    with pytest.raises(LookupError):
        run(journal, flow, shared)
    assert journal.runs()[0]["status"] == "failed"
    run(journal, flow, shared)
    assert (journal.runs()[0]["status"], log) == ("finished", ["tried", "tried"])


@pytest.mark.parametrize("base", [pf.BatchNode, pf.AsyncBatchNode, pf.AsyncParallelBatchNode])
def test_an_item_of_a_batch_that_finished_is_not_run_again(journal: Journal, base: Any):
    ran: list[int] = []

    def exec(item: int) -> int:
        ran.append(item)
        if item == 2 and ran.count(2) == 1:
            raise Crash
        return item * item

    class Squares(base):  # type: ignore[misc,valid-type]  # the base is a parameter
        def prep(self, shared: Any) -> Any:
            return range(4)

        def exec(self, item: Any) -> Any:
            return exec(item)

        def post(self, shared: Any, items: Any, squares: Any) -> Any:
            shared["squares"] = squares

    if base is not pf.BatchNode:
        Squares = as_async(Squares)  # type: ignore[misc]  # the same class with coroutines
    flow = (pf.AsyncFlow if issubclass(base, pf.AsyncNode) else pf.Flow)(Squares())
    shared = crash_and_resume(journal, lambda fail: flow, {})
    assert shared == {"squares": [0, 1, 4, 9]}
    assert (ran.count(0), ran.count(1), ran.count(2)) == (1, 1, 2)


def as_async(cls: Any) -> Any:
    def twin(phase: str) -> Any:
        async def method(self: Any, *args: Any) -> Any:
            return vars(cls)[phase](self, *args)

        return method

    return type(cls.__name__, cls.__bases__, {f"{phase}_async": twin(phase) for phase in ("prep", "exec", "post")})


def test_items_that_end_in_another_order_are_known_by_their_position(journal: Journal):
    ran: list[str] = []
    first_time = True

    class Reversed(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            self.gates = [asyncio.Event() for _ in range(3)]
            return ["a", "b", "c"]

        async def exec_async(self, item: Any) -> Any:
            n = "abc".index(item)
            if n < 2 and first_time:
                await self.gates[n + 1].wait()
            ran.append(item)
            self.gates[n].set()
            if item == "a" and first_time:
                raise Crash
            return item.upper()

        async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
            shared["results"] = results

    with pytest.raises(Crash):
        run(journal, pf.AsyncFlow(Reversed()), {})
    assert ran == ["c", "b", "a"]
    first_time = False
    shared: dict[str, Any] = {}
    run(journal, pf.AsyncFlow(Reversed()), shared)
    assert (shared["results"], ran[3:]) == (["A", "B", "C"], ["a"])


def test_the_prep_of_a_nested_flow_is_not_run_again(journal: Journal):
    shared = crash_and_resume(journal, lambda fail: pf.Flow(PopFlow(Say([], "a", fail))), {})
    assert shared["popped"] == 1


class Pop(pf.Node):
    """Takes a value from the store, and crashes if it is among those in `crash`, once."""

    def __init__(self, crash: list[Any]) -> None:
        super().__init__()
        self.crash = crash

    def prep(self, shared: Any) -> Any:
        return shared["queue"].pop()

    def exec(self, item: Any) -> Any:
        if item in self.crash:
            self.crash.remove(item)
            raise Crash

    def post(self, shared: Any, item: Any, result: Any) -> Any:
        shared["got"] = item


def test_a_prep_that_changed_the_store_is_recorded_with_its_result(journal: Journal):
    crash = ["b"]
    shared = crash_and_resume(journal, lambda _: pf.Flow(Pop(crash)), {"queue": ["a", "b"]})
    assert shared == {"queue": ["a"], "got": "b"}


def test_an_exec_whose_input_is_another_one_runs_again(journal: Journal):
    ran = []
    inputs = iter([1, 1, 2])

    class Ask(pf.Node):
        def prep(self, shared: Any) -> Any:
            return next(inputs)

        def exec(self, number: Any) -> Any:
            ran.append(number)
            return number

        def post(self, shared: Any, number: Any, result: Any) -> Any:
            if len(ran) == 1:
                raise Crash
            return str(result)

    flow = pf.Flow(Ask())
    for _ in range(2):
        with pytest.raises(Crash):
            run(journal, flow, {})
    assert ran == [1]
    assert run(journal, flow, {}) == "2"
    assert ran == [1, 2]


def test_what_user_code_runs_inside_of_an_exec_belongs_to_that_exec(journal: Journal):
    log: list[str] = []

    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            inner: dict[str, Any] = {}
            pf.Flow(Say(log, "inner")).run(inner)
            return inner["said"]

        def post(self, shared: Any, prep_res: Any, said: Any) -> Any:
            shared["said"] = said

    shared: dict[str, Any] = {}
    run(journal, pf.Flow(Inside()), shared)
    assert shared == {"said": ["inner"]}
    assert [commit["path"] for commit in steps(journal, "run")] == [
        "Flow/prep", "Flow/0:Inside/exec", "Flow/0:Inside", "Flow",
    ]  # fmt: skip


def test_a_run_inside_of_a_run_keeps_a_record_of_its_own(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            inner: dict[str, Any] = {}
            journal.run(pf.Flow(Say([], "inner")), inner, run_id="inner")
            return inner["said"]

    run(journal, pf.Flow(Inside()), {})
    assert [commit["path"] for commit in steps(journal, "inner")] == [
        "Flow/prep",
        "Flow/0:inner/exec",
        "Flow/0:inner",
        "Flow",
    ]


def test_another_hook_that_skips_a_step_is_recorded_like_the_work(journal: Journal):
    class Cache(Hook):
        def on_start(self, step: Step) -> Skip | None:
            return Skip("cached") if step.kind == "exec" else None

    class Ask(pf.Node):
        def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
            shared["answer"] = answer

    shared: dict[str, Any] = {}
    with hooked(Cache()):
        run(journal, pf.Flow(Ask()), shared)
    assert shared == {"answer": "cached"}
    assert "Flow/0:Ask/exec" in [commit["path"] for commit in steps(journal, "run")]


# Branches beside each other


def test_what_a_failing_post_wrote_before_it_failed_is_not_kept(journal: Journal):
    class Half(Say):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["half"] = shared.get("half", 0) + 1
            return super().post(shared, prep_res, exec_res)

    shared = crash_and_resume(journal, lambda fail: pf.Flow(chain(Say([], "a"), Half([], "b", fail))), {})
    assert shared == {"said": ["a", "b"], "half": 1}


def test_nothing_half_done_is_committed_by_a_branch_that_ends_after_the_failure(journal: Journal):
    failed = asyncio.Event()

    class Half(pf.AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["half"] = shared.get("half", 0) + 1
            if not failed.is_set():
                failed.set()
                raise LookupError

    class Stubborn(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            try:
                await asyncio.Event().wait() if not failed.is_set() else None
            except asyncio.CancelledError:
                return "late"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["ended"] = True

    flow, shared = pf.AsyncParallelFlow(Stubborn(), Half()), {}
    with pytest.raises(LookupError):
        run(journal, flow, {})
    run(journal, flow, shared)
    assert shared == {"half": 1, "ended": True}


def test_a_commit_holds_what_every_branch_has_written_until_then(journal: Journal):
    async def scenario() -> None:
        wrote, release = asyncio.Event(), asyncio.Event()

        class Slow(pf.AsyncNode):
            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
                shared["slow"] = 1
                wrote.set()
                await release.wait()

        class Quick(pf.AsyncNode):
            async def exec_async(self, prep_res: Any) -> Any:
                await wrote.wait()

            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
                shared["quick"] = 1

        class Crashing(pf.AsyncNode):
            async def exec_async(self, prep_res: Any) -> Any:
                raise LookupError

        quick = Quick()
        quick >> Crashing()
        with pytest.raises(LookupError):
            await journal.run_async(pf.AsyncParallelFlow(Slow(), quick), {}, run_id="run")

    asyncio.run(scenario())
    assert journal.load("run") == {"slow": 1, "quick": 1}


def test_a_cancelled_run_can_be_resumed(journal: Journal):
    started = asyncio.Event()

    class Wait(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            if not started.is_set():
                started.set()
                await asyncio.Event().wait()

    async def scenario() -> Any:
        flow = pf.AsyncFlow(Say([], "a"))
        flow.start_node - "after a" >> Wait()
        task = asyncio.create_task(journal.run_async(flow, {}, run_id="run"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        shared: dict[str, Any] = {}
        await journal.run_async(flow, shared, run_id="run")
        return shared

    assert asyncio.run(scenario()) == {"said": ["a"]}


# What does not fit together


class CrashAt(pf.Node):
    """Crashes in the entry whose params are among those in `crash`, once."""

    def __init__(self, crash: list[Any]) -> None:
        super().__init__()
        self.crash = crash

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        if self.params["n"] in self.crash:
            self.crash.remove(self.params["n"])
            raise Crash


def test_a_batch_entry_with_other_params_is_refused(journal: Journal):
    class Lazy(pf.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return iter(lambda: {"n": shared["queue"].pop()} if shared["queue"] else None, None)

    flow = pf.Flow(Lazy(CrashAt([2])))
    with pytest.raises(Crash):
        run(journal, flow, {"queue": [1, 2, 3]})
    with pytest.raises(
        JournalError, match=r"Flow/0:Lazy\[0\]/0:CrashAt was recorded with other params .* return a list"
    ):
        run(journal, flow, {})


def test_a_resumed_run_that_ends_without_what_is_recorded_is_refused(journal: Journal):
    lengths = iter([3, 1, 3])

    class Lazy(pf.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return iter([{"n": n} for n in range(next(lengths))])

    flow = pf.Flow(Lazy(CrashAt([2])))
    with pytest.raises(Crash):
        run(journal, flow, {})
    with pytest.raises(JournalError, match=r"ended without Flow/0:Lazy\[1\]/0:CrashAt, which is recorded"):
        run(journal, flow, {})
    run(journal, flow, {})


@pytest.mark.parametrize("again", [{}, {"x": [1]}])
def test_a_run_is_resumed_on_an_empty_store_or_on_the_one_it_began_with(journal: Journal, again: dict[str, Any]):
    flow = pf.Flow(Say([], "a"))
    again = dict(again)
    run(journal, flow, {"x": [1]})
    run(journal, flow, again)
    assert again == {"x": [1], "said": ["a"]}
    with pytest.raises(JournalError, match="'run' began with another shared: give that one, or an empty dict"):
        run(journal, flow, {"x": [2]})


def test_a_graph_that_changed_is_refused_and_named(journal: Journal):
    log: list[str] = []
    with pytest.raises(Crash):
        run(journal, pf.Flow(chain(Say(log, "a"), Say(log, "b", fail=True))), {})
    changed = pf.Flow(chain(Say(log, "a"), Say(log, "c")))
    message = r"the graph of 'run' changed since it began: .*b.* before, .*c.* now; .* pass allow_changes=True"
    with pytest.raises(JournalError, match=message):
        run(journal, changed, {})
    run(journal, changed, {}, allow_changes=True)
    assert log == ["a", "b", "c"]


def test_a_run_that_has_recorded_nothing_yet_takes_any_graph(journal: Journal):
    with pytest.raises(RuntimeError, match="Use run_async"):
        journal.run(pf.AsyncFlow(pf.AsyncNode()), {}, run_id="run")
    assert run(journal, pf.Flow(Say([], "a")), {}) == "after a"


def test_a_second_owner_is_refused_while_the_first_is_alive(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            with pytest.raises(RunBusy, match="'run' is being run by another owner: wait .* pass takeover=True"):
                journal.run(flow, {}, run_id="run")

    flow = pf.Flow(Inside())
    run(journal, flow, {})


def test_what_an_owner_writes_after_a_takeover_is_refused(journal: Journal, where: str):
    taken = []

    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            if not taken:
                taken.append(True)
                with Journal(where) as other:
                    run(other, flow, {}, takeover=True)
            return "done"

    flow = pf.Flow(Inside())
    with pytest.raises(RunBusy, match="'run' was taken over or deleted: this owner may not write it any more"):
        run(journal, flow, {})
    assert journal.runs()[0]["status"] == "finished"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda journal: journal.run(pf.Flow(), {}, run_id=""), r"run_id='': write a text"),
        (lambda journal: journal.run(pf.Flow(), {}, run_id=3), r"run_id=3: write a text"),
        (lambda journal: journal.run(pf.Flow(), [], run_id="a"), r"shared is a list: a journaled run needs a plain"),
        (lambda journal: Journal("x", exclude="ab"), r"exclude='ab': write exclude=\['ab'\]"),
        (lambda journal: Journal("x", encode=str), r"give both encode= and decode="),
        (lambda journal: Journal("x", synchronous="off"), r"synchronous='off': write \"normal\" or \"full\""),
        (lambda journal: journal.history("no"), r"has no run 'no': see journal.runs\(\)"),
        (lambda journal: journal.answer("no", 1), r"has no run 'no'"),
        (lambda journal: journal.fork("no", after="x"), r"has no run 'no'"),
    ],
)
def test_a_wrong_call_is_told_with_what_to_write(journal: Journal, call: Any, message: str):
    with pytest.raises((JournalError, TypeError, ValueError), match=message):
        call(journal)


def test_what_cannot_be_written_as_text_is_told(journal: Journal):
    with pytest.raises(JournalError, match="surrogates not allowed: names and ids have to be text"):
        run(journal, pf.Flow(Say([], "a")), {}, "\ud800")
    with pytest.raises(JournalError, match="surrogates not allowed: names and ids have to be text"):
        run(journal, pf.Flow(Say([], "\ud800")), {})


def test_a_closed_journal_says_so(journal: Journal):
    journal.close()
    with pytest.raises(JournalError, match="it was closed; open it again"):
        run(journal, pf.Flow(Say([], "a")), {})


