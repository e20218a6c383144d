"""Runs recipes: in this process, as `python -m cookbook.NAME` runs them, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

from cookbook import llm
from tests.processes import finished

ROOT = Path(__file__).parents[2]
NEEDS = "needs the cookbook extra: pip install -e '.[cookbook]'"
MODEL = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")
OFFLINE = "offline: rules answer in place of a model; set OPENAI_API_KEY or OPENAI_BASE_URL for one\n"


def environment(model: dict[str, str] | None = None) -> dict[str, str]:
    """That of this process, with this model or none."""
    ours = {name: value for name, value in os.environ.items() if name not in MODEL}
    return {**ours, **(model or {})}


def call(recipe: str, *arguments: str, stdin: str = "", model: dict[str, str] | None = None) -> tuple[int, str, str]:
    """The exit status of a recipe, and what it prints to stdout and stderr."""
    return call_file(ROOT / "cookbook" / f"{recipe}.py", *arguments, stdin=stdin, model=model)


def call_file(
    file: Path, *arguments: str, stdin: str = "", model: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """`call`, of any program."""
    llm._say_once.cache_clear()
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [str(file), *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        mock.patch.dict(os.environ, environment(model), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(file), run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return status, out.getvalue(), err.getvalue()


def run(recipe: str, *arguments: str, stdin: str = "", stderr: str = "", model: dict[str, str] | None = None) -> str:
    """What a recipe prints that ends well; anything else on stderr fails the test, as warnings do."""
    status, out, err = call(recipe, *arguments, stdin=stdin, model=model)
    assert (status, err) == (0, stderr)
    return out


def ask(recipe: str, *arguments: str, stdin: str = "") -> str:
    """`run`, where the rules answer in place of a model."""
    return run(recipe, *arguments, stdin=stdin, stderr=OFFLINE)


def run_process(recipe: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The recipe in a process of its own, in which warnings are errors; `settings` are of its environment."""
    command = [sys.executable, "-W", "error", "-m", f"cookbook.{recipe}", *arguments]
    return finished(command, cwd=ROOT, env={**environment(), "PYTHONIOENCODING": "utf-8", **settings})
