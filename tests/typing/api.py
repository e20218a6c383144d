"""How the wiring looks to a type checker: never run, only checked by `mypy --strict`."""

from contextlib import aclosing
from typing import Any, assert_type

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow, BatchNode, Flow, Node, Skip, hooked
from pocketflow.dataflow import Dataflow, Result
from pocketflow.graph import Drawing, check, draw
from pocketflow.journal import Journal, Paused, pause
from pocketflow.trace import Progress, Trace


class First(Node):
    def exec(self, prep_res: str) -> int:
        return len(prep_res)


class Second(BatchNode): ...


class Stream(AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        yield prep_res


first, second = First(max_retries=2, wait=lambda attempt, error: None), Second()
assert_type(first >> second, Second)
assert_type(first.next(second, "action"), Second)
assert_type(first >> [second, Stream()], AsyncParallelFlow)
assert_type(first >> [second] >> second, Second)
assert_type(Flow(start=first).start(second), Second)
assert_type(Dataflow(len).execute({}), Result)
Skip(result=1)
with hooked():
    aclosing(AsyncFlow(start=[first]).stream({}, buffer=8))
with Journal("runs.db", exclude=["client"]) as journal:
    assert_type(journal, Journal)
    journal.answer("run", pause("?"), path=None)
    assert_type(journal.fork("run", after="Flow/0:First"), str)
    assert_type(Paused("run", "Flow", "?").run_id, str)
with Trace() as trace, Progress():
    assert_type(trace, Trace)
assert_type(check(Flow(first)), list[str])
assert_type(draw(first), Drawing)
