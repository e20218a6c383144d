"""What one can ask of runs: their list, history and stores, and forks; and how they are deleted."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, JournalError, RunBusy, RunExists
from tests.failing import FailsIn
from tests.journal.kit import Approve, Crash, PopFlow, Say, chain, paused, run, steps


def test_the_history_lists_the_steps(journal: Journal):
    run(journal, pf.Flow(PopFlow(chain(Say([], "a"), Say([], "b")))), {})
    assert [(commit["path"], commit["kind"], commit["action"]) for commit in steps(journal)] == [
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
    paused(journal, pf.Flow(Approve()), run_id="three")
    assert shared["seen"] == ["interrupted", "running"]
    assert [entry["status"] for entry in journal.runs()] == ["interrupted", "finished", "paused"]


def test_a_fork_goes_on_from_a_point_in_the_past(journal: Journal):
    log: list[str] = []
    flow = pf.Flow(chain(Say(log, "a"), Say(log, "b"), Say(log, "c")))
    run(journal, flow, {"x": 1})
    fork = journal.fork("run", after="Flow/0:a")
    shared: dict[str, Any] = {}
    run(journal, flow, shared, fork)
    assert (fork, shared, log[3:]) == ("run-fork1", {"x": 1, "said": ["a", "b", "c"]}, ["b", "c"])
    assert [step["path"] for step in steps(journal, fork)] == [step["path"] for step in steps(journal)]
    assert journal.fork("run", after="Flow") == "run-fork2"
    assert run(journal, flow, {}, "run-fork2") == "after c"
    assert log[5:] == []
    with pytest.raises(JournalError, match=r"'run' has no record 'Flow/7:x': see journal.history\('run'\)"):
        journal.fork("run", after="Flow/7:x")


def test_a_fork_asks_again(journal: Journal):
    approve = Approve()
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


class Clock:
    """A minute later each time."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def test_a_row_of_the_history_says_when_how_long_and_what_changed(journal: Journal):
    journal.clock = Clock()
    paused(journal, pf.Flow(Approve()))
    journal.answer("run", "yes", by="ada")
    run(journal, pf.Flow(Approve()), {})
    rows = journal.history("run")
    assert [row["n"] for row in rows] == [*range(len(rows))]
    assert [row["at"] for row in rows] == [f"2030-01-01T00:{n + 1:02}:00.000000+00:00" for n in range(len(rows))]
    asked, answered, exec_, visit = (
        next(row for row in rows if row["kind"] == kind) for kind in ("pause", "answer", "exec", "node")
    )
    assert (asked["path"], asked["question"], asked["choices"]) == ("Flow/0:Approve/exec", "question 0?", None)
    assert (answered["path"], answered["value"], answered["by"]) == ("Flow/0:Approve/exec", "yes", "ada")
    assert (exec_["result"], exec_["changes"]) == (["yes"], [])
    assert visit["changes"] == ["answers"]
    assert visit["seconds"] >= exec_["seconds"] >= 0
    assert [row["status"] for row in rows if row["kind"] == "status"] == ["running", "paused", "running"]


