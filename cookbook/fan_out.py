"""Branches of different kinds at once, and a join: `read >> [count, find, longest] >> report`.

    python -m cookbook.fan_out [FILE]     (without a FILE: Python's own copyright notice)

One branch is an async node, one a plain function in a thread, one a flow of two nodes. The join
begins when all of them are done; if a branch fails, the others are cancelled.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from pocketflow.dataflow import task


class Read(Node):
    def prep(self, shared):
        return shared["file"]

    def exec(self, file):
        return Path(file).read_text() if file else sys.copyright

    def post(self, shared, file, text):
        shared["text"] = text


class Count(AsyncNode):
    async def prep_async(self, shared):
        return shared["text"]

    async def exec_async(self, text):
        return len(text.split())

    async def post_async(self, shared, text, count):
        shared["count"] = count


def common(text):
    return Counter(word for word in text.lower().split() if word.isalpha()).most_common(1)


class Split(Node):
    def post(self, shared, prep_res, exec_res):
        shared["lines"] = shared["text"].splitlines()


class Longest(Node):
    def post(self, shared, prep_res, exec_res):
        shared["longest"] = max(map(len, shared["lines"]), default=0)


class Report(Node):
    def post(self, shared, prep_res, exec_res):
        word = f", most often {shared['common'][0][0]!r}" if shared["common"] else ""
        print(f"{shared['count']} words{word}; the longest line has {shared['longest']} characters.")


read, split = Read(), Split()
split >> Longest()
read >> [Count(), task(common), Flow(start=split)] >> Report()
flow = AsyncFlow(start=read)


def main():
    asyncio.run(flow.run_async({"file": sys.argv[1] if len(sys.argv) > 1 else None}))


if __name__ == "__main__":
    run(main)
