"""What type checkers say of a program that names its parameters as it likes."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.new
ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "typing" / "api.py"


def check(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.stdout.strip()


@pytest.mark.skipif(not find_spec("mypy"), reason="mypy is in the extra lint")
def test_mypy_strict_has_nothing_to_say():
    assert check("mypy", "--strict", str(PROGRAM)).startswith("Success: no issues found")


@pytest.mark.skipif(not find_spec("pyright"), reason="pyright is in the extra lint")
def test_pyright_as_it_comes_has_nothing_to_say():
    assert check("pyright", "--pythonpath", sys.executable, str(PROGRAM)).endswith(
        "0 errors, 0 warnings, 0 informations"
    )
