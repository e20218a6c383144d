"""What the calls of models in a run have cost, as the journal keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.hooks import emit
from pocketflow.journal import Journal
from pocketflow.trace import Trace
from tests.journal.kit import Crash, chain, run


class Call(pf.Node):
    """Asks a model, and may fail after it has answered."""

    def __init__(self, name: str, *errors: BaseException, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.errors = name, [*errors]

    def exec(self, prep_res: Any) -> None:
        emit({"type": "usage", "model": "small", "input_tokens": 10, "output_tokens": 2})
        emit({"type": "status", "text": "this costs nothing"})
        if self.errors:
            raise self.errors.pop()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        return f"after {self.name}"

    def __copy__(self) -> Call:
        return self


def usage(journal: Journal, run_id: str = "run") -> list[tuple[str, Any]]:
    return [(row["path"], row["event"]) for row in journal.history(run_id) if row["kind"] == "usage"]


EVENT = {"type": "usage", "model": "small", "input_tokens": 10, "output_tokens": 2}


def test_each_call_is_recorded_with_its_step_also_where_an_attempt_failed(journal: Journal):
    run(journal, pf.Flow(chain(Call("a", ValueError(), max_retries=2), Call("b"))), {})
    assert usage(journal) == [("Flow/0:a/exec", EVENT)] * 2 + [("Flow/1:b/exec", EVENT)]


def test_a_call_in_vain_was_paid_and_one_that_is_restored_is_not_paid_again(journal: Journal):
    flow = pf.Flow(chain(Call("a"), Call("b", Crash())))
    with pytest.raises(Crash):
        run(journal, flow, {})
    assert usage(journal) == [("Flow/0:a/exec", EVENT), ("Flow/1:b/exec", EVENT)]
    run(journal, flow, {})
    assert usage(journal) == [("Flow/0:a/exec", EVENT), ("Flow/1:b/exec", EVENT), ("Flow/1:b/exec", EVENT)]
    run(journal, flow, {})
    assert len(usage(journal)) == 3


def test_a_fork_has_cost_nothing_yet(journal: Journal):
    flow = pf.Flow(chain(Call("a"), Call("b")))
    run(journal, flow, {})
    fork = journal.fork("run", after="Flow/0:a")
    assert [row["path"] for row in journal.history(fork)] == ["", "Flow/prep", "Flow/0:a/exec", "Flow/0:a", ""]
    run(journal, flow, {}, fork)
    assert usage(journal, fork) == [("Flow/1:b/exec", EVENT)]


def test_what_runs_inside_of_a_step_is_paid_by_the_step(journal: Journal):
    class Outer(pf.Node):
        def exec(self, prep_res: Any) -> None:
            pf.Flow(Call("inner")).run({})

    run(journal, pf.Flow(Outer()), {})
    assert usage(journal) == [("Flow/0:Outer/exec", EVENT)]


def test_an_event_is_kept_as_far_as_json_has_it(journal: Journal):
    class Odd(pf.Node):
        def exec(self, prep_res: Any) -> None:
            emit({"type": "usage", "input_tokens": float("nan"), 1: {2}})

    run(journal, pf.Flow(Odd()), {})
    assert usage(journal) == [("Flow/0:Odd/exec", {"type": "usage", "input_tokens": "nan", "1": "{2}"})]
    assert Trace.of(journal.history("run")).metrics()["Odd"]["input_tokens"] == 0


def test_a_trace_of_the_history_adds_it_up_for_each_node(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        flow = pf.Flow(chain(Call("a", ValueError(), max_retries=2), Call("b", Crash())))
        with pytest.raises(Crash):
            run(journal, flow, {})
        trace = Trace.of(journal.history("run"), flow)
    spans = {span.path: (span.kind, span.state, len(span.usage)) for span in trace.spans}
    assert spans["Flow/0:a/exec"] == ("exec", "done", 2)
    assert spans["Flow/1:b/exec"] == ("exec", "cancelled", 1)
    assert trace.metrics()["a"]["input_tokens"] == 20
    assert trace.metrics()["a"]["output_tokens"] == 4
