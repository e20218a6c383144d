"""Deep research: a question splits into smaller ones, which are answered at once, level by level.

    python -m cookbook.deep_research "asyncio queues and locks"

A flow whose node runs the same flow again, one level deeper: map over the smaller questions,
reduce their findings to one report with sources. The search is real, as in `agent`.
"""

import asyncio
import json
import re

from cookbook.llm import ask_for_data_async, call_llm_async, retry_after
from cookbook.search import documentation, extract, keywords
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode

MOST_QUESTIONS = 3
DEPTH = 2


class Split(AsyncNode):
    async def prep_async(self, shared):
        return (
            f'Split this question into at most {MOST_QUESTIONS} smaller ones, as JSON: {{"questions": [text]}}.\n'
            f"Question: {shared['question']}"
        )

    async def exec_async(self, prompt):
        return await ask_for_data_async(prompt, check, offline=split_by_rule)

    async def post_async(self, shared, prompt, questions):
        shared["questions"] = [question for question in questions if question != shared["question"]]
        return "look up" if shared["depth"] == 0 or not shared["questions"] else "research"


class Research(AsyncParallelBatchNode):
    """Each smaller question is a run of the whole flow, one level deeper."""

    async def prep_async(self, shared):
        return [{"question": question, "depth": shared["depth"] - 1} for question in shared["questions"]]

    async def exec_async(self, smaller):
        shared = dict(smaller)
        await flow.run_async(shared)
        return shared["findings"]

    async def post_async(self, shared, smaller, findings):
        shared["findings"] = {name: text for finding in findings for name, text in finding.items()}


class LookUp(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]

    async def exec_async(self, question):
        return {page.name: extract(page.text, question, 1)[0] for page in documentation().search(question, 2)}

    async def post_async(self, shared, question, findings):
        shared["findings"] = findings


class Report(AsyncNode):
    async def prep_async(self, shared):
        return (
            "Write a report from these findings alone, and name the sources.\n"
            f"Question: {shared['question']}\nFindings: {json.dumps(shared['findings'])}"
        )

    async def exec_async(self, prompt):
        return await call_llm_async(prompt, offline=report_by_rule)

    async def post_async(self, shared, prompt, report):
        print(report)


def check(data):
    return [str(question) for question in data["questions"]][:MOST_QUESTIONS]


def split_by_rule(prompt):
    """The question's parts between "and" or commas, else its word pairs."""
    question = re.search(r"Question: (.*)", prompt)[1]
    parts = re.split(r",| and ", question)
    words = keywords(question)
    pairs = [f"{words[0]} {word}" for word in words[1:]] if len(words) > 2 else []
    return json.dumps({"questions": [part.strip() for part in parts] if len(parts) > 1 else pairs})


def report_by_rule(prompt):
    """Every finding with its source, those first that share most words with the question."""
    question, findings = re.search(r"Question: (.*)\nFindings: (.*)", prompt).groups()
    lines = [f"- {text} [{name}]" for name, text in json.loads(findings).items()]
    best = sorted(lines, key=lambda line: -sum(word[:5] in line.lower() for word in keywords(question)))
    return "\n".join([f"# {question}", *best])


split, research, look_up = Split(max_retries=3, wait=retry_after), Research(max_concurrency=4), LookUp()
split - "research" >> research
split - "look up" >> look_up
flow = AsyncFlow(start=split)

outermost = AsyncFlow(start=split)  # as `flow`, with a report at the end
outermost >> Report(max_retries=3, wait=retry_after)
whole = AsyncFlow(start=outermost)


def main():
    asyncio.run(whole.run_async({"question": argument("asyncio queues and locks"), "depth": DEPTH}))


if __name__ == "__main__":
    run(main)
