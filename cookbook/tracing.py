"""What ran when, and what it cost: a parallel run with a retry and a fallback, as text and as a web page.

    python -m cookbook.tracing [FILE]     (default: run.html, in the folder you are in)

Pages of Python's own documentation are summed up, four at once. Each call takes as long as a model
would, and reports the tokens that it would have used. One page fails on the first try, and another
each time, so that its fallback is used. Open FILE in a browser, and click on a bar for what was asked
and answered; + and - zoom, dragging moves.
"""

import asyncio
import re
import sys
from collections import Counter
from pydoc_data.topics import topics

from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, Node
from pocketflow.hooks import emit
from pocketflow.trace import Trace

PAGES = ["assert", "break", "class", "del", "for", "global", "if", "import", "lambda", "pass", "try", "while"]


async def pretend_model(text):
    await asyncio.sleep(0.05 + min(len(text), 8000) / 40_000)
    emit({"type": "usage", "model": "pretended", "input_tokens": len(text) // 4, "output_tokens": 20})


class Collect(Node):
    def post(self, shared, prep_res, exec_res):
        shared["pages"] = [(name, topics[name]) for name in PAGES]


class Summarize(AsyncParallelBatchNode):
    max_concurrency = 4

    async def prep_async(self, shared):
        return shared["pages"]

    async def exec_async(self, page):
        name, text = page
        await pretend_model(text)
        if name == "lambda" or (name == "class" and self.cur_retry == 0):
            raise TimeoutError("the model is busy")
        return next(paragraph for paragraph in text.split("\n\n") if paragraph.endswith((".", ":")))

    async def exec_fallback_async(self, page, error):
        return f"(no summary: {error})"

    async def post_async(self, shared, pages, summaries):
        shared["summaries"] = dict(zip(PAGES, summaries, strict=True))


class CommonWord(AsyncNode):
    async def prep_async(self, shared):
        return " ".join(shared["summaries"].values())

    async def exec_async(self, text):
        await pretend_model(text)
        return Counter(re.findall(r"\w{6,}", text)).most_common(1)[0][0]

    async def post_async(self, shared, text, word):
        shared["word"] = word


class Longest(AsyncNode):
    async def prep_async(self, shared):
        return shared["summaries"]

    async def exec_async(self, summaries):
        await pretend_model(" ".join(summaries.values()))
        return max(summaries, key=lambda name: len(summaries[name]))

    async def post_async(self, shared, summaries, name):
        shared["longest"] = name


class Report(Node):
    def post(self, shared, prep_res, exec_res):
        missing = [name for name, summary in shared["summaries"].items() if summary.startswith("(")]
        print(f"{len(PAGES)} pages, without a summary: {', '.join(missing)}")
        print(f"most common word: {shared['word']}, longest summary: {shared['longest']}")


collect, summarize = Collect(), Summarize(max_retries=2, wait=0.1)
collect >> summarize >> [CommonWord(), Longest()] >> Report()
flow = AsyncFlow(start=collect)
flow.name = "Digest"


def main():
    file = sys.argv[1] if len(sys.argv) > 1 else "run.html"
    if not file.endswith((".html", ".json")):
        raise SystemExit(print(f"{file}: write a name that ends in .html or .json", file=sys.stderr) or 2)
    with Trace(content=True) as trace:
        asyncio.run(flow.run_async({}))
    print(trace)
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in trace.metrics().values())
    print(f"{tokens:,} tokens")
    trace.save(file)
    print(f"Open {file} in a browser.")


if __name__ == "__main__":
    run(main)
