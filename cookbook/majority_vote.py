"""A majority vote: ask the same several times at once, and take the answer most agree on.

    python -m cookbook.majority_vote "I love this book, though the end is sad"

A parallel batch asks five times; one voter that fails is no vote, and the others count. Without a
model each voter judges the mood of a text by its own reading: one by the first words, one by the
last, one by strong words, and so on; they do disagree.
"""

import asyncio
import re
from collections import Counter

from cookbook.llm import call_llm_async, retry_after
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode

GOOD = {"good", "great", "love", "loved", "like", "fine", "happy", "brilliant", "excellent", "best", "fun"}
BAD = {"bad", "sad", "hate", "hated", "boring", "poor", "slow", "terrible", "awful", "worst", "dull"}
STRONG = {"love", "loved", "brilliant", "excellent", "best", "hate", "hated", "terrible", "awful", "worst"}
READINGS = {
    "all": lambda words: words,
    "beginning": lambda words: words[: len(words) // 2],
    "end": lambda words: words[len(words) // 2 :],
    "strong": lambda words: [word for word in words if word in STRONG],
    "first": lambda words: [word for word in words if word in GOOD | BAD][:1],
}


class Vote(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        question = "Is the mood of this text good, bad or mixed? Answer one word."
        return [f"{question} Attend to: {reading}.\nText: {shared['text']}" for reading in READINGS]

    async def exec_async(self, prompt):
        return (await call_llm_async(prompt, offline=vote_by_rule)).strip().lower().strip(".")

    async def exec_fallback_async(self, prompt, error):
        return None

    async def post_async(self, shared, prompts, votes):
        shared["votes"] = Counter(vote for vote in votes if vote)


class Count(AsyncNode):
    async def post_async(self, shared, prep_res, exec_res):
        votes = shared["votes"].most_common()
        print(", ".join(f"{vote}: {times}" for vote, times in votes))
        tied = len(votes) > 1 and votes[0][1] == votes[1][1]
        print("no majority" if tied or not votes else f"majority: {votes[0][0]}")


def vote_by_rule(prompt):
    reading, text = re.search(r"Attend to: (\w+)\.\nText: (.*)", prompt, re.DOTALL).groups()
    words = READINGS[reading](re.findall(r"\w+", text.lower()))
    score = sum((word in GOOD) - (word in BAD) for word in words)
    return "good" if score > 0 else "bad" if score < 0 else "mixed"


vote = Vote(max_retries=2, wait=retry_after)
vote >> Count()
flow = AsyncFlow(start=vote)


def main():
    asyncio.run(flow.run_async({"text": argument("I love this book, though the end is sad")}))


if __name__ == "__main__":
    run(main)
