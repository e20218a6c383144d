"""A majority vote: ask the same several times at once, and take the answer that most agree on.

    python -m cookbook.majority_vote "I love this book, it is great fun, though the end is sad"

A parallel batch asks five times, and a call that fails does not count, nor an answer that is no vote.
Without a model, each voter looks at a different part of the text, so that they can disagree.
"""

import asyncio
import re
from collections import Counter

from cookbook.llm import call_llm_async, retry_after
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncParallelBatchNode, Node

PROMPT = """
Is the mood of this text good, bad or mixed? Pay most attention to {focus}.

<text>
{text}
</text>

Reply with one word.
"""
GOOD = {"good", "great", "love", "loved", "like", "fine", "happy", "brilliant", "excellent", "best", "fun"}
BAD = {"bad", "sad", "hate", "hated", "boring", "poor", "slow", "terrible", "awful", "worst", "dull"}
READINGS = {
    "every word": lambda words: words,
    "the beginning": lambda words: words[: len(words) // 2],
    "the end": lambda words: words[len(words) // 2 :],
    "the first impression": lambda words: [word for word in words if word in GOOD | BAD][:1],
    "the last impression": lambda words: [word for word in words if word in GOOD | BAD][-1:],
}


class Vote(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [(shared["text"], focus) for focus in READINGS]

    async def exec_async(self, item):
        text, focus = item
        answer = await call_llm_async(PROMPT.format(text=text, focus=focus), offline=lambda: mood(text, focus))
        vote = answer.lower().strip(" .\n")
        if vote not in ("good", "bad", "mixed"):
            raise ValueError(f"no vote: {answer}")
        return vote

    async def exec_fallback_async(self, item, error):
        return None

    async def post_async(self, shared, items, votes):
        shared["votes"] = Counter(vote for vote in votes if vote)


class Count(Node):
    def post(self, shared, prep_res, exec_res):
        votes = shared["votes"].most_common()
        print(", ".join(f"{vote}: {times}" for vote, times in votes))
        tied = len(votes) > 1 and votes[0][1] == votes[1][1]
        print("no majority" if tied or not votes else f"majority: {votes[0][0]}")


def mood(text, focus):
    words = READINGS[focus](re.findall(r"\w+", text.lower()))
    score = sum((word in GOOD) - (word in BAD) for word in words)
    return "good" if score > 0 else "bad" if score < 0 else "mixed"


vote = Vote(max_retries=2, wait=retry_after)
vote >> Count()
flow = AsyncFlow(start=vote)


def main():
    asyncio.run(flow.run_async({"text": argument("I love this book, it is great fun, though the end is sad")}))


if __name__ == "__main__":
    run(main)
