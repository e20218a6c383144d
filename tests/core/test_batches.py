"""What `prep` of a batch may return, what `post` gets, and how items are pulled."""

from __future__ import annotations

import asyncio
import csv
import io
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import pocketflow as pf
from tests.core.nodes import Say, soon
from tests.kits import SyncKit


def batch(kit: SyncKit, items: Any) -> Any:
    """A batch node that doubles `items` and returns what its post got."""

    class Double(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return items

        def exec(self, item: Any) -> Any:
            return item * 2

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    return Double()


def test_each_item_is_worked_on_with_its_own_retries(kit: SyncKit):
    class Flaky(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return [1, 2, 3]

        def exec(self, item: Any) -> Any:
            tries.append(item)
            if item == 2 and tries.count(2) < 3:
                raise ValueError
            return item * 2

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    tries: list[int] = []
    assert kit.run(Flaky(max_retries=3)) == [2, 4, 6]
    assert sorted(tries) == [1, 2, 2, 2, 3]


@pytest.mark.parametrize("items", [(1, 2), range(1, 3), {1: "a", 2: "b"}, [1, 2]], ids=repr)
def test_post_gets_the_very_object_that_prep_returned(kit: SyncKit, items: Any):
    prep_res, exec_res = kit.run(batch(kit, items))
    assert prep_res is items
    assert exec_res == [2, 4]


@pytest.mark.fixed("async", "parallel")
def test_prep_may_return_none(kit: SyncKit):
    assert kit.run(batch(kit, None)) == (None, [])


@pytest.mark.parametrize("items", ["", [], (), {}], ids=repr)
def test_no_items_are_no_work(kit: SyncKit, items: Any):
    prep_res, exec_res = kit.run(batch(kit, items))
    assert prep_res is items
    assert exec_res == []


@pytest.mark.parametrize("items", [0, False], ids=repr)
@pytest.mark.fixed("async", "parallel")
def test_what_is_false_and_no_iterable_is_no_items(kit: SyncKit, items: Any):
    assert kit.run(batch(kit, items)) == (items, [])


def test_an_iterator_reaches_post_as_itself_and_used_up(kit: SyncKit):
    items = iter([1, 2])
    prep_res, exec_res = kit.run(batch(kit, items))
    assert prep_res is items
    assert list(prep_res) == []
    assert exec_res == [2, 4]


def test_a_file_can_be_closed_in_post_and_a_reader_asked_for_its_columns(kit: SyncKit):
    class Rows(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return csv.DictReader(io.StringIO("a,b\n1,2\n3,4\n"))

        def exec(self, row: Any) -> Any:
            return row["b"]

        def post(self, shared: Any, reader: Any, exec_res: Any) -> Any:
            return reader.fieldnames, exec_res

    class Lines(Rows):
        def prep(self, shared: Any) -> Any:
            return file

        def exec(self, line: Any) -> Any:
            return line.strip()

        def post(self, shared: Any, file: Any, exec_res: Any) -> Any:
            file.close()
            return exec_res

    file = io.StringIO("x\ny\n")
    assert kit.run(Rows()) == (["a", "b"], ["2", "4"])
    assert kit.run(Lines()) == ["x", "y"]
    assert file.closed


def test_an_own_exec_gets_what_prep_returned(kit: SyncKit):
    items = (item for item in "ab")

    class Own(kit.BatchNode):
        def prep(self, shared: Any) -> Any:
            return items

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    class Sync(Own):
        def _exec(self, items: Any) -> Any:
            return items

    class Async(Own):
        async def _exec(self, items: Any) -> Any:
            return items

    own = Async() if issubclass(Own, pf.AsyncNode) else Sync()
    assert kit.run(own) is items


class Pulled:
    """Yields `count` objects and tells `log` when each is pulled."""

    def __init__(self, count: int, log: list[str]) -> None:
        self.count, self.log = count, log

    def __iter__(self) -> Iterator[int]:
        for item in range(self.count):
            self.log.append(f"pull {item}")
            yield item


@pytest.mark.parametrize("base", ["BatchNode", "AsyncBatchNode"])
def test_items_are_pulled_as_they_are_needed(base: str):
    class Lazy(getattr(pf, base)):  # type: ignore[misc]  # both bases share one body
        def prep(self, shared: Any) -> Any:
            return Pulled(3, log)

        async def prep_async(self, shared: Any) -> Any:
            return Pulled(3, log)

        def exec(self, item: int) -> Any:
            log.append(f"run {item}")

        async def exec_async(self, item: int) -> Any:
            log.append(f"run {item}")

    log: list[str] = []
    node = Lazy()
    asyncio.run(node.run_async({})) if base.startswith("Async") else node.run({})
    assert log == ["pull 0", "run 0", "pull 1", "run 1", "pull 2", "run 2"]


class Big:
    """An item that can be watched being forgotten."""


@pytest.mark.fixed("parallel")
@pytest.mark.parametrize("limit", [1, 2])
def test_no_item_is_kept_once_it_is_done(kit: SyncKit, limit: int):
    class Items(kit.BatchNode):
        max_concurrency = limit

        def prep(self, shared: Any) -> Any:
            for _ in range(50):
                item = Big()
                alive.add(item)
                yield item
                del item

        def exec(self, item: Any) -> Any:
            most.append(len(alive))

    alive: weakref.WeakSet[Big] = weakref.WeakSet()
    most: list[int] = []
    kit.run(Items())
    assert len(most) == 50
    assert max(most) <= limit + 3


@pytest.mark.fixed
@pytest.mark.parametrize("base", ["AsyncBatchNode", "AsyncParallelBatchNode"])
@pytest.mark.parametrize("limit", [None, 1, 2, 50])
async def test_async_batches_take_an_async_iterable(base: str, limit: int | None):
    class Feed(getattr(pf, base)):  # type: ignore[misc]  # both bases share one body
        max_concurrency = limit

        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                for item in range(5):
                    await asyncio.sleep(0)
                    yield item

            shared["items"] = items()
            return shared["items"]

        async def exec_async(self, item: int) -> Any:
            await asyncio.sleep(0)
            return item * 2

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            assert prep_res is shared["items"]
            return exec_res

    assert await soon(Feed().run_async({})) == [0, 2, 4, 6, 8]


@pytest.mark.fixed
@pytest.mark.parametrize("base", ["AsyncBatchFlow", "AsyncParallelBatchFlow"])
async def test_async_batch_flows_take_an_async_iterable(base: str):
    class Feed(getattr(pf, base)):  # type: ignore[misc]  # both bases share one body
        async def prep_async(self, shared: Any) -> Any:
            async def entries() -> AsyncIterator[Any]:
                for n in range(3):
                    await asyncio.sleep(0)
                    yield {"n": n}

            return entries()

    class Look(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append(self.params["n"])

    shared: dict[str, Any] = {"seen": []}
    await soon(Feed(Look()).run_async(shared))
    assert sorted(shared["seen"]) == [0, 1, 2]


@pytest.mark.fixed
async def test_an_item_of_an_async_iterable_starts_before_the_next_has_come():
    class Feed(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            async def items() -> AsyncIterator[int]:
                yield 1
                await started.wait()
                yield 2

            return items()

        async def exec_async(self, item: int) -> Any:
            started.set()

    started = asyncio.Event()
    await soon(Feed().run_async({}))


@pytest.mark.fixed
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

    class Read(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return Pages()

        async def exec_async(self, item: Any) -> Any:
            if fails:
                raise KeyError("own error")
            return item

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return exec_res

    fails = False
    assert await soon(Read().run_async({})) == [1, 2]
    fails = True
    with pytest.raises(KeyError, match="own error"):
        await soon(Read().run_async({}))


@pytest.mark.fixed
@pytest.mark.parametrize("items", [5, object(), len], ids=lambda items: type(items).__name__)
def test_items_that_cannot_be_iterated_are_refused_by_name(kit: SyncKit, items: Any):
    with pytest.raises(TypeError, match="Double: prep returned .*; return an iterable.*, or None"):
        kit.run(batch(kit, items))


@pytest.mark.fixed
def test_an_error_in_the_iter_of_what_prep_returned_stays_visible(kit: SyncKit):
    class Broken:
        def __iter__(self) -> Any:
            raise TypeError("a bug in the user's own code")

    with pytest.raises(TypeError, match="Double: prep returned") as caught:
        kit.run(batch(kit, Broken()))
    assert str(caught.value.__cause__) == "a bug in the user's own code"


def test_an_error_of_the_source_leaves_as_it_is(kit: SyncKit):
    def items() -> Iterator[int]:
        yield 1
        raise OSError("of the source")

    with pytest.raises(OSError, match="of the source"):
        kit.run(batch(kit, items()))


# Batch flows


def test_a_batch_flow_merges_each_entry_over_its_params(kit: SyncKit):
    class Look(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append(dict(self.params))

    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"k": 1}, {"k": 2, "base": "other"}]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    flow, shared = Each(Look()), {"seen": []}
    flow.set_params({"base": "b"})
    assert kit.run(flow, shared) == ([{"k": 1}, {"k": 2, "base": "other"}], None)
    assert shared["seen"] == [{"base": "b", "k": 1}, {"base": "other", "k": 2}]
    assert flow.params == {"base": "b"}


@pytest.mark.parametrize("entries", [None, 0, False, (), {}, "", []], ids=repr)
def test_what_is_false_reaches_the_post_of_a_batch_flow_as_an_empty_list(kit: SyncKit, entries: Any):
    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return entries

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res, exec_res

    assert kit.run(Each(kit.Node())) == ([], None)


def test_a_batch_flow_takes_an_iterator_and_hands_it_to_post(kit: SyncKit):
    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return entries

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return prep_res

    class Look(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append(self.params["n"])

    entries, shared = ({"n": n} for n in range(3)), {"seen": []}
    assert kit.run(Each(Look()), shared) is entries
    assert shared["seen"] == [0, 1, 2]


def test_a_batch_flow_returns_none_unless_its_post_says_otherwise(kit: SyncKit):
    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{}]

    assert kit.run(Each(Say("x", "action"))) is None


def test_nested_batch_flows_merge_the_params_of_all_levels(kit: SyncKit):
    class Outer(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"a": a} for a in (1, 2)]

    class Inner(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"b": self.params["a"] * 10 + b} for b in (1, 2)]

    class Look(kit.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["seen"].append((self.params["a"], self.params["b"]))

    shared: dict[str, Any] = {"seen": []}
    kit.run(Outer(Inner(Look())), shared)
    assert sorted(shared["seen"]) == [(1, 11), (1, 12), (2, 21), (2, 22)]


@pytest.mark.fixed
def test_an_entry_that_is_no_dict_is_refused_by_name(kit: SyncKit):
    class Each(kit.BatchFlow):
        def prep(self, shared: Any) -> Any:
            return ["not a dict"]

    with pytest.raises(TypeError, match="Each: prep returned the entry 'not a dict'; write a dict of params"):
        kit.run(Each(kit.Node()))
