"""Deep research: a question splits into smaller ones, which are answered at once, level by level.

    python -m cookbook.deep_research "asyncio queues and locks"

A flow whose node runs the same flow again, one level deeper: map over the smaller questions,
reduce their findings to one report with sources. The search is real, as in `agent`.
"""

import asyncio
import re

from cookbook.llm import ask_for_data_async, call_llm_async, retry_after
from cookbook.search import documentation, keywords, quote
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode

MAX_QUESTIONS = 3
DEPTH = 1  # how often a question is split
SPLIT = """
Split this question into at most {count} smaller ones that can be answered one by one.

Question: {question}

Reply with JSON: {{"questions": ["...", "..."]}}. An empty list means that it is small enough.
"""
REPORT = """
Write a short report on the question, from these findings alone. Name the source of each.

Question: {question}

{findings}
"""


class Split(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"], shared["depth"]

    async def exec_async(self, inputs):
        question, depth = inputs
        if depth == 0:
            return []
        prompt = SPLIT.format(question=question, count=MAX_QUESTIONS)
        return await ask_for_data_async(prompt, check, offline=lambda: {"questions": parts(question)})

    async def post_async(self, shared, inputs, questions):
        shared["questions"] = questions
        return "research" if questions else "look up"


class Research(AsyncParallelBatchNode):
    """Each smaller question is a run of the whole flow, one level deeper."""

    async def prep_async(self, shared):
        return [{"question": question, "depth": shared["depth"] - 1} for question in shared["questions"]]

    async def exec_async(self, smaller):
        shared = dict(smaller)
        await research_flow.run_async(shared)
        return shared["findings"]

    async def post_async(self, shared, smaller, findings):
        shared["findings"] = "\n".join(findings)


class LookUp(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]

    async def exec_async(self, question):
        return quote(documentation().search(question, 2), question)

    async def post_async(self, shared, question, findings):
        shared["findings"] = findings


class Report(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"], shared["findings"]

    async def exec_async(self, inputs):
        question, findings = inputs
        prompt = REPORT.format(question=question, findings=findings)
        return await call_llm_async(prompt, offline=lambda: "\n".join([f"# {question}", *as_list(findings)]))

    async def post_async(self, shared, inputs, report):
        print(report)


def check(data):
    return [str(question) for question in data["questions"]][:MAX_QUESTIONS]


def parts(question):
    """What stands between "and" or commas, each with the first word if it has none of its own: "asyncio locks"."""
    subject = keywords(question)[:1]
    found = [part.strip() for part in re.split(r",| and ", question) if part.strip()]
    return [part if " " in part else " ".join([*subject, part]) for part in found] if len(found) > 1 else []


def as_list(findings):
    return [f"- {line}" for line in dict.fromkeys(findings.splitlines())]


split, research, look_up = Split(max_retries=3, wait=retry_after), Research(max_concurrency=4), LookUp()
split - "research" >> research
split - "look up" >> look_up
research_flow = AsyncFlow(start=split)  # which Research runs again for each smaller question

first = AsyncFlow(start=split)  # the same graph, but with a report behind it
first >> Report(max_retries=3, wait=retry_after)
flow = AsyncFlow(start=first)


def main():
    asyncio.run(flow.run_async({"question": argument("asyncio queues and locks"), "depth": DEPTH}))


if __name__ == "__main__":
    run(main)