def test_a_run_says_when_it_began_and_ended_and_why(journal: Journal):
    class Broken(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            raise LookupError("no such page")

    journal.clock = Clock()
    with pytest.raises(LookupError):
        run(journal, pf.Flow(Broken()), {}, tags={"user": "ada", "n": 1})
    run(journal, pf.Flow(Say([], "a")), {}, "second", tags={"user": "bob"})
    failed, finished = journal.runs()
    assert failed["status"] == "failed"
    assert failed["error"] == "LookupError: no such page\nin Broken\nin Flow"
    assert failed["started"] < failed["ended"] < finished["started"] < finished["ended"]
    assert (finished["error"], finished["tags"]) == (None, {"user": "bob"})
    assert [it["run_id"] for it in journal.runs(status="failed")] == ["run"]
    assert [it["run_id"] for it in journal.runs(tags={"user": "ada"})] == ["run"]
    assert journal.runs(status="failed", tags={"user": "bob"}) == []


class FailsAtOne(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return [0, 1, 2]

    async def exec_async(self, item: Any) -> Any:
        if item == 1:
            raise LookupError(item)
        await asyncio.Event().wait()  # until it is cancelled


class Forgiving(pf.AsyncFlow):
    """Goes on when what is inside it fails."""

    async def _orch_async(self, *args: Any) -> Any:
        with contextlib.suppress(LookupError):
            await super()._orch_async(*args)


INSIDE = "AsyncFlow/0:AsyncParallelFlow[1]/0:AsyncFlow"


@pytest.mark.parametrize(
    ("failing", "path"),
    [
        (FailsIn("prep"), f"{INSIDE}/0:FailsIn/prep"),
        (FailsIn("exec"), f"{INSIDE}/0:FailsIn/exec"),
        (FailsIn("post"), f"{INSIDE}/0:FailsIn"),
        (FailsAtOne(), f"{INSIDE}/0:FailsAtOne/exec[1]"),
    ],
    ids=["prep", "exec", "post", "item"],
)
def test_a_run_that_failed_says_at_which_step(journal: Journal, failing: Any, path: str):
    flow = pf.AsyncFlow(pf.AsyncParallelFlow(Say([], "beside"), pf.AsyncFlow(failing)))
    with pytest.raises(LookupError):
        run(journal, flow, {})
    rows = journal.history("run")
    assert [row["path"] for row in rows if row["kind"] == "status"] == ["", path]
    assert rows[-1]["status"] == "failed"


def test_an_error_that_did_not_end_the_run_is_not_where_it_failed(journal: Journal):
    first = Forgiving(FailsIn("exec"))
    first >> FailsIn("post")
    with pytest.raises(LookupError):
        run(journal, pf.AsyncFlow(first), {})
    assert journal.history("run")[-1]["path"] == "AsyncFlow/1:FailsIn"


def test_a_run_that_failed_as_an_action_had_no_edge_says_at_which_node(journal: Journal):
    first = Say([], "a")
    first - "elsewhere" >> Say([], "b")
    with pytest.raises(JournalError, match="has no edge"):
        run(journal, pf.Flow(pf.Flow(first)), {})
    assert journal.history("run")[-1]["path"] == "Flow/0:Flow/0:a"


def test_a_run_that_was_interrupted_failed_at_no_step(journal: Journal):
    with pytest.raises(Crash):
        run(journal, pf.Flow(Say([], "a", fail=True)), {})
    assert journal.history("run")[-1]["path"] == ""


def test_the_store_can_be_seen_as_it_was_after_each_row(journal: Journal):
    flow = pf.Flow(chain(Say([], "a"), Say([], "b")))
    run(journal, flow, {"x": 1})
    assert journal.load("run") == {"x": 1, "said": ["a", "b"]}
    assert journal.load("run", after="Flow/0:a") == {"x": 1, "said": ["a"]}
    assert journal.load("run", after=0) == {"x": 1}
    for row, store in journal.states("run"):
        assert store == journal.load("run", after=row["n"])
    with pytest.raises(JournalError, match="'run' has no record 99: see journal.history"):
        journal.load("run", after=99)


def test_a_fork_says_where_it_comes_from(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {}, tags={"user": "ada"})
    fork = journal.fork("run", after=3)
    [_, found] = journal.runs()
    assert (found["run_id"], found["fork_of"], found["status"]) == (fork, {"run_id": "run", "n": 3}, "interrupted")
    assert found["tags"] == {"user": "ada"}


def test_a_fork_keeps_tags_of_all_types(journal: Journal):
    tags = {"users": {"ada", "bob"}, "day": date(2030, 1, 1), "size": (1, 2)}
    run(journal, pf.Flow(Say([], "a")), {}, tags=tags)
    journal.fork("run", after=3)
    assert [it["tags"] for it in journal.runs(tags={"size": (1, 2)})] == [tags, tags]


@pytest.mark.parametrize("after", [0, 1])
def test_a_fork_of_the_beginning_has_the_store_that_the_run_began_with(journal: Journal, after: int):
    run(journal, pf.Flow(Say([], "a")), {"x": 1})
    shared: dict[str, Any] = {}
    run(journal, pf.Flow(Say([], "b")), shared, journal.fork("run", after=after))
    assert shared == {"x": 1, "said": ["b"]}


def test_a_run_can_be_created_before_it_begins(journal: Journal):
    said: list[str] = []
    flow = pf.Flow(Say(said, "a"))
    journal.create(flow, {"x": 1}, run_id="run", tags={"user": "ada"})
    [found] = journal.runs(run_id="run")
    assert (found["status"], found["tags"], said) == ("interrupted", {"user": "ada"}, [])
    assert journal.load("run") == {"x": 1}
    shared: dict[str, Any] = {}
    run(journal, flow, shared)
    assert shared == {"x": 1, "said": ["a"]}


def test_an_id_is_given_to_one_run_alone(journal: Journal):
    flow = pf.Flow(Say([], "a"))
    run(journal, flow, {})
    with pytest.raises(RunExists, match="there is a run 'run' already: choose another run_id"):
        journal.create(flow, {}, run_id="run")


class Decide(pf.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Literal["left", "right"]:
        return "left"


def test_what_could_not_be_run_is_not_created(journal: Journal):
    decide = Decide()
    decide.next(pf.Node(), "left")
    with pytest.raises(JournalError, match="for which there is no edge"):
        journal.create(pf.Flow(decide), {}, run_id="run")
    with pytest.raises(JournalError, match="object"):
        journal.create(pf.Flow(Say([], "a")), {"x": object()}, run_id="run")
    assert journal.runs() == []


def test_one_run_can_be_asked_for(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {}, "one")
    run(journal, pf.Flow(Say([], "a")), {}, "two")
    assert [it["run_id"] for it in journal.runs(run_id="two")] == ["two"]
    assert journal.runs(run_id="three") == []


def test_a_deleted_run_is_gone_and_its_id_is_free(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {"x": 1})
    journal.delete("run")
    assert journal.runs() == []
    with pytest.raises(JournalError, match="has no run 'run'"):
        journal.delete("run")
    shared: dict[str, Any] = {}
    run(journal, pf.Flow(Say([], "b")), shared)
    assert shared == {"said": ["b"]}


def test_a_run_that_is_going_on_is_not_deleted(journal: Journal):
    class Inside(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            with pytest.raises(RunBusy, match="'run' is being run: wait for it, or stop it"):
                journal.delete("run")

    run(journal, pf.Flow(Inside()), {})


def test_what_ended_before_a_moment_is_pruned_but_no_question(journal: Journal):
    journal.clock = clock = Clock()
    run(journal, pf.Flow(Say([], "a")), {}, "old")
    paused(journal, pf.Flow(Approve()), run_id="asking")
    moment = clock()
    run(journal, pf.Flow(Say([], "a")), {}, "new")
    assert journal.prune(before=moment) == ["old"]
    assert [it["run_id"] for it in journal.runs()] == ["asking", "new"]
    with pytest.raises(ValueError, match="has no time zone: write an aware datetime"):
        journal.prune(before=datetime(2030, 1, 1))


@pytest.mark.parametrize("run_id", [[], 10**30, None, ""], ids=str)
def test_what_is_no_id_is_told(journal: Journal, run_id: Any):
    for ask in (journal.history, journal.load, journal.delete):
        with pytest.raises(TypeError, match=r"run_id=.*: write a text, such as"):
            ask(run_id)
