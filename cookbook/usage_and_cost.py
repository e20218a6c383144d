"""What a run costs: a hook adds up the tokens of every call, node by node, and keeps to a budget.

    python -m cookbook.usage_and_cost [BUDGET]     (in cents; default: 1; try 0.01)

`cookbook.llm` emits an event with the tokens of every answer. A hook hears it wherever it comes
from, so no node has to count. Once the calls cost more than the budget, the next one is refused, a
retry too. Without a model, tokens are estimated at four characters each, so that there is something
to add up.
"""

import sys
from collections import Counter

from cookbook.llm import call_llm, has_model, retry_after
from cookbook.search import as_text, documentation, quote
from cookbook.terminal import number, run
from pocketflow import BatchNode, Flow, Node
from pocketflow.hooks import Hook, emit

CENTS = {"input_tokens": 15 / 1_000_000, "output_tokens": 60 / 1_000_000}  # per token, for a small model
QUESTIONS = ["How do I sort a list?", "How do I parse JSON?", "How do I copy a folder?"]
ANSWER = """
Answer the question in one sentence, from these pages.

Question: {question}

{pages}
"""
SUM_UP = """
Make one paragraph of these answers.

{answers}
"""


class OverBudget(Exception):
    """The calls so far cost more than the budget."""


class Cost(Hook):
    """Tokens by node; refuses every further attempt of an exec once they cost more than `budget` cents."""

    def __init__(self, budget):
        self.budget, self.tokens = budget, {}

    def on_event(self, step, event):
        if event["type"] == "usage":
            counts = {kind: event[kind] for kind in CENTS}
            self.tokens.setdefault(step.name, Counter()).update(counts, calls=1)

    def on_start(self, step):
        if step.kind == "exec":
            self.check()

    def on_retry(self, step, error, attempt, wait):
        self.check()

    def check(self):
        if self.cents() > self.budget:
            raise OverBudget(f"{self.cents():.4f} cents are spent, of {self.budget:g}")

    def cents(self, *names):
        """What these nodes cost so far; without names: all."""
        counts = (self.tokens[name] for name in names or self.tokens)
        return sum(count[kind] * CENTS[kind] for count in counts for kind in CENTS)


class Answer(BatchNode):
    def prep(self, shared):
        return shared["questions"]

    def exec(self, question):
        pages = documentation().search(question, 2)
        prompt = ANSWER.format(question=question, pages=as_text(pages))
        return call(prompt, offline=lambda: quote(pages[:1], question))

    def post(self, shared, questions, answers):
        shared["answers"] = answers


class SumUp(Node):
    def prep(self, shared):
        return shared["answers"]

    def exec(self, answers):
        prompt = SUM_UP.format(answers="\n".join(answers))
        return call(prompt, offline=lambda: " ".join(answers))

    def post(self, shared, answers, text):
        shared["text"] = text


def call(prompt, offline):
    """`call_llm`, which emits its tokens; without a model they are estimated here."""
    answer = call_llm(prompt, offline=offline)
    if not has_model():
        tokens = {"input_tokens": len(prompt) // 4, "output_tokens": len(answer) // 4}
        emit({"type": "usage", "model": "none", **tokens})
    return answer


answer = Answer(max_retries=3, wait=retry_after)
answer >> SumUp(max_retries=3, wait=retry_after)
flow = Flow(start=answer)


def main():
    cost, shared = Cost(budget=number(1.0)), {"questions": QUESTIONS}
    try:
        with cost:
            flow.run(shared)
        print(shared["text"], end="\n\n")
    except OverBudget as error:
        print(f"stopped: {error}", file=sys.stderr)
    for name, count in cost.tokens.items():
        calls = f"{count['calls']} call{'s' * (count['calls'] > 1)}"
        tokens = f"{count['input_tokens']} tokens in, {count['output_tokens']} out"
        print(f"{name}: {calls}, {tokens}, {cost.cents(name):.4f} cents")


if __name__ == "__main__":
    run(main)
