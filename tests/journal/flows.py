"""Flows to be killed, each of another shape: they tell with `emit` what they do; what they leave hangs on no order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pocketflow as pf
from pocketflow.dataflow import Dataflow
from pocketflow.executors import ExecutorBatchNode, ExecutorNode
from pocketflow.hooks import emit
from pocketflow.journal import pause

Made = tuple[Any, dict[str, Any]]


def ran() -> None:
    emit({"type": "ran"})


class Add(pf.Node):
    """Appends to the log of the store: twice would be seen."""

    def prep(self, shared: Any) -> Any:
        return [len(shared["log"]), self.params]

    def exec(self, prep_res: Any) -> Any:
        ran()
        return prep_res

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        ran()
        shared["log"].append(exec_res)


class Again(Add):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        super().post(shared, prep_res, exec_res)
        return "again" if len(shared["log"]) < 6 else "enough"


class Squares(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return [shared["queue"].pop() for _ in range(4)]  # must not be taken twice

    def exec(self, item: Any) -> Any:
        ran()
        return item, item * item

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        ran()
        shared["log"].append(results)


class Popping(pf.Flow):
    def prep(self, shared: Any) -> Any:
        shared["log"].append(["popped", shared["queue"].pop(0)])


class Entries(pf.BatchFlow):
    def prep(self, shared: Any) -> Any:
        return [{"n": shared["queue"].pop()} for _ in range(3)]

    def post(self, shared: Any, entries: Any, exec_res: Any) -> Any:
        ran()
        shared["log"].append(entries)


class Items(pf.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        await asyncio.sleep(0)
        return list(range(7))

    async def exec_async(self, item: Any) -> Any:
        for _ in range(item % 3):  # they end in another order than they begin
            await asyncio.sleep(0)
        ran()
        return item * 2

    async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
        ran()
        shared["log"].append(results)


class Take(pf.AsyncNode):
    """Takes one from the queue that its siblings take from too."""

    async def prep_async(self, shared: Any) -> Any:
        ran()
        return shared["queue"].pop() if shared["queue"] else None

    async def exec_async(self, item: Any) -> Any:
        for _ in range((item or 0) % 3):
            await asyncio.sleep(0)
        ran()
        return item

    async def post_async(self, shared: Any, item: Any, result: Any) -> Any:
        ran()
        if item is None:
            return "empty"
        shared["taken"][str(item)] = shared["taken"].get(str(item), 0) + 1
        return "more"


class Put(pf.AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        await asyncio.sleep(0)
        ran()

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        ran()
        key = f"{self.params['n']} {self.params['of']}"
        shared["taken"][key] = shared["taken"].get(key, 0) + 1


class ParallelEntries(pf.AsyncParallelBatchFlow):
    async def prep_async(self, shared: Any) -> Any:
        count = shared.setdefault("entries", 4)  # a change, beside what is returned
        return [{"n": n, "of": count} for n in range(count)]


def taker() -> Take:
    take = Take()
    take - "more" >> take
    take - "empty" >> pf.Node()
    return take


def loop() -> Made:
    again = Again()
    again - "again" >> again
    again - "enough" >> Add()
    return pf.Flow(again), {"log": []}


def nested() -> Made:
    inner = Popping(Add())
    inner >> Add()
    outer = Popping(inner)
    outer >> Popping(Popping(Squares()))
    return pf.Flow(outer), {"log": [], "queue": list(range(10))}


def batch() -> Made:
    squares = Squares()
    squares >> Add() >> Squares()
    return pf.Flow(squares), {"log": [], "queue": list(range(12))}


def batch_flow() -> Made:
    first = Add()
    first >> Entries(Add())
    return pf.Flow(Entries(first)), {"log": [], "queue": list(range(20))}


def parallel_batch() -> Made:
    items = Items(max_concurrency=3)
    items >> Items() >> Add()
    return pf.AsyncFlow(items), {"log": []}


def parallel_flow() -> Made:
    put = Put()
    put >> Put()
    entries = ParallelEntries(put, max_concurrency=2)
    entries >> ParallelEntries(Put())
    return pf.AsyncFlow(entries), {"taken": {}}


def fan_out() -> Made:
    first, last = Add(), Add()
    first >> [taker(), taker(), pf.AsyncFlow(Items())] >> last  # type: ignore[operator]  # a list in a chain
    return pf.AsyncFlow(first), {"log": [], "taken": {}, "queue": list(range(8))}


def words(text: str) -> list[str]:
    ran()
    return text.split()


async def lengths(words: list[str]) -> list[int]:
    await asyncio.sleep(0)
    ran()
    return [len(word) for word in words]


def count(words: list[str]) -> int:
    ran()
    return len(words)


async def mean(lengths: list[int], count: int) -> float:
    ran()
    return sum(lengths) / count


def dataflow() -> Made:
    first = Add()
    first >> Dataflow(words, lengths, count, mean, final_vars=["mean", "count"]) >> Add()
    return pf.AsyncFlow(first), {"log": [], "text": "to be or not to be"}


class Upper(ExecutorNode):
    """In a thread, beside others that commit."""

    def prep(self, shared: Any) -> Any:
        return self.params.get("word", "word")

    def exec(self, word: Any) -> Any:
        ran()
        return word.upper()

    def post(self, shared: Any, word: Any, result: Any) -> Any:
        ran()
        shared["taken"][result] = shared["taken"].get(result, 0) + 1


class Lengths(ExecutorBatchNode):
    def prep(self, shared: Any) -> Any:
        return [{"text": "x" * n} for n in range(4)]

    def exec(self, item: Any) -> Any:
        ran()
        item["length"] = len(item["text"])  # its input, changed
        return item["length"]

    def post(self, shared: Any, items: Any, lengths: Any) -> Any:
        ran()
        shared["taken"]["lengths"] = [*shared["taken"].get("lengths", ()), lengths]


def executors() -> Made:
    upper = Upper()
    upper >> Lengths()
    return pf.AsyncParallelFlow(upper, taker(), Upper()), {"taken": {}, "queue": list(range(4))}


async def connected() -> AsyncIterator[list[int]]:
    await asyncio.sleep(0)
    yield [1, 2, 3]
    await asyncio.sleep(0)


async def rows(db: list[int]) -> list[int]:
    ran()
    return db


def total(rows: list[int]) -> int:
    ran()
    return sum(rows)


def resources() -> Made:
    flow = Dataflow(rows, total, final_vars=["total"], resources={"db": connected})
    first = pf.AsyncParallelFlow(flow, taker())
    first >> Add()
    return pf.AsyncFlow(first), {"log": [], "taken": {}, "queue": list(range(6))}


class Chat(pf.BatchNode):
    """Its exec changes its input, as one does that appends to a conversation."""

    def prep(self, shared: Any) -> Any:
        return [{"messages": [n]} for n in range(4)]

    def exec(self, item: Any) -> Any:
        ran()
        item["messages"].append("an answer")
        return len(item["messages"])

    def post(self, shared: Any, items: Any, results: Any) -> Any:
        ran()
        shared["log"].append([results, [item["messages"][0] for item in items]])


class Ask(pf.Node):
    """Waits for a person, in each of its phases."""

    def prep(self, shared: Any) -> Any:
        return [shared["queue"].pop(), pause("before?")]

    def exec(self, prep_res: Any) -> Any:
        answer = pause("now?", choices=["yes", "no"])
        ran()
        return answer

    def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
        last = pause("after?")
        ran()
        shared["log"].append([prep_res, answer, last])


def changed_inputs() -> Made:
    chat = Chat()
    chat >> Chat() >> Add()
    return pf.Flow(chat), {"log": []}


def pauses() -> Made:
    ask = Ask()
    ask >> Add() >> Ask()
    return pf.Flow(ask), {"log": [], "queue": [1, 2, 3]}


FLOWS: list[Callable[[], Made]] = [
    loop, nested, batch, batch_flow, parallel_batch, parallel_flow, fan_out, dataflow, executors, resources,
    changed_inputs, pauses,
]  # fmt: skip
ANSWER = "yes"  # to every question
