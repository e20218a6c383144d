"""Thinking step by step: a node that loops on itself, with a plan that it revises.

    python -m cookbook.thinking "(2 + 3) * 4 - 6 / 2"

Each round does one step of the plan and writes the plan anew, until nothing is left. Without a
model the problem is arithmetic: a step works out one operation, the innermost and leftmost first.
"""

import json
import math
import re

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MOST_THOUGHTS = 30
NUMBER = r"-?\d+(?:\.\d+)?"
OPERATIONS = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
}


class Think(Node):
    def prep(self, shared):
        return (
            "Solve the problem one small step at a time. Do the next step now, then revise the plan.\n"
            'Answer in JSON: {"thought": text, "rest": what is left of the problem, "plan": [text], "done": bool}.\n'
            f"Thoughts so far: {json.dumps(shared['thoughts'])}\nPlan: {json.dumps(shared['plan'])}\n"
            f"Problem: {shared['rest']}"
        )

    def exec(self, prompt):
        return ask_for_data(prompt, check, offline=think_by_rule)

    def post(self, shared, prompt, step):
        shared["thoughts"].append(step["thought"])
        shared["rest"], shared["plan"] = step["rest"], step["plan"]
        print(f"{len(shared['thoughts'])}. {step['thought']}   (then: {', '.join(step['plan']) or 'nothing'})")
        return "done" if step["done"] or len(shared["thoughts"]) == MOST_THOUGHTS else "think"


class Conclude(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Answer: {shared['rest']}")


def check(step):
    if not isinstance(step["done"], bool) or not isinstance(step["plan"], list):
        raise ValueError('"done" must be true or false, and "plan" a list')
    return {"thought": step["thought"], "rest": step["rest"], "plan": step["plan"], "done": step["done"]}


def think_by_rule(prompt):
    """Work out one operation; what stands in the plan is every operator that is left."""
    problem = prompt.rsplit("Problem: ", 1)[1].strip()
    rest, thought = step(problem)
    plan = [f"work out {operator}" for operator in re.findall(r"(?<=[\d)]) ?([-+*/]) ?", rest)]
    return json.dumps({"thought": thought, "rest": rest, "plan": plan, "done": not plan})


def step(problem):
    """The problem with one operation done, and that operation; (5) becomes 5."""
    start, end, inner = innermost(problem)
    for operators in ("*/", "+-"):
        found = re.search(rf"((?<![\d)] )(?<![\d)])-?\d+(?:\.\d+)?) ?([{operators}]) ?({NUMBER})", inner)
        if found:
            value = f"{OPERATIONS[found[2]](float(found[1]), float(found[3])):g}"
            inner_now = inner[: found.start()] + value + inner[found.end() :]
            brackets = "()" if "(" in problem and re.search(r"\d ?[-+*/]", inner_now) else ("", "")
            return problem[:start] + brackets[0] + inner_now + brackets[1] + problem[end:], f"{found[0]} = {value}"
    return problem, f"nothing is left to work out in {problem!r}"


def innermost(problem):
    bracket = re.search(r"\(([^()]*)\)", problem)
    return (*bracket.span(), bracket[1]) if bracket else (0, len(problem), problem)


think = Think(max_retries=3, wait=retry_after)
think - "think" >> think
think - "done" >> Conclude()
flow = Flow(start=think)


def main():
    flow.run({"rest": argument("(2 + 3) * 4 - 6 / 2"), "thoughts": [], "plan": []})


if __name__ == "__main__":
    run(main)
