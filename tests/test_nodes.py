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


@pytest.mark.parametrize("value", [2.5, len, "2"], ids=repr)
def test_a_limit_is_a_whole_number(value: Any):
    with pytest.raises(ValueError, match="max_concurrency must be at least 1, not"):
        pf.AsyncParallelBatchNode(max_concurrency=value)


@pytest.mark.parametrize("wait", ["soon", float("nan"), 1j], ids=repr)
def test_a_wait_that_is_no_number_of_seconds_is_told_with_its_node(kit: SyncKit, wait: Any):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            raise OSError

    with pytest.raises(ValueError, match="Fails: wait gave .*; return seconds of at least 0, or None to give up"):
        kit.run(Fails(max_retries=2, wait=lambda attempt, error: wait))


def test_an_error_in_the_iter_of_what_prep_returned_stays_visible(kit: SyncKit):
    class Broken:
        def __iter__(self) -> Any:
            raise TypeError("a bug in the user's own code")

    class Reads(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return Broken()

    with pytest.raises(TypeError, match="Reads: prep returned") as caught:
        kit.run(Reads())
    assert str(caught.value.__cause__) == "a bug in the user's own code"


def test_a_limit_of_the_class_is_undone_by_the_keyword_none():
    class Limited(pf.AsyncParallelBatchNode):
        max_concurrency = 2

    assert (Limited().max_concurrency, Limited(max_concurrency=None).max_concurrency) == (2, None)


def test_an_error_between_two_items_blames_no_item(kit: SyncKit):
    class Pulls(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            yield 1
            raise ValueError("of the source")

    class Post(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{}]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            raise ValueError("of post")

    for node in (Pulls(), Post(pf.Node())):
        with pytest.raises(ValueError, match="of ") as caught:
            kit.run(node)
        assert f"at {type(node).__name__}, " in caught.value.__notes__[-1]


def test_one_block_of_hooks_may_be_entered_again():
    class Seen(pf.Hook):
        def on_start(self, step: pf.Step) -> None:
            seen.append(step.path)

    seen: list[str] = []
    block = pf.hooked(Seen())
    with block, block:
        pass
    pf.Node().run({})
    assert seen == []


def test_a_nested_flow_that_nothing_can_give_a_start_is_refused_before_anything_runs(kit: SyncKit):
    class First(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            pytest.fail("must not run")

    first = First()
    first >> kit.Flow()
    if kit.name.startswith("sync"):
        with pytest.raises(ValueError, match="has no start"):
            kit.run(kit.Flow(first))
    again = pf.Node()
    again >> []
    with pytest.raises(ValueError, match="AsyncParallelFlow has no start"):
        asyncio.run(pf.AsyncFlow(again).run_async({}))


async def test_an_async_generator_of_prep_is_closed_when_an_item_fails():
    class Fails(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> Any:
                try:
                    for item in range(9):
                        yield item
                finally:
                    log.append("closed")

            return items()

        async def exec_async(self, item: Any) -> Any:
            raise KeyError("own error")

    log: list[str] = []
    with pytest.raises(KeyError, match="own error"):
        await Fails(max_concurrency=2).run_async({})
    assert log == ["closed"]


def test_starts_are_told_apart_by_identity():
    @dataclasses.dataclass
    class Same(pf.Node):
        word: str

        def __post_init__(self) -> None:
            super().__init__()

    good, bad = Same("x"), Same("x")
    flow = pf.Flow(good)
    bad.successors["default"] = pf.AsyncNode()
    flow.run({})
    flow.start_node = bad
    with pytest.raises(RuntimeError, match="AsyncNode is async"):
        flow.run({})


def test_the_repr_of_a_flow_that_holds_itself_ends():
    flow = pf.Flow()
    flow.start_node = flow
    assert repr(flow) == "Flow(start_node=...)"


def test_a_note_that_is_no_text_hides_nothing(kit: SyncKit):
    class Fails(kit.Node):
        def exec(self, prep_res: Any) -> Any:
            error = ValueError("own error")
            error.__notes__ = [5]  # which Python allows
            raise error

    try:
        kit.run(Fails(max_retries=2))
    except ValueError as error:
        kept, error.__notes__ = error.__notes__, []  # pytest cannot print such a note
        assert kept[0] == 5
    else:
        pytest.fail("the error is lost")


async def test_an_async_iterable_that_cannot_be_closed_gives_its_items():
    class Pages:
        def __init__(self) -> None:
            self.left = [2, 1]

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    class Read(pf.AsyncBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return Pages()

        async def post_async(self, shared: Any, pages: Any, results: Any) -> Any:
            shared["pages"] = pages

    shared: dict[str, Any] = {}
    await Read().run_async(shared)
    assert shared == {"pages": [1, 2]}
