"""A whole flow for many entries at once: every file is read, and counted by the node for its kind.

    python -m cookbook.parallel_batch_flow [FILE ...]     (without a FILE: some of this folder)

`AsyncParallelBatchFlow` runs its graph once for each entry, a dict of params; the entries share
one store, so each writes under its own name. The disk pretends to be slow; what is printed was measured.
"""

import asyncio
import sys
import time
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncBatchFlow, AsyncNode, AsyncParallelBatchFlow, Node

SECONDS = 0.05  # that a slow disk takes


class Read(AsyncNode):
    async def prep_async(self, shared):
        return self.params["file"]

    async def exec_async(self, file):
        await asyncio.sleep(SECONDS)
        return await asyncio.to_thread(Path(file).read_text)

    async def post_async(self, shared, file, text):
        shared["texts"][file] = text
        return "code" if file.endswith(".py") else "prose"


class CountCode(Node):
    def post(self, shared, prep_res, exec_res):
        file = self.params["file"]
        shared["counts"][file] = f"{sum(map(bool, shared['texts'][file].splitlines()))} lines of code"


class CountWords(Node):
    def post(self, shared, prep_res, exec_res):
        file = self.params["file"]
        shared["counts"][file] = f"{len(shared['texts'][file].split())} words"


def graph():
    read = Read()
    read - "code" >> CountCode()
    read - "prose" >> CountWords()
    return read


class Files(AsyncBatchFlow):
    async def prep_async(self, shared):
        return [{"file": file} for file in shared["files"]]


class FilesAtOnce(AsyncParallelBatchFlow):
    max_concurrency = 16
    prep_async = Files.prep_async


def measured(flow, files):
    shared, start = {"files": files, "texts": {}, "counts": {}}, time.perf_counter()
    asyncio.run(flow.run_async(shared))
    return shared["counts"], time.perf_counter() - start


def main():
    files = sys.argv[1:] or sorted(
        str(file) for names in ("*.md", "[a-d]*.py") for file in Path(__file__).parent.glob(names)
    )
    counts, alone = measured(Files(start=graph()), files)
    same, together = measured(FilesAtOnce(start=graph()), files)
    for file in files:
        print(f"{Path(file).name}: {same[file]}")
    print(f"{len(counts)} files in {alone:.2f} s, at once in {together:.2f} s: {alone / together:.1f} times as fast.")


if __name__ == "__main__":
    run(main)
