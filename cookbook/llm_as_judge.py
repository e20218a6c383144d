"""LLM as judge: write, judge, improve, until it is good enough.

    python -m cookbook.llm_as_judge [TEXT]     (without a TEXT: a wordy sentence)

The editor shortens a text, and the judge sends it back until there is nothing left to criticize, five
times at most. Without a model, both go by a list of filler words.
"""

import re

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

WORDY = "It is really very important to actually note that the cache is basically just a quite simple dict."
FILLER = ["it is important to note that", "actually", "basically", "just", "quite", "really", "simply", "very"]
MAX_ROUNDS = 5
IMPROVE = """
Shorten this text without losing meaning. {advice}

<text>
{text}
</text>

Reply with the new text alone.
"""
JUDGE = """
You are a strict editor. Is this text as short as it can be?

<text>
{text}
</text>

Reply with JSON: {{"good": true or false, "advice": "what to improve, in one sentence"}}
"""


class Improve(Node):
    def prep(self, shared):
        return shared["text"], shared["advice"]

    def exec(self, inputs):
        text, advice = inputs
        return call_llm(IMPROVE.format(text=text, advice=advice), offline=lambda: shorten(text))

    def post(self, shared, inputs, text):
        shared["text"] = text
        shared["rounds"] += 1
        print(f"{shared['rounds']}. {text}")


class Judge(Node):
    def prep(self, shared):
        return shared["text"]

    def exec(self, text):
        return ask_for_data(JUDGE.format(text=text), check, offline=lambda: criticize(text))

    def post(self, shared, text, verdict):
        good, shared["advice"] = verdict
        print(f"   {'good enough' if good else shared['advice']}")
        return "good" if good or shared["rounds"] == MAX_ROUNDS else "improve"


def check(verdict):
    if not isinstance(verdict["good"], bool):
        raise ValueError(f'"good" must be true or false, not {verdict["good"]!r}')
    return verdict["good"], str(verdict["advice"])


def criticize(text):
    found = fillers(text)
    return {"good": not found, "advice": f"Take out {', '.join(found)}."}


def shorten(text):
    """Take out two fillers."""
    for phrase in fillers(text)[:2]:
        text = re.sub(rf"\b{phrase}\b\s*", "", text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:]


def fillers(text):
    return [phrase for phrase in FILLER if re.search(rf"\b{phrase}\b", text.lower())]


improve, judge = Improve(max_retries=3, wait=retry_after), Judge(max_retries=3, wait=retry_after)
improve >> judge
judge - "improve" >> improve
judge - "good" >> None
flow = Flow(start=improve)


def main():
    flow.run({"text": argument(WORDY), "advice": "", "rounds": 0})


if __name__ == "__main__":
    run(main)
