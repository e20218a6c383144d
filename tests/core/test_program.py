"""Whole programs, as they are written for PocketFlow 0.0.3, give the same under both."""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import Any

import pytest

import pocketflow as pf

DOCUMENTS = ["a few plain words here", "", "hi", "flaky words of a long text", "secret plans"]


class Load(pf.Node):
    """Retries by hand of what it reads; ends the flow on purpose where there is nothing to do."""

    def __init__(self) -> None:
        super().__init__(max_retries=3, wait=0)
        self.calls = {"load": 0}

    def prep(self, shared: Any) -> Any:
        return shared["documents"]

    def exec(self, documents: Any) -> Any:
        self.calls["load"] += 1
        if self.calls["load"] < 3:
            raise ConnectionError(f"try {self.cur_retry}")
        return [document.split() for document in documents]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append(("loaded", len(exec_res), self.cur_retry))
        shared["words"] = exec_res
        return "many" if exec_res else "none"


class Lengths(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return iter(shared["words"])

    def exec(self, words: Any) -> Any:
        if not words:
            raise ValueError(f"empty at try {self.cur_retry}")
        return sum(map(len, words))

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        return str(exc)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append(("lengths", exec_res))
        shared["lengths"] = [length if isinstance(length, int) else 0 for length in exec_res]


class Grade(pf.Node):
    def prep(self, shared: Any) -> Any:
        return shared["lengths"][self.params["i"]]

    def exec(self, length: Any) -> Any:
        return "long" if length > 10 else "short"

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append((self.params["prefix"], self.params["i"], exec_res))
        return exec_res


class Shout(pf.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append("!")


class GradeAll(pf.BatchFlow):
    def prep(self, shared: Any) -> Any:
        return [{"i": i, "prefix": "grade"} for i in range(len(shared["lengths"]))]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append(("graded", len(prep_res), exec_res))
        return "graded"


class Summarize(pf.AsyncParallelBatchNode):
    """The semaphore that everybody writes, around the retries of each item."""

    def __init__(self, at_once: int) -> None:
        super().__init__(max_retries=2)
        self.at_once, self.most = at_once, [0]

    async def prep_async(self, shared: Any) -> Any:
        return list(enumerate(shared["words"]))

    async def _exec(self, items: Any) -> Any:
        async def limited(item: Any) -> Any:
            async with slots:
                return await super(pf.AsyncParallelBatchNode, self)._exec(item)

        slots = asyncio.Semaphore(self.at_once)
        return await asyncio.gather(*(limited(item) for item in items))

    async def exec_async(self, item: Any) -> Any:
        number, words = item
        await asyncio.sleep(0)
        if "secret" in words:
            raise PermissionError(number)
        return " ".join(words[:2])

    async def exec_fallback_async(self, item: Any, exc: Exception) -> Any:
        return f"({type(exc).__name__})"

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["log"].append(("summaries", exec_res))
        return "ok"


class Each(pf.AsyncBatchFlow):
    async def prep_async(self, shared: Any) -> Any:
        return [{"n": n} for n in range(2)]


class Count(pf.AsyncNode):
    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["count"] = shared.get("count", 0) + 1
        shared["log"].append(("count", shared["count"], self.params))
        return "again" if shared["count"] % 3 else "enough"


def run() -> Any:
    load, lengths, grade = Load(), Lengths(max_retries=2), Grade()
    load - "many" >> lengths
    load - "none" >> None
    grade - "long" >> Shout()
    grade - "short" >> pf.Node()
    inner = pf.Flow(start=load)
    lengths >> GradeAll(start=grade)
    summarize, count = Summarize(at_once=2), Count()
    count - "again" >> count
    count - "enough" >> pf.Node()
    inner - "graded" >> summarize
    inner - "none" >> None
    summarize - "ok" >> Each(count)
    shared: dict[str, Any] = {"documents": DOCUMENTS, "log": []}
    flow = pf.AsyncFlow(start=inner)
    flow.set_params({"prefix": "outer"})
    shared["action"] = asyncio.run(flow.run_async(shared))
    return shared


def test_a_program_of_a_hundred_lines_gives_the_same():
    """Retries, fallbacks, branches, batches, nested flows, loops, params, a semaphore of its own, an end on purpose."""
    shared = run()
    assert shared["action"] is None
    assert shared["log"] == [
        ("loaded", 5, 2),
        ("lengths", [18, "empty at try 1", 2, 21, 11]),
        ("grade", 0, "long"),
        "!",
        ("grade", 1, "short"),
        ("grade", 2, "short"),
        ("grade", 3, "long"),
        "!",
        ("grade", 4, "long"),
        "!",
        ("graded", 5, None),
        ("summaries", ["a few", "", "hi", "flaky words", "(PermissionError)"]),
        *[("count", n, {"prefix": "outer", "n": (n - 1) // 3}) for n in range(1, 7)],
    ]


def test_a_flow_that_ends_on_purpose_ends_there():
    load = Load()
    load - "many" >> Lengths()
    load - "none" >> None
    shared: dict[str, Any] = {"documents": [], "log": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0.0.3 warns of it
        assert pf.Flow(load).run(shared) == "none"
    assert shared["log"] == [("loaded", 0, 2)]


class Ask(pf.Node):
    """A step of an agent: decides by what it knows, as a model would."""

    def prep(self, shared: Any) -> Any:
        return shared["question"], list(shared["facts"])

    def exec(self, inputs: Any) -> Any:
        question, facts = inputs
        missing = [word for word in question.split() if word not in facts]
        return ("search", missing[0]) if missing else ("answer", facts)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        action, shared["term"] = exec_res
        return action


class Search(pf.Node):
    def exec(self, prep_res: Any) -> Any:
        if self.cur_retry == 0:
            raise TimeoutError
        return "found"

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["facts"].append(shared["term"])
        return "decide"


class Answer(pf.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared["answer"] = " ".join(shared["facts"])
        return "done"


def test_an_agent_that_searches_until_it_can_answer_gives_the_same():
    ask, search = Ask(), Search(max_retries=2)
    ask - "search" >> search
    search - "decide" >> ask
    ask - "answer" >> Answer()
    shared: dict[str, Any] = {"question": "who wrote this book", "facts": []}
    assert pf.Flow(start=ask).run(shared) == "done"
    assert shared["answer"] == "who wrote this book"


@pytest.mark.parametrize("seed", range(5))
def test_a_map_reduce_over_nested_batches_gives_the_same(seed: int):
    class Split(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            numbers = shared["numbers"]
            shared["chunks"] = [numbers[at : at + 3] for at in range(0, len(numbers), 3)]

    class Map(pf.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"chunk": n} for n in range(len(shared["chunks"]))]

    class Square(pf.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> Any:
            return shared["chunks"][self.params["chunk"]]

        async def exec_async(self, number: int) -> Any:
            await asyncio.sleep(0)
            return number * number

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["sums"][self.params["chunk"]] = sum(exec_res)

    numbers = random.Random(seed).choices(range(100), k=20)
    split, shared = Split(), {"numbers": numbers, "sums": {}}
    split >> Map(start=Square())
    asyncio.run(pf.AsyncFlow(start=split).run_async(shared))
    assert sum(shared["sums"].values()) == sum(number * number for number in numbers)
