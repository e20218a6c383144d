"""A debate: two sides in turn, each answering the other, then a judge.

    python -m cookbook.debate break continue

Both sides are nodes of one class, which differ only in the side that they take. Without a model,
each side quotes the documentation of Python about its subject, no sentence twice, and the judge
counts the words.
"""

import re
import sys

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import documentation, sentences
from cookbook.terminal import run
from pocketflow import Flow, Node

ROUNDS = 3
SPEAK = """
You argue for {side} in a debate.

Said so far:
{said}

Give one new argument, in one sentence.
"""
JUDGE = """
You are the judge of a debate.

{said}

Who won? Reply with JSON: {{"winner": "the side", "why": "in half a sentence"}}
"""


class Speak(Node):
    def __init__(self, side, **settings):
        super().__init__(**settings)
        self.side = side

    def prep(self, shared):
        return shared["sides"][self.side], shared["said"]

    def exec(self, inputs):
        side, said = inputs
        return call_llm(SPEAK.format(side=side, said=minutes(said)), offline=lambda: argue(side, said))

    def post(self, shared, inputs, argument):
        side, said = inputs
        said.append((side, argument))
        print(f"{side}: {argument}")
        return "judge" if len(said) == 2 * ROUNDS else "reply"


class Judge(Node):
    def prep(self, shared):
        return shared["said"]

    def exec(self, said):
        return ask_for_data(JUDGE.format(said=minutes(said)), check, offline=lambda: judge_by_words(said))

    def post(self, shared, said, verdict):
        print(f"The judge: {verdict}")


def minutes(said):
    return "\n".join(f"{side}: {argument}" for side, argument in said) or "nothing"


def check(verdict):
    return f"{verdict['winner']}, {verdict['why']}"


def argue(side, said):
    """The next sentence of the documentation that speaks of this side."""
    used, word = {argument for _, argument in said}, side.lower()[:5]
    for page in documentation().search(side, 20):
        for sentence in sentences(page.text):
            if word in sentence.lower() and sentence not in used and sentence.endswith("."):
                return sentence
    return "(no more to say)"


def judge_by_words(said):
    words = {side: set() for side, _ in said}
    for side, argument in said:
        words[side] |= set(re.findall(r"\w+", argument.lower()))
    winner = max(words, key=lambda side: len(words[side]))
    return {"winner": winner, "why": f"with {len(words[winner])} different words"}


first, second = Speak(0, max_retries=3, wait=retry_after), Speak(1, max_retries=3, wait=retry_after)
first - "reply" >> second
second - "reply" >> first
second - "judge" >> Judge(max_retries=3, wait=retry_after)
flow = Flow(start=first)


def main():
    sides = sys.argv[1:3] if len(sys.argv) > 2 else ["break", "continue"]
    flow.run({"sides": sides, "said": []})


if __name__ == "__main__":
    run(main)
