"""The journal: what is recorded, what a resumed run does, and what it refuses."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import Hook, Skip, Step, hooked
from pocketflow.journal import Journal, JournalError, Paused, RunBusy
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
        [stopped] = journal.runs()
        assert (stopped["status"], stopped["error"]) == ("interrupted", None)
        shared: dict[str, Any] = {}
        await journal.run_async(flow, shared, run_id="run")
        return shared

    assert asyncio.run(scenario()) == {"said": ["a"]}


def test_an_exec_that_changes_its_input_is_known_by_what_it_was(journal: Journal):
    paid: list[str] = []

    class Chat(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [{"prompt": word} for word in ("a", "b", "c")]

        def exec(self, item: Any) -> Any:
            if len(paid) == 2:
                paid.append("died")
                raise Crash
            item["answer"] = item["prompt"].upper()
            paid.append(item["prompt"])
            return item["answer"]

        def post(self, shared: Any, items: Any, answers: Any) -> Any:
            shared["answers"] = answers

    shared = crash_and_resume(journal, lambda _: pf.Flow(Chat()), {})
    assert (shared["answers"], paid) == (["A", "B", "C"], ["a", "b", "died", "c"])


class Words(pf.Node):
    """Its prep changes nothing, and returns what cannot be kept."""

    def prep(self, shared: Any) -> Any:
        return iter(["a", "b"])


def test_a_prep_is_not_blamed_for_what_a_branch_beside_it_has_written(journal: Journal):
    wrote, prepared = asyncio.Event(), asyncio.Event()

    class Save(pf.AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["saved"] = 1
            wrote.set()
            await prepared.wait()

    class Wait(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await wrote.wait()

    class Last(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            prepared.set()

    wait = Wait()
    wait >> Words() >> Last()
    shared: dict[str, Any] = {}
    with pytest.warns(pf.FlowWarning, match="Words: a finished exec may run again"):
        run(journal, pf.AsyncFlow(pf.AsyncParallelFlow(Save(), wait)), shared)
    assert shared == {"saved": 1}


def test_a_prep_that_awaits_is_not_blamed_for_what_a_branch_beside_it_has_written(journal: Journal):
    async def scenario() -> dict[str, Any]:
        begun, wrote, prepared = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Save(pf.AsyncNode):
            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
                await begun.wait()
                shared["saved"] = 1
                wrote.set()
                await prepared.wait()

        class Read(pf.AsyncNode):
            async def prep_async(self, shared: Any) -> Any:
                begun.set()
                await wrote.wait()
                return iter("ab")

            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
                prepared.set()

        shared: dict[str, Any] = {}
        async with asyncio.timeout(30):
            await journal.run_async(pf.AsyncParallelFlow(Save(), Read()), shared, run_id="run")
        return shared

    with pytest.warns(pf.FlowWarning, match="Read: a finished exec may run again"):
        assert asyncio.run(scenario()) == {"saved": 1}


@pytest.mark.parametrize("beside", [True, False])
def test_a_prep_that_changes_the_store_is_told_to_return_data_also_beside_other_branches(
    journal: Journal, beside: bool
):
    class Take(pf.AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            if not beside:
                await asyncio.sleep(0)
            shared["taken"] = True
            return iter("ab")

    flow = pf.AsyncParallelFlow(Take(), Take()) if beside else pf.AsyncFlow(Take())
    with pytest.raises(JournalError, match="what Take.prep returned .* has to return data"):
        run(journal, flow, {})


def test_a_finished_run_with_another_flow_is_refused(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {})
    with pytest.raises(JournalError, match="the graph of 'run' changed since it began"):
        run(journal, pf.Flow(Say([], "b")), {})
    assert run(journal, pf.Flow(Say([], "b")), {}, allow_changes=True) == "after a"


def test_a_flow_with_a_mistake_is_not_begun_unless_it_may(journal: Journal, where: str):
    flow = pf.Flow(pf.AsyncNode())
    with pytest.raises(JournalError, match="AsyncNode.*; fix the flow, or open the journal with strict=False"):
        run(journal, flow, {})
    assert journal.runs() == []
    with Journal(where, strict=False) as lenient, pytest.raises(RuntimeError, match="Use run_async"):
        run(lenient, flow, {})


@pytest.mark.parametrize("base", [pf.Flow, pf.AsyncFlow])
def test_an_action_without_an_edge_fails_the_run_which_goes_on_when_it_has_one(journal: Journal, where: str, base: Any):
    log: list[str] = []

    def flow(action: str) -> Any:
        say = Say(log, "a")
        say - action >> Say(log, "b")
        return base(say)

    message = r"0:a: the action 'after a' has no edge, only \['other'\] have: return one of these, wire it"
    with pytest.raises(JournalError, match=message):
        run(journal, flow("other"), {})
    assert (journal.runs()[0]["status"], journal.load("run")) == ("failed", {})
    shared: dict[str, Any] = {}
    run(journal, flow("after a"), shared, allow_changes=True)
    assert shared == {"said": ["a", "b"]}
    with Journal(where, strict=False) as lenient, pytest.warns(pf.FlowWarning, match="Flow ends"):
        run(lenient, flow("other"), {}, "lenient")


def test_a_flow_that_picks_its_next_node_itself_needs_no_edges(journal: Journal):
    class Own(pf.Flow):
        def get_next_node(self, curr: Any, action: Any) -> Any:
            return None

    say = Say([], "a")
    say - "other" >> Say([], "b")
    assert run(journal, Own(say), {}) == "after a"


def test_many_runs_at_once_in_one_loop_are_each_recorded_as_a_whole(journal: Journal):
    class Step(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.sleep(0)
            return "x"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["steps"] = shared.get("steps", 0) + 1
            return "again" if shared["steps"] < 5 else "enough"

    step = Step()
    step - "again" >> step
    step - "enough" >> None

    async def scenario() -> None:
        async with asyncio.timeout(60):
            runs = (journal.run_async(pf.AsyncFlow(step), {}, run_id=f"run {n}") for n in range(30))
            assert await asyncio.gather(*runs) == ["enough"] * 30

    asyncio.run(scenario())
    for n in range(30):
        assert journal.load(f"run {n}") == {"steps": 5}
        assert [row["n"] for row in journal.history(f"run {n}")] == [*range(14)]


async def test_a_journaled_run_can_be_streamed(journal: Journal):
    for flow in (pf.Flow(Say([], "a")), pf.AsyncFlow(Say([], "a"))):
        run_id, shared = type(flow).__name__, dict[str, Any]()
        async with asyncio.timeout(30):
            events = [event async for event in journal.stream(flow, shared, run_id=run_id, tags={"by": "me"})]
        assert shared == {"said": ["a"]}
        assert [event["type"] for event in events] == ["node_start", "node_start", "node_end", "node_end"]
        assert {event["run_id"] for event in events} == {run_id}
    assert [found["run_id"] for found in journal.runs(tags={"by": "me"})] == ["Flow", "AsyncFlow"]


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
    with pytest.raises(JournalError, match=message):
        journal.check(changed, "run")
    journal.check(pf.Flow(chain(Say(log, "a"), Say(log, "b"))), "run")
    run(journal, changed, {}, allow_changes=True)
    assert log == ["a", "b", "c"]


class Dies(pf.Node):
    def prep(self, shared: Any) -> Any:
        raise Crash


def test_a_run_that_has_recorded_nothing_yet_takes_any_graph(journal: Journal):
    with pytest.raises(Crash):
        journal.run(Dies(), {}, run_id="run")
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
        (
            lambda journal: journal.run(pf.Flow(), [], run_id="a"),
            r"shared is of type list: a journaled run needs",
        ),
        (
            lambda journal: journal.run(pf.Flow(), {}, run_id="a", tags=["user"]),
            r"tags=\['user'\]: write a dict, such as tags=\{",
        ),
        (lambda journal: journal.runs(tags="ada"), r"tags='ada': write a dict"),
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


def test_a_journal_that_nobody_closed_is_closed_wherever_it_is_collected(where: str):
    """Also in the thread that writes, which cannot wait for its own end."""
    journals = [Journal(where)]
    writer = journals[0].writer
    writer.submit(journals.clear, writes=None).result(30)
    assert writer.thread
    writer.thread.join(30)
    assert (writer.is_closed, writer.thread.is_alive()) == (True, False)


def test_a_run_whose_journal_was_closed_goes_on_in_another(journal: Journal, where: str):
    class Close(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            journal.close()

    with pytest.raises(JournalError, match="it was closed; open it again"):
        run(journal, pf.Flow(Close()), {})
    with Journal(where) as other:
        assert other.runs()[0]["status"] == "interrupted"
        run(other, pf.Flow(Close()), {})


@pytest.mark.parametrize("error", [JournalError, RunBusy, Paused])
def test_errors_are_printed_as_they_are_imported(error: type[BaseException]):
    [line] = traceback.format_exception_only(error.__new__(error))
    assert line.strip() == f"pocketflow.journal.{error.__name__}"
