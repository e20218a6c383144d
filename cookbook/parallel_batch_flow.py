"""A whole flow for many entries at once: every file is read, and counted by the node for its kind.

    python -m cookbook.parallel_batch_flow [FILE ...]     (without a FILE: some of this folder)

`AsyncParallelBatchFlow` runs its graph once for each entry that `prep_async` returns, a dict which
all nodes of that run see as `self.params`. The runs share one store, so each writes under its own name.
"""

import asyncio
import sys
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncNode, AsyncParallelBatchFlow, Node


class Files(AsyncParallelBatchFlow):
    async def prep_async(self, shared):
        return [{"file": file} for file in shared["files"]]


class Read(AsyncNode):
    async def prep_async(self, shared):
        return self.params["file"]

    async def exec_async(self, file):
        return await asyncio.to_thread(Path(file).read_text)

    async def post_async(self, shared, file, text):
        shared["texts"][file] = text
        return "code" if file.endswith(".py") else "prose"


class CountLines(Node):
    def post(self, shared, prep_res, exec_res):
        file = self.params["file"]
        shared["counts"][file] = f"{sum(map(bool, shared['texts'][file].splitlines()))} lines of code"


class CountWords(Node):
    def post(self, shared, prep_res, exec_res):
        file = self.params["file"]
        shared["counts"][file] = f"{len(shared['texts'][file].split())} words"


read = Read()
read - "code" >> CountLines()
read - "prose" >> CountWords()
flow = Files(start=read, max_concurrency=16)


def main():
    folder = Path(__file__).parent
    files = sys.argv[1:] or sorted(str(file) for names in ("*.md", "[a-d]*.py") for file in folder.glob(names))
    shared = {"files": files, "texts": {}, "counts": {}}
    asyncio.run(flow.run_async(shared))
    for file in files:
        print(f"{Path(file).name}: {shared['counts'][file]}")


if __name__ == "__main__":
    run(main)
