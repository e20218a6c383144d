"""How the core looks to a type checker: never run, only checked, by mypy --strict and by pyright as it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, assert_type

from pocketflow import (
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchNode,
    AsyncParallelFlow,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
    name_of,
)
from pocketflow.hooks import Hook, Log, Skip, Step, emit, hooked
from pocketflow.stream import stream

Shared = dict[str, Any]


class Review(Node):
    """A subclass names the parameters of its phases as it likes."""

    def prep(self, store: Shared) -> str:
        return str(store["text"])

    def exec(self, review: str) -> int:
        return len(review) + self.cur_retry

    def exec_fallback(self, review: str, error: Exception) -> int:
        return 0

    def post(self, store: Shared, review: str, length: int) -> str:
        store["length"] = length
        return "done"


class Reviews(BatchNode):
    def prep(self, store: Shared) -> list[str]:
        return list(store["texts"])

    def exec(self, one: str) -> int:
        return len(one)

    def post(self, store: Shared, reviews: list[str], lengths: list[int]) -> None:
        store["lengths"] = lengths


class Ask(AsyncNode):
    async def prep_async(self, store: Shared) -> str:
        return str(store["question"])

    async def exec_async(self, question: str) -> str:
        return question * self.cur_retry

    async def exec_fallback_async(self, question: str, error: Exception) -> str:
        return ""

    async def post_async(self, store: Shared, question: str, answer: str) -> None:
        store["answer"] = answer


class Tokens(AsyncNode):
    async def exec_async(self, question: str) -> AsyncIterator[str]:
        for word in question.split():
            yield word


class AskAll(AsyncParallelBatchNode):
    max_concurrency = 8

    async def exec_async(self, question: str) -> str:
        await emit({"type": "status"})
        return question


class Each(BatchFlow):
    def prep(self, store: Shared) -> list[dict[str, int]]:
        return [{"n": n} for n in range(store["count"])]


class Joined(AsyncParallelFlow):
    async def post_async(self, store: Shared, prep_res: None, actions: list[Any]) -> str:
        return str(actions)


class Timed(Hook):
    def on_start(self, step: Step) -> Skip | None:
        return Skip(1) if step.kind == "exec" and step.index else None

    def on_end(self, step: Step, result: Any) -> Any:
        return asyncio.sleep(1) if step.loop else None


review, reviews, ask = Review(max_retries=2, wait=lambda attempt, error: None), Reviews(3, 0.5), Ask()
assert_type(review >> reviews, Reviews)
assert_type(review.next(reviews, "action"), Reviews)
assert_type(review >> [reviews, Tokens()], AsyncParallelFlow)
assert_type(review >> [reviews] >> ask, Ask)
assert_type(review - "again" >> review, Review)
assert_type(review - "error" >> None, None)
assert_type(Flow(start=review).start(reviews), Reviews)
assert_type(name_of(review), str)
AsyncParallelBatchFlow(AskAll(max_retries=2, wait=1, max_concurrency=None), max_concurrency=4)
Each(start=review)
Joined(review, ask, max_concurrency=2)
with hooked(Log(), Timed()), Timed() as timed:
    assert_type(timed, Timed)
    aclosing(stream(AsyncFlow(start=[review]), {}, buffer=8))
    aclosing(stream(AsyncFlow(ask).run_async, {}))
