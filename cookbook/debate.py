"""A debate: two sides in turn, each answering the other, then a judge.

    python -m cookbook.debate thread process

One node class is both sides; the name of its own side is all they differ in. Without a model each
side argues with sentences about its subject in the documentation of Python, none of them twice,
and the judge counts who had more to say.
"""

import json
import re
import sys

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import documentation, sentences
from cookbook.terminal import run
from pocketflow import Flow, Node

ROUNDS = 3


class Speak(Node):
    def __init__(self, side, **settings):
        super().__init__(**settings)
        self.side = side

    def prep(self, shared):
        said = json.dumps(shared["said"])
        return f"You argue for: {shared['sides'][self.side]}. Give one new argument.\nSaid so far: {said}"

    def exec(self, prompt):
        return call_llm(prompt, offline=argue_by_rule)

    def post(self, shared, prompt, argument):
        name = shared["sides"][self.side]
        shared["said"].append([name, argument])
        print(f"{name}: {argument}")
        return "judge" if len(shared["said"]) == 2 * ROUNDS else "reply"


class Judge(Node):
    def prep(self, shared):
        return f'Who won? Answer in JSON: {{"winner": text, "why": text}}.\nDebate: {json.dumps(shared["said"])}'

    def exec(self, prompt):
        return ask_for_data(prompt, lambda data: f"{data['winner']}, {data['why']}", offline=judge_by_rule)

    def post(self, shared, prompt, verdict):
        print(f"The judge: {verdict}")


def argue_by_rule(prompt):
    side, said = re.search(r"for: (.*?)\. Give.*\nSaid so far: (.*)", prompt).groups()
    used = [argument for _, argument in json.loads(said)]
    for page in documentation().search(side, 10):
        for sentence in sentences(page.text):
            if side.lower() in sentence.lower() and sentence not in used and len(sentence) < 200:
                return sentence
    return "(no more to say)"


def judge_by_rule(prompt):
    words = {}
    for side, argument in json.loads(prompt.split("Debate: ")[1]):
        words.setdefault(side, set()).update(re.findall(r"\w+", argument.lower()))
    winner = max(words, key=lambda side: len(words[side]))
    return json.dumps({"winner": winner, "why": f"with {len(words[winner])} different words"})


first, second = (Speak(side, max_retries=3, wait=retry_after) for side in (0, 1))
judge = Judge(max_retries=3, wait=retry_after)
first - "reply" >> second
second - "reply" >> first
second - "judge" >> judge
flow = Flow(start=first)


def main():
    sides = sys.argv[1:3] if len(sys.argv) > 2 else ["thread", "process"]
    flow.run({"sides": sides, "said": []})


if __name__ == "__main__":
    run(main)
