"""One node, many items at once: the same lookups one after the other and eight at a time.

    python -m cookbook.parallel_batch [QUESTION ...]

`AsyncParallelBatchNode` keeps the order of the items whatever order the answers come in. Each
lookup pretends to take as long as a model would; the speed-up that is printed was measured.
"""

import asyncio
import sys
import time

from cookbook.llm import call_llm_async
from cookbook.search import documentation, extract
from cookbook.terminal import run
from pocketflow import AsyncBatchNode, AsyncFlow, AsyncParallelBatchNode

SECONDS = 0.1  # that a model would take
QUESTIONS = ["sort a list", "read a CSV file", "copy a folder", "format a date", "parse JSON", "hash a password",
             "send an e-mail", "match a pattern"]  # fmt: skip


class Answer(AsyncBatchNode):
    async def prep_async(self, shared):
        return shared["questions"]

    async def exec_async(self, question):
        await asyncio.sleep(SECONDS)
        return await call_llm_async(f"Which part of Python helps to {question}? Name it only.", offline=name_by_rule)

    async def post_async(self, shared, questions, answers):
        shared["answers"] = dict(zip(questions, answers, strict=True))


class ParallelAnswer(AsyncParallelBatchNode):
    max_concurrency = 8
    prep_async, exec_async, post_async = Answer.prep_async, Answer.exec_async, Answer.post_async


def name_by_rule(prompt):
    question = extract(prompt, prompt, 1)[0].removesuffix("?").partition(" to ")[2]
    return next((page.name for page in documentation().search(question, 1)), "nothing")


def measured(node, questions):
    shared, start = {"questions": questions}, time.perf_counter()
    asyncio.run(AsyncFlow(start=node).run_async(shared))
    return shared["answers"], time.perf_counter() - start


def main():
    questions = sys.argv[1:] or QUESTIONS
    documentation()  # once, before anything is measured
    answers, alone = measured(Answer(), questions)
    same, together = measured(ParallelAnswer(), questions)
    for question, answer in same.items():
        print(f"{question}: {answer}")
    speed_up = f"{alone / together:.1f} times as fast"
    print(f"{len(answers)} answers in {alone:.2f} s, at once in {together:.2f} s: {speed_up}.")


if __name__ == "__main__":
    run(main)
