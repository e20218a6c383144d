"""A judge: write, judge, improve, until it is good enough.

    python -m cookbook.judge [TEXT]     (without a TEXT: a wordy sentence)

The editor shortens a text; the judge ends it when at most a tenth of its words is filler, or after
five rounds. Without a model both go by a list of such words.
"""

import json
import re

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

WORDY = "It is really very important to actually note that the cache is basically just a quite simple dict."
FILLER = ("it is important to note that ", "really ", "very ", "actually ", "basically ", "just ", "quite ", "simply ")
MOST_ROUNDS = 5


class Improve(Node):
    def prep(self, shared):
        return f"Make this text shorter; keep what it says. {shared['advice']}\nText: {shared['text']}"

    def exec(self, prompt):
        return call_llm(prompt, offline=improve_by_rule)

    def post(self, shared, prompt, text):
        shared["text"] = text
        shared["rounds"] += 1
        print(f"{shared['rounds']}. {text}")


class Judge(Node):
    def prep(self, shared):
        return f'Judge this text in JSON: {{"good": bool, "advice": what to improve}}.\nText: {shared["text"]}'

    def exec(self, prompt):
        return ask_for_data(prompt, lambda data: (data["good"], str(data["advice"])), offline=judge_by_rule)

    def post(self, shared, prompt, verdict):
        good, shared["advice"] = verdict
        print(f"   {'good enough' if good else shared['advice']}")
        return "good" if good or shared["rounds"] == MOST_ROUNDS else "improve"


def improve_by_rule(prompt):
    """Take out what the judge advised to; without advice, the first filler."""
    text = prompt.split("\nText: ", 1)[1]
    advised = re.search(r"Take out: (.*)\nText", prompt)
    for word in advised[1].split(", ") if advised else fillers(text)[:1]:
        text = re.sub(re.escape(word) + r"\s*", "", text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:]


def judge_by_rule(prompt):
    text = prompt.split("\nText: ", 1)[1]
    found = fillers(text)
    good = len(found) * 10 <= len(text.split())
    return json.dumps({"good": good, "advice": f"Take out: {', '.join(found[:2])}"})


def fillers(text):
    return [phrase.strip() for phrase in FILLER if phrase in text.lower()]


improve, judge = Improve(max_retries=3, wait=retry_after), Judge(max_retries=3, wait=retry_after)
improve >> judge
judge - "improve" >> improve
judge - "good" >> Node()
flow = Flow(start=improve)


def main():
    flow.run({"text": argument(WORDY), "advice": "", "rounds": 0})


if __name__ == "__main__":
    run(main)
