"""The guides of the cookbook are true to its folder."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tests.cookbook.runner import ROOT
from tests.docs.blocks import printed, programs
from tests.processes import finished

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


@pytest.mark.parametrize(("code", "output"), programs("cookbook/AGENTS.md"), ids=lambda value: None)
def test_a_program_of_the_guide_for_assistants_prints_what_stands_below_it(
    code: str, output: str | None, tmp_path: Path
):
    assert printed(code, tmp_path) == (output or "")


FRAMEWORKS = ["pocketflow", "asyncio", "pydantic_ai", "pydantic_graph", "langgraph", "burr", "hamilton", "pocketflow"]


@pytest.mark.parametrize(("number", "framework"), list(enumerate(FRAMEWORKS)), ids=str)
def test_every_program_of_the_page_on_moving_prints_the_same(number: int, framework: str, tmp_path: Path):
    if importlib.util.find_spec(framework) is None:
        pytest.skip("needs the bench extra: pip install -e '.[bench]'")
    blocks = programs("cookbook/MOVING.md")
    assert len(blocks) == len(FRAMEWORKS)
    run = printed if framework in ("pocketflow", "asyncio") else printed_by_a_framework
    assert run(blocks[number][0], tmp_path) == "long: 4 words\n"


def printed_by_a_framework(code: str, folder: Path) -> str:
    """In a process of its own, as some of them set up logging, telemetry and warnings on import."""
    program = folder / "program.py"
    program.write_text(code)
    settings = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "HAMILTON_TELEMETRY_ENABLED": "false"}
    done = finished([sys.executable, program], env=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("file", sorted(COOKBOOK.glob("*.py")), ids=lambda file: file.stem)
def test_every_recipe_ends_through_the_one_place_that_knows_how(file: Path):
    """`terminal.run` turns the end of the input, Ctrl-C and a missing file into clean ends."""
    if file.stem not in SHARED:
        assert re.search(r'^if __name__ == "__main__":\n    run\(', file.read_text(), re.MULTILINE)
