"""What nodes and flows promise beside what PocketFlow 0.0.3 gets wrong."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

import pocketflow as pf
from tests.kits import SyncKit


def test_a_run_inside_of_exec_leaves_the_attempt_alone(kit: SyncKit):
    class Inner(pf.Node):
        def exec(self, prep_res: Any) -> Any:
            assert self.cur_retry == 0

    class Outer(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            pf.Flow(Inner()).run({})
            seen.append(self.cur_retry)
            if self.cur_retry < 2:
                raise ValueError("again")

    seen: list[int] = []
    kit.run(Outer(max_retries=3))
    assert seen == [0, 1, 2]


def test_a_setting_that_changes_between_two_runs_is_checked_at_the_visit(kit: SyncKit):
    class Wrong(kit.Node):
        def prep(self, shared: Any) -> Any:
            self.max_retries = 0

    with pytest.raises(ValueError, match="Wrong: max_retries must be at least 1, not 0"):
        kit.run(kit.Flow(Wrong()))


def test_each_item_of_a_loop_of_the_users_own_begins_with_attempt_0():
    class Own(pf.Node):
        def _exec(self, items: Any) -> Any:
            return [super(Own, self)._exec(item) for item in items]

        def prep(self, shared: Any) -> Any:
            return "ab"

        def exec(self, item: Any) -> Any:
            tries.append((item, self.cur_retry))
            if self.cur_retry == 0:
                raise ValueError("once")

    class OwnAsync(pf.AsyncNode):
        async def _exec(self, items: Any) -> Any:
            return [await super(OwnAsync, self)._exec(item) for item in "ab"]

        async def exec_async(self, item: Any) -> Any:
            Own.exec(self, item)

    for node in (Own(max_retries=2), OwnAsync(max_retries=2)):
        tries: list[Any] = []
        flow = pf.AsyncFlow(node)
        asyncio.run(flow.run_async({}))
        assert tries == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_a_base_node_runs_without_retries():
    class Bare(pf.BaseNode):
        def exec(self, prep_res: Any) -> Any:
            return "done"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    assert Bare().run({}) == "done"


def test_an_exception_that_is_frozen_passes_unchanged(kit: SyncKit):
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise Frozen(self.cur_retry)

    with pytest.raises(Frozen) as caught:
        kit.run(kit.Flow(Fails(max_retries=2)))
    assert caught.value.code == 1


def test_who_writes_the_run_of_a_node_may_write_its_phases_as_they_like():
    class Sync(pf.Node):
        async def exec(self, prep_res: Any) -> Any:
            return "async"

        def _run(self, shared: Any) -> Any:
            shared["result"] = asyncio.run(self.exec(None))

    class Async(pf.AsyncNode):
        def exec(self, prep_res: Any) -> Any:
            return "sync"

        async def _run_async(self, shared: Any) -> Any:
            shared["result"] = self.exec(None)

    shared: dict[str, Any] = {}
    pf.Flow(Sync()).run(shared)
    assert shared == {"result": "async"}
    asyncio.run(pf.AsyncFlow(Async()).run_async(shared))
    assert shared == {"result": "sync"}
