"""Code that is tested, not trusted: write a function, run its tests in a process of its own, repair.

    python -m cookbook.code_generator [EXAMPLE ...]     such as  "f(3) == 9" "f(5) == 25"

The examples are the tests. The code runs in a subprocess with a time limit, so an endless loop is an
error like any other. Without a model, a rule tries one formula after the other.
"""

import re
import subprocess
import sys

from cookbook.llm import call_llm, retry_after
from cookbook.terminal import run
from pocketflow import Flow, Node

MAX_SECONDS = 5  # for the tests
MAX_TRIES = 8
PROMPT = """
Write a Python function f(x) that makes these true:
{examples}

These did not:
{failures}

Reply with the code alone.
"""
FORMULAS = ["x", "x + 1", "2 * x", "x * x", "x ** 3", "-x", "abs(x)", "len(str(x))", "x[::-1]", "sorted(x)"]


class Write(Node):
    def prep(self, shared):
        return shared["examples"], shared["failures"]

    def exec(self, inputs):
        examples, failures = inputs
        told = "\n\n".join(f"{code}\n# {failure}" for code, failure in failures)
        prompt = PROMPT.format(examples="\n".join(examples), failures=told or "(nothing was tried yet)")
        answer = call_llm(prompt, offline=lambda: next_formula(failures))
        code = re.sub(r"```\w*\n?", "", answer).strip()
        if not code:
            raise ValueError("no code")
        return code

    def post(self, shared, inputs, code):
        shared["code"] = code


class Test(Node):
    def prep(self, shared):
        return shared["code"], shared["examples"]

    def exec(self, work):
        code, examples = work
        tests = "\n".join(f"assert {example}, {example!r}" for example in examples)
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", f"{code}\n{tests}"], capture_output=True, text=True, timeout=MAX_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"it ran for more than {MAX_SECONDS} seconds"
        return (done.stderr.strip().splitlines() or ["it failed in silence"])[-1] if done.returncode else None

    def post(self, shared, work, failure):
        shared["tries"] += 1
        print(f"{shared['tries']}. {shared['code'].splitlines()[-1].strip()}: {failure or 'passes'}")
        if failure is None:
            return "good"
        shared["failures"].append((shared["code"], failure))
        return "repair" if shared["tries"] < MAX_TRIES else "give up"


class Show(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"\n{shared['code']}")


class GiveUp(Node):
    def post(self, shared, prep_res, exec_res):
        print("No function that passes.")


def next_formula(failures):
    """The first formula that has not failed yet."""
    failed = {code for code, _ in failures}
    codes = [f"def f(x):\n    return {formula}" for formula in FORMULAS]
    return next((code for code in codes if code not in failed), codes[0])


write, test = Write(max_retries=3, wait=retry_after), Test()
write >> test
test - "repair" >> write
test - "good" >> Show()
test - "give up" >> GiveUp()
flow = Flow(start=write)


def main():
    flow.run({"examples": sys.argv[1:] or ["f(3) == 9", "f(5) == 25"], "failures": [], "tries": 0})


if __name__ == "__main__":
    run(main)
