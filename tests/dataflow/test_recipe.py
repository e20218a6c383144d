"""The recipe of a pipeline prints what it says, and its modules are importable and found once."""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from cookbook import pipeline
from pocketflow.modules import functions_of, module_of_file


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    pipeline.main()
    return capsys.readouterr().out.splitlines()


def test_it_reports_on_the_packages_that_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    first, *lines = printed(monkeypatch, capsys, "pytest", "pip")
    assert first == "2 packages, the largest first:"
    assert {line.split()[-1] for line in lines} == {"pytest", "pip"}


def test_it_reports_on_the_five_largest_of_all_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first, *lines = printed(monkeypatch, capsys)
    sizes = [int(line.split()[0]) for line in lines]
    installed = {found.metadata["Name"] for found in distributions()}
    assert first == f"{len(installed)} packages, the largest first:"
    assert (len(sizes), sizes) == (5, sorted(sizes, reverse=True))


def test_it_is_made_of_the_functions_of_its_two_modules():
    folder = Path(pipeline.__file__).parent / "pipelines"
    modules = [module_of_file(folder / name) for name in ("packages.py", "report.py")]
    assert list(pipeline.pipeline.tasks) == [name for module in modules for name in functions_of(module)]
