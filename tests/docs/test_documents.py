"""Every snippet runs: docstrings, and the programs of the README with the output it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import pocketflow
from tests.cookbook.runner import OFFLINE, ROOT, ask, environment
from tests.docs.blocks import BLOCK, printed, programs, untimed
from tests.processes import finished

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "tests/benchmarks/RESULTS.md").read_text()
MEASURED = re.compile(r"^\| (.+) \| ([\d.]+x) \| (.+) \|$", re.MULTILINE)
COMPANIONS = [
    name for _, name, _ in pkgutil.walk_packages(pocketflow.__path__, "pocketflow.") if "__main__" not in name
]


@pytest.mark.parametrize("name", ["pocketflow", *COMPANIONS])
def test_the_examples_of_the_docstrings_hold(name: str):
    try:
        module = importlib.import_module(name)
    except ImportError as missing:  # of what an extra brings
        pytest.skip(str(missing))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize(("code", "output"), programs("README.md"), ids=lambda value: None)
def test_a_program_of_the_readme_prints_what_stands_below_it(
    code: str, output: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if "otel" in code:
        pytest.importorskip("opentelemetry", reason="needs the otel extra: pip install -e '.[otel]'")
    monkeypatch.chdir(tmp_path)
    assert output is not None
    assert untimed(printed(code, tmp_path)) == untimed(output)


def test_the_commands_of_the_readme_print_what_stands_below_them(tmp_path: Path):
    blocks = BLOCK.findall(README)
    start = next(at for at, (_, code) in enumerate(blocks) if code.startswith("python -m pocketflow"))
    (_, commands), (_, output) = blocks[start : start + 2]
    settings = {**environment(), "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = finished(["bash", "-ec", commands], cwd=tmp_path, env=settings)
    assert (done.returncode, done.stdout) == (1, output), done.stderr  # the last of them finds mistakes


def test_the_first_command_of_the_readme_prints_what_stands_below_it():
    blocks = BLOCK.findall(README)
    (_, command), (kind, output) = blocks[:2]
    assert (command, kind) == ('python -m cookbook.agent "How do I cache the results of a function?"\n', "text")
    assert OFFLINE + ask("agent", "How do I cache the results of a function?") == output


def test_the_readme_has_at_most_three_hundred_lines_and_links_to_what_is_there():
    assert len(README.splitlines()) <= 300
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize(("what", "ratio", "baseline"), MEASURED.findall(README))
def test_a_ratio_of_the_readme_is_that_of_the_results(what: str, ratio: str, baseline: str):
    row = rf"^\| {re.escape(what)}(, SQLite)? \| {ratio} \| .* \| {re.escape(baseline)} \|"
    assert re.search(row, RESULTS, re.MULTILINE)


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_the_kills_of_the_readme_are_those_of_the_results(database: str):
    told = re.search(rf"([\d,]+)(?: kills)? on {database}", README)
    measured = re.search(rf"^{database}: (\d+) kills .* nothing that was finished ran again$", RESULTS, re.MULTILINE)
    assert told
    assert measured
    assert told[1].replace(",", "") == measured[1]
