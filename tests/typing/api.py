"""How the wiring looks to a type checker: never run, only checked by `mypy --strict`."""

from typing import Any, assert_type

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow, BatchNode, Flow, Node, Skip, hooked
from pocketflow.dataflow import Dataflow, Result


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
    AsyncFlow(start=[first]).stream({}, buffer=8)
