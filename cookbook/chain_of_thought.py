"""Thinking step by step: a node that loops on itself, one small step a visit, until nothing is left.

    python -m cookbook.chain_of_thought "(2 + 3) * 4 - 6 / 2"

What was thought so far goes into the next prompt. Without a model the problem is arithmetic, and a
step works out one operation.
"""

import ast
import operator

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MOST_STEPS = 30
PROMPT = """
Solve the problem one small step at a time.

Problem: {problem}
Steps so far:
{steps}

Do the next step only. Reply with JSON:
{{"step": "what you did", "left": "what is left of the problem, or the answer", "done": true or false}}
"""
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


class Think(Node):
    def prep(self, shared):
        return shared["problem"], shared["left"], shared["steps"]

    def exec(self, inputs):
        problem, left, steps = inputs
        prompt = PROMPT.format(problem=problem, steps="\n".join(steps))
        return ask_for_data(prompt, check, offline=lambda: work_out_one(left))

    def post(self, shared, inputs, thought):
        shared["left"] = thought["left"]
        shared["steps"].append(f"{thought['step']}, which leaves {thought['left']}")
        print(f"{len(shared['steps'])}. {shared['steps'][-1]}")
        return "done" if thought["done"] or len(shared["steps"]) == MOST_STEPS else "think"


class Conclude(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Answer: {shared['left']}")


def check(thought):
    if not isinstance(thought["done"], bool):
        raise ValueError('"done" must be true or false')
    return {"step": str(thought["step"]), "left": str(thought["left"]), "done": thought["done"]}


class OneOperation(ast.NodeTransformer):
    """Replaces the first operation whose two sides are numbers by its result."""

    step = None

    def visit_BinOp(self, node):
        self.generic_visit(node)  # inner operations first
        if self.step is None and type(node.op) in OPERATORS:
            left, right = ast.literal_eval(node.left), ast.literal_eval(node.right)
            value = OPERATORS[type(node.op)](left, right)
            self.step = f"{ast.unparse(node)} = {value:g}"
            return ast.Constant(int(value) if value == int(value) else value)
        return node


def work_out_one(problem):
    one = OneOperation()
    try:
        left = one.visit(ast.parse(problem, mode="eval"))
    except (SyntaxError, ValueError, ZeroDivisionError) as error:
        return {"step": f"stopped: {error}", "left": "unknown", "done": True}
    done = not any(isinstance(node, ast.BinOp) for node in ast.walk(left))
    return {"step": one.step or "nothing to do", "left": ast.unparse(left), "done": done}


think = Think(max_retries=3, wait=retry_after)
think - "think" >> think
think - "done" >> Conclude()
flow = Flow(start=think)


def main():
    problem = argument("(2 + 3) * 4 - 6 / 2")
    flow.run({"problem": problem, "left": problem, "steps": []})


if __name__ == "__main__":
    run(main)
