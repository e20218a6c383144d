"""The guides of the cookbook are true to its folder."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, programs

COOKBOOK = ROOT / "cookbook"
SHARED = {"llm", "search", "terminal"}  # what the recipes share is no recipe
ROW = re.compile(r"^\| \[(\w+)\]\(\1\.py\) \| (.*) \| (\d+) \| .* \|$", re.MULTILINE)


def test_the_table_lists_every_recipe_with_what_it_teaches_and_its_lines():
    rows = {name: (what, int(lines)) for name, what, lines in ROW.findall((COOKBOOK / "README.md").read_text())}
    files = {file.stem: file.read_text() for file in COOKBOOK.glob("*.py") if file.stem not in SHARED}
    assert rows == {
        name: ((ast.get_docstring(ast.parse(code)) or "").splitlines()[0].rstrip("."), len(code.splitlines()))
        for name, code in files.items()
    }


def test_every_recipe_says_how_to_run_it():
    for file in COOKBOOK.glob("*.py"):
        if file.stem not in SHARED - {"search"}:
            assert f"python -m cookbook.{file.stem}" in file.read_text()


def test_the_program_of_the_guide_prints_what_stands_below_it(tmp_path: Path):
    [(code, output)] = programs("cookbook/AGENTS.md")
    program = tmp_path / "program.py"
    program.write_text(code)
    command = [sys.executable, "-W", "error", program]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == output


FRAMEWORKS = ["pocketflow", "langgraph", "burr", "hamilton", "pocketflow"]


@pytest.mark.parametrize(("framework", "number"), [(name, number) for number, name in enumerate(FRAMEWORKS)])
def test_every_program_of_the_page_on_moving_prints_the_same(framework: str, number: int, tmp_path: Path):
    pytest.importorskip(framework, reason="needs the bench extra: pip install -e '.[bench]'")
    blocks = programs("cookbook/MOVING.md")
    assert len(blocks) == len(FRAMEWORKS)
    program = tmp_path / "program.py"
    program.write_text(blocks[number][0])
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "HAMILTON_TELEMETRY_ENABLED": "false"}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "long: 4 words\n"), done.stderr


@pytest.mark.parametrize("file", sorted(COOKBOOK.glob("*.py")), ids=lambda file: file.stem)
def test_every_recipe_ends_through_the_one_place_that_knows_how(file: Path):
    """`terminal.run` turns the end of the input, Ctrl-C and a missing file into clean ends."""
    if file.stem not in SHARED:
        assert re.search(r'^if __name__ == "__main__":\n    run\(', file.read_text(), re.MULTILINE)
