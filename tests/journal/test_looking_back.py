"""What one can ask of runs: their list, history and stores, and forks; and how they are deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, JournalError, RunBusy
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


