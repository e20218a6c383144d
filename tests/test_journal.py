"""The journal: what is recorded, what a resumed run does, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.executors import ExecutorNode
from pocketflow.journal import Journal, JournalError, Paused, RunBusy, pause


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "runs.db") as journal:
        yield journal


def run(journal: Journal, flow: Any, shared: dict[str, Any], run_id: str = "run", **options: Any) -> Any:
    if isinstance(flow, pf.AsyncNode):
        return asyncio.run(journal.run_async(flow, shared, run_id=run_id, **options))
    return journal.run(flow, shared, run_id=run_id, **options)


class Crash(BaseException):
    """Stands for the end of the process: no retry, no fallback takes it."""


class Say(pf.Node):
    """Writes its name to the log that no journal keeps, and to the store."""

    def __init__(self, log: list[Any], name: str, fail: bool = False) -> None:
        super().__init__()
        self.log, self.name, self.fail = log, name, fail

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        self.log.append(self.name)
        if self.fail:
            raise Crash
        shared.setdefault("said", []).append(self.name)
        return f"after {self.name}"


def chain(*nodes: Any) -> Any:
    for before, after in pairwise(nodes):
        before - f"after {before.name}" >> after
    return nodes[0]


def crash_and_resume(
    journal: Journal, make: Callable[[bool], Any], shared: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """The store of a run that crashed as `make(True)`, and was then resumed as `make(False)`."""
    with pytest.raises(Crash):
        run(journal, make(True), dict(shared))
    resumed: dict[str, Any] = {}
    run(journal, make(False), resumed, **options)
    return resumed


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


class PopFlow(pf.Flow):
    def prep(self, shared: Any) -> Any:
        shared["popped"] = shared.get("popped", 0) + 1


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
    assert [commit["path"] for commit in journal.history("run")] == [
        "Flow/prep", "Flow/0:Inside/exec", "Flow/0:Inside", "Flow",
    ]  # fmt: skip


def test_a_run_inside_of_a_run_keeps_a_record_of_its_own(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            inner: dict[str, Any] = {}
            journal.run(pf.Flow(Say([], "inner")), inner, run_id="inner")
            return inner["said"]

    run(journal, pf.Flow(Inside()), {})
    assert [commit["path"] for commit in journal.history("inner")] == [
        "Flow/prep",
        "Flow/0:inner/exec",
        "Flow/0:inner",
        "Flow",
    ]


def test_another_hook_that_skips_a_step_is_recorded_like_the_work(journal: Journal):
    class Cache(pf.Hook):
        def on_start(self, step: pf.Step) -> pf.Skip | None:
            return pf.Skip("cached") if step.kind == "exec" else None

    class Ask(pf.Node):
        def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
            shared["answer"] = answer

    shared: dict[str, Any] = {}
    with pf.hooked(Cache()):
        run(journal, pf.Flow(Ask()), shared)
    assert shared == {"answer": "cached"}
    assert "Flow/0:Ask/exec" in [commit["path"] for commit in journal.history("run")]


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
                raise Crash

    class Stubborn(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            try:
                await asyncio.Event().wait() if not failed.is_set() else None
            except asyncio.CancelledError:
                return "late"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["ended"] = True

    shared = crash_and_resume(journal, lambda fail: pf.AsyncParallelFlow(Stubborn(), Half()), {})
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
                raise Crash

        quick = Quick()
        quick >> Crashing()
        with pytest.raises(Crash):
            await journal.run_async(pf.AsyncParallelFlow(Slow(), quick), {}, run_id="run")

    asyncio.run(scenario())
    assert journal.data.apply({}, changes(journal)) == {"slow": 1, "quick": 1}


def changes(journal: Journal) -> str:
    """All changes of the run, as one."""
    rows = journal.file.db.execute("SELECT changes FROM commits ORDER BY id").fetchall()
    return "[" + ",".join(row[0][1:-1] for row in rows if row[0] != "[]") + "]"


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


class Interrupting:
    """A connection that is interrupted right after one of its commits."""

    def __init__(self, db: Any, commits: int) -> None:
        self.db, self.left = db, commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def execute(self, sql: str, *args: Any) -> Any:
        result = self.db.execute(sql, *args)
        self.left -= sql == "COMMIT"
        if self.left == 0 and sql == "COMMIT":
            raise KeyboardInterrupt
        return result


@pytest.mark.parametrize("commits", range(1, 8))
def test_an_interrupt_right_after_a_commit_loses_nothing(journal: Journal, commits: int):
    log: list[str] = []
    flow = pf.Flow(chain(Say(log, "a"), Say(log, "b")))
    journal.file.db, db = Interrupting(journal.file.db, commits), journal.file.db  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run(journal, flow, {})
    journal.file.db, shared = db, {}
    run(journal, flow, shared)
    assert (shared, log) == ({"said": ["a", "b"]}, ["a", "b"])


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
    message = r'a#1 - "after a" >> b#2 before, a#1 - "after a" >> c#2 now; .* pass allow_changes=True'
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


def test_what_an_owner_writes_after_a_takeover_is_refused(journal: Journal):
    taken = []

    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            if not taken:
                taken.append(True)
                with Journal(journal.file.path) as other:
                    run(other, flow, {}, takeover=True)
            return "done"

    flow = pf.Flow(Inside())
    with pytest.raises(RunBusy, match="'run' was taken over: this owner may not write it any more"):
        run(journal, flow, {})
    assert journal.runs()[0]["status"] == "finished"


def test_no_side_file_is_left(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {})
    assert [path.name for path in Path(journal.file.path).parent.glob("*owner*")] == []


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


# Pauses


class Approve(pf.Node):
    def __init__(self, log: list[Any], questions: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.log, self.questions = log, questions

    def exec(self, prep_res: Any) -> Any:
        return [pause(f"question {n}?") for n in range(self.questions)]

    def post(self, shared: Any, prep_res: Any, answers: Any) -> Any:
        shared["answers"] = answers


def paused(journal: Journal, flow: Any, **options: Any) -> Paused:
    with pytest.raises(Paused) as caught:
        run(journal, flow, {}, **options)
    return caught.value


def test_a_pause_stops_the_run_until_it_is_answered(journal: Journal):
    flow, shared = pf.Flow(Approve([])), {}
    stopped = paused(journal, flow)
    assert (stopped.run_id, stopped.path, stopped.question) == ("run", "Flow/0:Approve/exec", "question 0?")
    question = {"path": "Flow/0:Approve/exec", "question": "question 0?"}
    assert journal.runs() == [{"run_id": "run", "status": "paused", "questions": [question]}]
    paused(journal, flow)
    journal.answer("run", {"yes": True})
    assert journal.runs()[0]["questions"] == []
    run(journal, flow, shared)
    assert shared == {"answers": [{"yes": True}]}


def test_a_node_may_ask_twice(journal: Journal):
    flow, shared = pf.Flow(Approve([], questions=2)), {}
    for n in range(2):
        assert paused(journal, flow).question == f"question {n}?"
        journal.answer("run", n)
    run(journal, flow, shared)
    assert shared == {"answers": [0, 1]}


@pytest.mark.parametrize("phase", ["prep", "post"])
def test_a_pause_may_be_in_any_phase(journal: Journal, phase: str):
    class Ask(pf.Node):
        def prep(self, shared: Any) -> Any:
            return pause("?") if phase == "prep" else None

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return pause("?") if phase == "post" else prep_res

    flow = pf.Flow(Ask())
    assert paused(journal, flow).path == ("Flow/0:Ask/prep" if phase == "prep" else "Flow/0:Ask")
    journal.answer("run", "yes")
    assert run(journal, flow, {}) == "yes"


def test_an_answer_holds_for_a_retry_too(journal: Journal):
    tries = []

    class Flaky(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            answer = pause("which?")
            tries.append(answer)
            if len(tries) < 3:
                raise ValueError
            return answer

    flow = pf.Flow(Flaky(max_retries=3))
    paused(journal, flow)
    journal.answer("run", "this")
    run(journal, flow, {})
    assert tries == ["this"] * 3


def test_items_at_once_are_answered_by_their_paths(journal: Journal):
    class Items(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return ["a", "b"]

        async def exec_async(self, item: Any) -> Any:
            return pause(f"{item}?")

        async def post_async(self, shared: Any, items: Any, answers: Any) -> Any:
            shared["answers"] = answers

    flow, shared = pf.AsyncFlow(Items()), {}
    paused(journal, flow)
    paths = [question["path"] for question in journal.runs()[0]["questions"]]
    assert paths == ["AsyncFlow/0:Items/exec[0]", "AsyncFlow/0:Items/exec[1]"]
    with pytest.raises(JournalError, match="several questions wait: add path=, one of"):
        journal.answer("run", "x")
    for path, answer in zip(reversed(paths), ["B", "A"], strict=True):
        journal.answer("run", answer, path=path)
    run(journal, flow, shared)
    assert shared == {"answers": ["A", "B"]}


def test_a_pause_cancels_its_siblings_which_run_again(journal: Journal):
    log = []

    class Slow(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            try:
                await asyncio.Event().wait() if len(log) == 0 else None
                log.append("done")
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

    flow = pf.AsyncParallelFlow(Slow(), Approve([]))
    paused(journal, flow)
    journal.answer("run", 1)
    run(journal, flow, {})
    assert log == ["cancelled", "done"]


def test_a_pause_in_a_thread_stops_the_run_too(journal: Journal):
    class Ask(ExecutorNode):
        def exec(self, prep_res: Any) -> Any:
            return pause("?")

    flow = pf.AsyncFlow(Ask())
    assert paused(journal, flow).path == "AsyncFlow/0:Ask/exec"
    journal.answer("run", None)
    run(journal, flow, {})


def test_a_pause_belongs_to_the_innermost_run(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            inner: dict[str, Any] = {}
            journal.run(pf.Flow(Approve([])), inner, run_id="inner")
            return inner["answers"]

        def post(self, shared: Any, prep_res: Any, answers: Any) -> Any:
            shared["answers"] = answers

    flow, shared = pf.Flow(Inside()), {}
    assert paused(journal, flow).run_id == "inner"
    journal.answer("inner", "yes")
    run(journal, flow, shared)
    assert shared == {"answers": ["yes"]}


def test_a_pause_in_a_flow_that_an_exec_runs_belongs_to_that_exec(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            return pf.Flow(Approve([])).run({})

    flow = pf.Flow(Inside())
    assert paused(journal, flow).path == "Flow/0:Inside/exec"
    journal.answer("run", "yes")
    run(journal, flow, {})


def test_an_event_of_the_users_own_is_no_question(journal: Journal):
    class Emit(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            pf.emit({"type": "pause", "question": "?"})

    run(journal, pf.Flow(Emit()), {})


def test_a_pause_outside_of_a_journaled_run_is_an_error():
    with pytest.raises(RuntimeError, match=r"write journal.run\(flow, shared, run_id=...\)"):
        Approve([]).run({})


def test_an_answer_to_nothing_is_an_error(journal: Journal):
    flow = pf.Flow(Approve([]))
    paused(journal, flow)
    with pytest.raises(JournalError, match=r"no question waits at Flow/9:X; there is \['Flow/0:Approve/exec'\]"):
        journal.answer("run", 1, path="Flow/9:X")
    with pytest.raises(JournalError, match="answer is a set"):
        journal.answer("run", {1})
    journal.answer("run", 1)
    with pytest.raises(JournalError, match=r"no question waits at any step; there is \[\]"):
        journal.answer("run", 2)


# Looking back, and another try


def test_the_history_lists_the_commits(journal: Journal):
    run(journal, pf.Flow(PopFlow(chain(Say([], "a"), Say([], "b")))), {})
    assert [(commit["path"], commit["kind"], commit["action"]) for commit in journal.history("run")] == [
        ("Flow/prep", "prep", None),
        ("Flow/0:PopFlow/prep", "prep", None),
        ("Flow/0:PopFlow/0:a/exec", "exec", None),
        ("Flow/0:PopFlow/0:a", "node", "after a"),
        ("Flow/0:PopFlow/1:b/exec", "exec", None),
        ("Flow/0:PopFlow/1:b", "node", "after b"),
        ("Flow/0:PopFlow", "flow", "after b"),
        ("Flow", "flow", "after b"),
    ]


def test_the_list_of_runs_gives_their_status(journal: Journal):
    class Look(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            return [entry["status"] for entry in journal.runs()]

        def post(self, shared: Any, prep_res: Any, seen: Any) -> Any:
            shared["seen"] = seen

    shared: dict[str, Any] = {}
    with pytest.raises(Crash):
        run(journal, pf.Flow(Say([], "a", fail=True)), {}, "one")
    run(journal, pf.Flow(Look()), shared, "two")
    paused(journal, pf.Flow(Approve([])), run_id="three")
    assert shared["seen"] == ["failed", "running"]
    assert [entry["status"] for entry in journal.runs()] == ["failed", "finished", "paused"]


def test_a_fork_goes_on_from_a_point_in_the_past(journal: Journal):
    log: list[str] = []
    flow = pf.Flow(chain(Say(log, "a"), Say(log, "b"), Say(log, "c")))
    run(journal, flow, {"x": 1})
    fork = journal.fork("run", after="Flow/0:a")
    shared: dict[str, Any] = {}
    run(journal, flow, shared, fork)
    assert (fork, shared, log[3:]) == ("run-fork1", {"x": 1, "said": ["a", "b", "c"]}, ["b", "c"])
    assert journal.history(fork) == journal.history("run")
    assert journal.fork("run", after="Flow") == "run-fork2"
    assert run(journal, flow, {}, "run-fork2") == "after c"
    assert log[5:] == []
    with pytest.raises(JournalError, match=r"'run' has no commit 'Flow/7:x': see journal.history\('run'\)"):
        journal.fork("run", after="Flow/7:x")


def test_a_fork_asks_again(journal: Journal):
    approve = Approve([])
    flow = pf.Flow(chain(Say([], "a")))
    flow.start_node - "after a" >> approve
    paused(journal, flow)
    journal.answer("run", "no")
    run(journal, flow, {})
    fork, shared = journal.fork("run", after="Flow/0:a"), {}
    paused(journal, flow, run_id=fork)
    journal.answer(fork, "yes")
    run(journal, flow, shared, fork)
    assert shared["answers"] == ["yes"]


# Values


EXACT = [
    [1, 1.0, True, None, "", "\ud800 \0 é", -0.0, 1e308, float("inf"), 2**70],
    {"b": 1, "a": {}, "": []},
    ((), (1,), [(1, [2, {"x": (3,)}])]),
    {"$tuple": [1]},
    {"$object": {"$dict": []}, "more": 1},
    {"$dict": {"$tuple": 1}},
]


@pytest.mark.parametrize("value", EXACT, ids=ascii)
def test_a_value_comes_back_exactly(journal: Journal, value: Any):
    class Copy(pf.Node):
        def prep(self, shared: Any) -> Any:
            return value

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["copy"] = [prep_res]

    flow, shared = pf.Flow(Copy()), {}
    run(journal, flow, {"value": value})
    run(journal, flow, shared)
    assert repr(shared) == repr({"value": value, "copy": [value]})


DEEP: list[Any] = []
DEEP.append(DEEP)
NO_DATA = {
    "set": ({1, 2}, r"\['x'\] is a set, which is no data: write a dict .*exclude=.*encode="),
    "bytes": ([{"y": b"z"}], r"\['x'\]\[0\]\['y'\] is a bytes"),
    "key": ({"y": {3: 4}}, r"\['x'\]\['y'\] has the key 3: only text can be a key, write '3'"),
    "deep": (DEEP, "is nested too deep, or holds itself"),
    "digits": (10**5000, "4300 digits"),
}


@pytest.mark.parametrize("kind", NO_DATA)
@pytest.mark.parametrize("where", ["beginning", "node", "list"])
def test_what_cannot_be_kept_is_named_by_its_place(journal: Journal, kind: str, where: str):
    value, message = NO_DATA[kind]

    class Put(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            if where == "node":
                shared["x"] = value
            elif where == "list":
                shared["list"].append({"x": value})

    with pytest.raises(JournalError, match=message):
        run(journal, pf.Flow(Put()), {"x": value} if where == "beginning" else {"list": []})


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Point({self.x})"


def encode(value: Any) -> Any:
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Point):
        return {"point": value.x}
    raise TypeError(type(value))


def decode(value: dict[str, Any]) -> Any:
    return date.fromisoformat(value["date"]) if "date" in value else Point(value["point"])


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "runs.db", encode=encode, decode=decode) as journal:
        yield journal


def test_encode_and_decode_keep_types_of_ones_own(typed: Journal):
    class Move(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["at"][0].x += 1  # in place: the object is the same, what it holds is not
            return shared["day"].isoformat()

    shared: dict[str, Any] = {}
    run(typed, pf.Flow(Move()), {"day": date(2024, 5, 1), "at": (Point(1),), "same": {"date": "no"}})
    assert run(typed, pf.Flow(Move()), shared) == "2024-05-01"
    assert repr(shared) == repr({"day": date(2024, 5, 1), "at": (Point(2),), "same": {"date": "no"}})


def test_without_decode_a_run_with_objects_cannot_be_opened(typed: Journal):
    run(typed, pf.Flow(Say([], "a")), {"x": Point(1)})
    with Journal(typed.file.path) as journal, pytest.raises(JournalError, match="open it with encode= and decode="):
        run(journal, pf.Flow(Say([], "a")), {})


def test_a_type_that_encode_does_not_know_is_an_error(typed: Journal):
    with pytest.raises(JournalError, match=r"shared\['x'\] is a set"):
        run(typed, pf.Flow(Say([], "a")), {"x": set()})


def test_a_decode_that_fails_names_the_run_and_the_file(tmp_path: Path):
    message = r"'run' cannot be read \(KeyError\('no'\)\): open .*runs.db with the encode= and decode="
    journal = Journal(tmp_path / "runs.db", encode=encode, decode=lambda value: value["no"])
    with journal, pytest.raises(JournalError, match=message):
        run(journal, pf.Flow(Say([], "a")), {"x": date.max})


def test_an_excluded_key_stays_with_the_caller(tmp_path: Path):
    client = object()
    with Journal(tmp_path / "runs.db", exclude=["client"]) as journal:
        run(journal, pf.Flow(Say([], "a")), {"client": client, "x": 1})
        shared = {"client": client}
        run(journal, pf.Flow(Say([], "a")), shared)
    assert shared == {"client": client, "x": 1, "said": ["a"]}


def test_an_item_whose_result_is_no_data_runs_again_and_says_so(journal: Journal):
    ran = []

    class Ask(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(3)

        def exec(self, item: Any) -> Any:
            ran.append(item)
            if ran == [0, 1, 2]:
                raise Crash
            return {item}

    flow, message = pf.Flow(Ask()), "Ask: an item that is done may run again after a crash, as its result is a set"
    with pytest.raises(Crash), pytest.warns(pf.FlowWarning, match=message) as seen:
        run(journal, flow, {})
    assert [warning.filename for warning in seen] == [__file__]
    with pytest.warns(pf.FlowWarning, match=message):
        run(journal, flow, {})
    assert ran == [0, 1, 2, 0, 1, 2]


def test_an_action_that_is_no_data_is_an_error(journal: Journal):
    class Last(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return {1}

    with pytest.raises(JournalError, match="the action of Last is a set"):
        run(journal, pf.Flow(Last()), {})


@pytest.mark.parametrize("changes", [True, False])
def test_a_prep_may_return_what_is_no_data_only_if_it_changes_nothing(journal: Journal, changes: bool):
    class Open(pf.Node):
        def prep(self, shared: Any) -> Any:
            if changes:
                shared["x"] = 1
            return object()

    if not changes:
        return run(journal, pf.Flow(Open()), {})
    with pytest.raises(JournalError, match="what Open.prep returned is a object.* has to return data"):
        run(journal, pf.Flow(Open()), {})


def mutated(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """`value` changed somewhere inside, or another one."""
    if isinstance(value, Point):
        value.x = chance.randrange(3)
    elif isinstance(value, tuple) and value:
        mutated(chance, chance.choice(value), depth + 1)
    elif isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        what = chance.randrange(4)
        if what < 2:
            value[key] = mutated(chance, value[key], depth + 1)
        elif what == 2:
            value[key] = value.pop(key)  # now it is the last
        else:
            del value[key]
            value[str(chance.randrange(9))] = made(chance, depth + 1)
    elif isinstance(value, list) and chance.random() < 0.9:
        start = chance.randrange(len(value) + 1)
        value[start : start + chance.randrange(3)] = [made(chance, depth + 1) for _ in range(chance.randrange(3))]
        if value:
            at = chance.randrange(len(value))
            value[at] = mutated(chance, value[at], depth + 1)
    else:
        return made(chance, depth)
    return value


def made(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 6:
        return chance.choice([0, -0.0, 0.0, 1, True, None, "x", "y" * 9, 2.5, float("nan"), Point(1)])
    parts = [made(chance, depth + 1) for _ in range(chance.randrange(4))]
    return parts if kind == 6 else tuple(parts) if kind == 7 else {str(n): part for n, part in enumerate(parts)}


def test_the_recorded_changes_make_of_the_old_store_the_new_one(typed: Journal):
    for seed in range(100):
        chance = random.Random(seed)
        shared = {str(n): made(chance, 0) for n in range(4)}
        copied = typed.data.load(typed.data.dump(shared, "shared"))
        snapshot = typed.data.snapshot(shared, ["shared"])
        for _ in range(20):
            mutated(chance, shared)
            changes: list[Any] = []
            snapshot = typed.data.compare(snapshot, shared, ["shared"], changes)
            typed.data.apply(copied, json.dumps(changes))
            assert repr(copied) == repr(shared)


def test_a_step_writes_no_more_than_what_it_changed(journal: Journal):
    class Grow(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["count"] += 1
            shared["log"].append("new")
            shared["rows"][2]["seen"] = True
            shared["queue"].pop(0)
            shared["last"] = shared.pop("last")
            return "again" if shared["count"] < 3 else None

    grow = Grow()
    grow - "again" >> grow
    flow = pf.Flow(grow)
    big = {"log": ["x" * 99] * 99, "rows": [{"text": "x" * 99}] * 2 + [{"seen": False}], "queue": [*range(999)]}
    with pytest.warns(pf.FlowWarning, match="Flow ends"):
        run(journal, flow, {"count": 0, "last": 1, **big})
    rows = journal.file.db.execute("SELECT changes FROM commits WHERE kind = 'node' ORDER BY id").fetchall()
    assert json.loads(rows[0][0]) == [
        ["del", ["last"]], ["set", ["last"], 1], ["set", ["count"], 1], ["splice", ["log"], 99, 0, ["new"]],
        ["set", ["rows", 2, "seen"], True], ["splice", ["queue"], 0, 1, []],
    ]  # fmt: skip
