"""A run that waits for a person: questions, answers, and answers that were wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.executors import ExecutorNode
from pocketflow.hooks import emit
from pocketflow.journal import Journal, JournalError, Paused, pause
from tests.journal.kit import Approve, Say, paused, run


def test_a_pause_stops_the_run_until_it_is_answered(journal: Journal):
    flow, shared = pf.Flow(Approve()), {}
    stopped = paused(journal, flow)
    assert (stopped.run_id, stopped.path, stopped.question) == ("run", "Flow/0:Approve/exec", "question 0?")
    question = {"path": "Flow/0:Approve/exec", "question": "question 0?", "choices": None}
    [found] = journal.runs()
    assert (found["status"], found["questions"]) == ("paused", [question])
    paused(journal, flow)
    journal.answer("run", {"yes": True})
    assert journal.runs()[0]["questions"] == []
    run(journal, flow, shared)
    assert shared == {"answers": [{"yes": True}]}


def test_a_node_may_ask_twice(journal: Journal):
    flow, shared = pf.Flow(Approve(questions=2)), {}
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
            await asyncio.sleep(0)  # both have begun
            return pause(f"{item}?")

        async def post_async(self, shared: Any, items: Any, answers: Any) -> Any:
            shared["answers"] = answers

    flow, shared = pf.AsyncFlow(Items()), {}
    paused(journal, flow)
    paths = [question["path"] for question in journal.runs()[0]["questions"]]
    assert paths == ["AsyncFlow/0:Items/exec[0]", "AsyncFlow/0:Items/exec[1]"]
    with pytest.raises(JournalError, match="several questions are waiting in .run.: add path=, one of"):
        journal.answer("run", "x")
    for path, answer in zip(reversed(paths), ["B", "A"], strict=True):
        journal.answer("run", answer, path=path)
    run(journal, flow, shared)
    assert shared == {"answers": ["A", "B"]}


def test_a_pause_lets_what_runs_beside_it_end_and_nothing_of_it_is_paid_again(journal: Journal):
    paid = []

    class Slow(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> Any:
            await asyncio.sleep(0)
            paid.append("an answer")

    flow = pf.AsyncParallelFlow(Slow(), Approve())
    paused(journal, flow)
    journal.answer("run", 1)
    run(journal, flow, {})
    assert paid == ["an answer"]


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
            journal.run(pf.Flow(Approve()), inner, run_id="inner")
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
            return pf.Flow(Approve()).run({})

    flow = pf.Flow(Inside())
    assert paused(journal, flow).path == "Flow/0:Inside/exec"
    journal.answer("run", "yes")
    run(journal, flow, {})


def test_an_event_of_the_users_own_is_no_question(journal: Journal):
    class Emit(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            emit({"type": "pause", "question": "?"})

    run(journal, pf.Flow(Emit()), {})


def test_a_pause_outside_of_a_journaled_run_is_an_error():
    with pytest.raises(RuntimeError, match=r"write journal.run\(flow, shared, run_id=...\)"):
        Approve().run({})


def test_an_answer_to_nothing_is_an_error(journal: Journal):
    flow = pf.Flow(Approve())
    paused(journal, flow)
    with pytest.raises(
        JournalError,
        match=r"no question is waiting in 'run' at Flow/9:X: path has to be one of \['Flow/0:Approve/exec'\]",
    ):
        journal.answer("run", 1, path="Flow/9:X")
    with pytest.raises(JournalError, match=r"answer\['value'\] is of type object"):
        journal.answer("run", object())
    journal.answer("run", 1)
    with pytest.raises(JournalError, match=r"no question is waiting in 'run'"):
        journal.answer("run", 2)


def test_an_answer_is_one_of_the_choices(journal: Journal):
    flow, shared = pf.Flow(Approve(choices=["yes", "no"])), {}
    assert paused(journal, flow).choices == ["yes", "no"]
    assert journal.runs()[0]["questions"][0]["choices"] == ["yes", "no"]
    with pytest.raises(
        JournalError, match=r"'maybe' is not an answer at Flow/0:Approve/exec: the choices are \['yes', 'no'"
    ):
        journal.answer("run", "maybe")
    journal.answer("run", "no")
    run(journal, flow, shared)
    assert shared == {"answers": ["no"]}


class Route(pf.Node):
    """Follows what the person says."""

    def prep(self, shared: Any) -> Any:
        shared["asked"] = shared.get("asked", 0) + 1
        return None

    def exec(self, prep_res: Any) -> Any:
        return pause("go on?")

    def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
        shared["answer"] = answer
        return "next"


class Follow(pf.Node):
    def prep(self, shared: Any) -> Any:
        return shared["answer"]

    def exec(self, answer: Any) -> Any:
        return answer

    def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
        return answer


def test_an_answer_that_leads_nowhere_can_be_given_anew_and_what_came_of_it_is_void(journal: Journal):
    route, follow, log = Route(), Follow(), list[Any]()
    route - "next" >> follow
    follow - "yes" >> Say(log, "done")
    flow, shared = pf.Flow(route), {}
    paused(journal, flow)
    journal.answer("run", "maybe", by="ada")
    with pytest.raises(JournalError, match="the action 'maybe' has no edge"):
        run(journal, flow, {})
    assert journal.load("run") == {"asked": 1, "answer": "maybe"}
    journal.answer("run", "yes", by="bob")
    assert journal.load("run") == {"asked": 1}
    with pytest.raises(JournalError, match="no question is waiting"):
        journal.answer("run", "no")
    run(journal, flow, shared)
    assert (shared, log) == ({"asked": 1, "answer": "yes", "said": ["done"]}, ["done"])
    answers = [(row["value"], row["by"]) for row in journal.history("run") if row["kind"] == "answer"]
    assert answers == [("maybe", "ada"), ("yes", "bob")]
    assert [store for _, store in journal.states("run")][-1] == shared


def test_a_failure_of_another_kind_takes_no_new_answer(journal: Journal):
    class Broken(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            pause("?")
            raise LookupError

    flow = pf.Flow(Broken())
    paused(journal, flow)
    journal.answer("run", "yes")
    with pytest.raises(LookupError):
        run(journal, flow, {})
    with pytest.raises(JournalError, match="no question is waiting"):
        journal.answer("run", "no")


async def collect(journal: Journal, flow: Any, events: list[Any]) -> None:
    async with asyncio.timeout(30):
        async for event in journal.stream(flow, {}, run_id="run"):
            events.append(event)


async def test_the_pause_event_is_told_only_while_nobody_has_answered(journal: Journal):
    flow = pf.AsyncFlow(Approve(choices=["yes"]))
    for _ in range(2):
        events = list[Any]()
        with pytest.raises(Paused):
            await collect(journal, flow, events)
        asked = [event for event in events if event["type"] == "pause"]
        assert [(it["question"], it["choices"], it["path"]) for it in asked] == [
            ("question 0?", ["yes"], "AsyncFlow/0:Approve")
        ]
    journal.answer("run", "yes")
    assert "pause" not in [event["type"] async for event in journal.stream(flow, {}, run_id="run")]
