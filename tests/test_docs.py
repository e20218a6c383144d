"""Every snippet runs: docstrings, and the programs of the README with the output it shows."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pocketflow as pf
from tests.test_cookbook import OFFLINE

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = sorted(path.stem for path in Path(pf.__file__).parent.glob("*.py") if path.stem != "__main__")


def programs(document: str) -> list[tuple[str, str | None]]:
    """The Python blocks of a document, each with the text block that follows it, if one does."""
    blocks = BLOCK.findall((ROOT / document).read_text())
    pairs = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [(code, text if kind == "text" else None) for (lang, code), (kind, text) in pairs if lang == "python"]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_docstrings_hold(module: str):
    name = "pocketflow" if module == "__init__" else f"pocketflow.{module}"
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize(("code", "output"), programs("README.md"), ids=lambda value: None)
def test_a_program_of_the_readme_runs_and_prints_what_stands_below_it(code: str, output: str | None, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr.removeprefix(OFFLINE)) == (0, "")
    if output is not None:
        assert done.stdout == output


def test_the_commands_of_the_readme_print_what_stands_below_them(tmp_path: Path):
    """A block that begins with `# NAME.py` is that file, and the commands after it are typed beside it."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    start = next(at for at, (_, code) in enumerate(blocks) if code.startswith("# greet.py\n"))
    (_, program), (_, commands), (_, output) = blocks[start : start + 3]
    (tmp_path / "greet.py").write_text(program)
    environment = {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


def test_the_readme_has_programs():
    assert len(programs("README.md")) >= 3
