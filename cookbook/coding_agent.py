"""A coding agent: it runs the tests of a small broken project, reads, patches, and runs them again.

    python -m cookbook.coding_agent [FOLDER]

The project is copied into a temporary folder, which the agent's tools cannot leave: a path that
leads out of it, by `..`, from the root or along a link, is refused. Without a FOLDER it is a small
shop with two bugs; without a model, a rule patches what the failing test shows.
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
SECONDS, ROUNDS = 30, 8


def inside(folder, name):
    """The path of a file of the project; anything that leads out of the folder is refused."""
    path = (Path(folder) / name).resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise PermissionError(f"{name} is outside of the project")
    return path


class RunTests(Node):
    def prep(self, shared):
        return shared["folder"]

    def exec(self, folder):
        command = [sys.executable, "-B", "-m", "unittest", "-q"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        return done.returncode, done.stderr

    def post(self, shared, folder, result):
        code, shared["report"] = result
        failing = re.findall(r"^(?:FAIL|ERROR): (\w+)", shared["report"], re.MULTILINE)
        print("tests pass" if code == 0 else f"failing: {', '.join(failing)}")
        shared["round"] += 1
        return "done" if code == 0 else "patch" if shared["round"] <= ROUNDS else "give up"


class Patch(Node):
    def prep(self, shared):
        files = sorted(path for path in Path(shared["folder"]).glob("*.py") if not path.name.startswith("test"))
        code = "\n".join(f"# {path.name}\n{path.read_text()}" for path in files)
        refused = f"\nRefused: {shared.pop('refused')}" if "refused" in shared else ""
        return f'Answer {{"file": ..., "old": ..., "new": ...}} to mend this.\n{code}\n{shared["report"]}{refused}'

    def exec(self, prompt):
        return ask_for_data(prompt, check_patch, offline=patch_by_rule)

    def post(self, shared, prompt, patch):
        file, old, new = patch
        try:
            path = inside(shared["folder"], file)
            text = path.read_text()
            path.write_text(text.replace(old, new, 1))
        except OSError as error:
            shared["refused"] = str(error)
        print(f"{file}: {old!r} -> {new!r}{' refused' if 'refused' in shared else ''}")


class GiveUp(Node):
    def post(self, shared, prep_res, exec_res):
        print("The tests do not pass.")


def check_patch(data):
    return str(data["file"]), str(data["old"]), str(data["new"])


def patch_by_rule(prompt):
    """A stray ` - 1` where a sum is one too small, `//` where a fraction was lost."""
    file = re.findall(r"^# (\S+)$", prompt, re.MULTILINE)[0]
    old, new = (" - 1", "") if " - 1\n" in prompt else ("//", "/")
    return f'{{"file": "{file}", "old": "{old}", "new": "{new}"}}'


tests, patch = RunTests(), Patch(max_retries=3, wait=retry_after)
tests - "patch" >> patch >> tests
tests - "done" >> Node()
tests - "give up" >> GiveUp()
flow = Flow(start=tests)


def main():
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], folder, dirs_exist_ok=True)
        for name, text in PROJECT.items() if len(sys.argv) == 1 else ():
            (Path(folder) / name).write_text(text)
        flow.run({"folder": folder, "round": 0})


if __name__ == "__main__":
    run(main)
