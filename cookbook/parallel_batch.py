"""One node, many items at once: the same questions one after the other and eight at a time.

    python -m cookbook.parallel_batch [QUESTION ...]

The same node with `max_concurrency=1` and with 8: results keep the order of the items, whatever order
the answers come in. Without a model each call takes a tenth of a second; the speed-up is measured.
"""

import asyncio
import sys
import time

from cookbook.llm import call_llm_async, has_model, retry_after
from cookbook.search import documentation
from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncParallelBatchNode

PROMPT = """
Which function or module of Python's library helps with this task?

Task: {task}

Reply with its name alone.
"""
SECONDS = 0.1  # how long a call takes without a model
TASKS = ["sort a list", "shuffle a list", "copy a folder", "list a folder", "parse a date", "parse JSON",
         "pick a random number", "run a command"]  # fmt: skip


class Name(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return shared["tasks"]

    async def exec_async(self, task):
        await asyncio.sleep(0 if has_model() else SECONDS)
        return await call_llm_async(PROMPT.format(task=task), offline=lambda: look_up(task))

    async def post_async(self, shared, tasks, names):
        shared["names"] = dict(zip(tasks, names, strict=True))


def look_up(task):
    return next((page.name for page in documentation().search(task, 1)), "nothing")


def measured(tasks, max_concurrency):
    name = Name(max_retries=3, wait=retry_after, max_concurrency=max_concurrency)
    shared, start = {"tasks": tasks}, time.perf_counter()
    asyncio.run(AsyncFlow(start=name).run_async(shared))
    return shared["names"], time.perf_counter() - start


def main():
    tasks = sys.argv[1:] or TASKS
    documentation()  # once, before anything is measured
    _, alone = measured(tasks, max_concurrency=1)
    names, together = measured(tasks, max_concurrency=8)
    for task, name in names.items():
        print(f"{task}: {name}")
    speed_up = f"{alone / together:.1f} times as fast"
    print(f"{len(names)} answers in {alone:.2f} s, at once in {together:.2f} s: {speed_up}.")


if __name__ == "__main__":
    run(main)
