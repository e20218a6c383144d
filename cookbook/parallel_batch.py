"""One node, many items at once: the same questions one after the other and eight at a time.

    python -m cookbook.parallel_batch [QUESTION ...]

`AsyncParallelBatchNode` keeps the order of the items whatever order the answers come in. Each call
pretends to take as long as a model would; the speed-up that is printed was measured.
"""

import asyncio
import sys
import time

from cookbook.llm import call_llm_async, retry_after
from cookbook.search import documentation
from cookbook.terminal import run
from pocketflow import AsyncBatchNode, AsyncFlow, AsyncParallelBatchNode

PROMPT = "Which function or module of Python's library helps to {task}? Reply with its name alone."
SECONDS = 0.1  # that a model would take
TASKS = ["sort a list", "shuffle a list", "copy a folder", "list a folder", "parse a date", "parse JSON",
         "pick a random number", "run a command"]  # fmt: skip


class Name(AsyncBatchNode):
    async def prep_async(self, shared):
        return shared["tasks"]

    async def exec_async(self, task):
        await asyncio.sleep(SECONDS)
        return await call_llm_async(PROMPT.format(task=task), offline=lambda: look_up(task))

    async def post_async(self, shared, tasks, names):
        shared["names"] = dict(zip(tasks, names, strict=True))


class NameAtOnce(AsyncParallelBatchNode):
    max_concurrency = 8
    prep_async, exec_async, post_async = Name.prep_async, Name.exec_async, Name.post_async


def look_up(task):
    return next((page.name for page in documentation().search(task, 1)), "nothing")


def measured(node, tasks):
    shared, start = {"tasks": tasks}, time.perf_counter()
    asyncio.run(AsyncFlow(start=node).run_async(shared))
    return shared["names"], time.perf_counter() - start


def main():
    tasks = sys.argv[1:] or TASKS
    documentation()  # once, before anything is measured
    _, alone = measured(Name(max_retries=3, wait=retry_after), tasks)
    names, together = measured(NameAtOnce(max_retries=3, wait=retry_after), tasks)
    for task, name in names.items():
        print(f"{task}: {name}")
    speed_up = f"{alone / together:.1f} times as fast"
    print(f"{len(names)} answers in {alone:.2f} s, at once in {together:.2f} s: {speed_up}.")


if __name__ == "__main__":
    run(main)
