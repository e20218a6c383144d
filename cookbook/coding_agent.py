"""A coding agent: it runs the tests of a small broken project, reads, patches, and runs them again.

    python -m cookbook.coding_agent [FOLDER]

The project is copied into a temporary folder, and no patch is written outside of it: a path that leads
out, by `..`, from the root or along a link, is refused. But the tests execute what the model wrote,
without a sandbox. Without a FOLDER it is a small shop with two bugs; without a model, a rule patches
what the failing test shows.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import run
from pocketflow import Flow, Node

PROJECT = {
    "shop.py": """
def total(prices):
    return sum(prices) - 1

def mean(prices):
    return total(prices) // len(prices)
""",
    "test_shop.py": """
import unittest
from shop import mean, total

class TestShop(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total([1, 2]), 3)

    def test_mean(self):
        self.assertEqual(mean([1, 2]), 1.5)
""",
}
PROMPT = """
The tests of this project fail. Fix it by replacing one piece of text in one file.

{code}

What the tests say:
{report}
{refused}
Reply with JSON: {{"file": "name", "old": "the text to replace", "new": "what to put there"}}
"""
MAX_SECONDS, MAX_ROUNDS = 30, 8


def inside(folder, name):
    """The path of a file of the project; anything that leads out of the folder is refused."""
    path = (Path(folder) / name).resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise PermissionError(f"{name} is outside of the project")
    return path


def replace(path, old, new):
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{path.name} has no such text: {old}")
    path.write_text(text.replace(old, new, 1))


class RunTests(Node):
    def prep(self, shared):
        return shared["folder"]

    def exec(self, folder):
        command = [sys.executable, "-B", "-m", "unittest", "-q"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired:
            return 1, f"ERROR: timeout, the tests ran for more than {MAX_SECONDS} seconds"
        return done.returncode, done.stderr

    def post(self, shared, folder, result):
        code, shared["report"] = result
        failing = re.findall(r"^(?:FAIL|ERROR): (\w+)", shared["report"], re.MULTILINE)
        print("tests pass" if code == 0 else f"failing: {', '.join(failing)}")
        shared["round"] += 1
        return "done" if code == 0 else "patch" if shared["round"] <= MAX_ROUNDS else "give up"


class Patch(Node):
    def prep(self, shared):
        files = sorted(Path(shared["folder"]).glob("*.py"))
        code = {file.name: file.read_text() for file in files if not file.name.startswith("test")}
        return code, shared["report"], shared["refused"]

    def exec(self, inputs):
        code, report, refused = inputs
        listing = "\n".join(f"# {name}\n{text}" for name, text in code.items())
        prompt = PROMPT.format(code=listing, report=report, refused=refused)
        return ask_for_data(prompt, check, offline=lambda: find_patch(code))

    def post(self, shared, inputs, patch):
        file, old, new = patch
        shared["refused"] = ""
        try:
            replace(inside(shared["folder"], file), old, new)
        except (OSError, ValueError) as error:
            shared["refused"] = f"Your last patch was refused: {error}"
        print(f"{file}: {old!r} -> {new!r}{' refused' if shared['refused'] else ''}")


class GiveUp(Node):
    def post(self, shared, prep_res, exec_res):
        print("The tests do not pass.")


def check(patch):
    return str(patch["file"]), str(patch["old"]), str(patch["new"])


def find_patch(code):
    """A stray ` - 1` where a sum is one too small, `//` where a fraction was lost."""
    name, text = next(iter(code.items()))
    old, new = (" - 1", "") if " - 1\n" in text else ("//", "/")
    return {"file": name, "old": old, "new": new}


tests, patch = RunTests(), Patch(max_retries=3, wait=retry_after)
tests - "patch" >> patch >> tests
tests - "done" >> None
tests - "give up" >> GiveUp()
flow = Flow(start=tests)


def main():
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], folder, dirs_exist_ok=True)
        for name, text in PROJECT.items() if len(sys.argv) == 1 else ():
            (Path(folder) / name).write_text(text)
        flow.run({"folder": folder, "round": 0, "refused": ""})


if __name__ == "__main__":
    run(main)
