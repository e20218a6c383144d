"""Every recipe runs as a program, on a fresh machine, and prints what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(recipe: str, *arguments: str, stdin: str = "") -> str:
    """What `python -m cookbook.RECIPE ARGUMENTS` prints; a warning or anything on stderr fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"cookbook.{recipe}", *arguments],
        cwd=ROOT, input=stdin, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_hello_counts_the_words_of_a_file(tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\nto do\n")
    assert run("hello", str(text)) == "   3 to\n   2 be\n   1 or\n"


def test_hello_says_so_where_there_are_no_words(tmp_path: Path):
    empty = tmp_path / "empty.txt"
    empty.write_text("1 2 3\n")
    assert run("hello", str(empty)) == f"{empty} holds no words.\n"


def test_hello_reads_itself_by_default():
    assert run("hello").splitlines()[0].split() != []


def test_recipe_finder_suggests_a_recipe():
    assert run("recipe_finder") == (
        "Starting async recipe flow...\n"
        "🌐 Fetching recipes for 'chicken'... (simulating 2 sec delay)\n"
        "✅ Recipes for 'chicken' fetched!\n"
        "Stored recipes for chicken.\n"
        "💡 Suggestion: Pizza\n"
        "\n"
        "Async recipe flow finished.\n"
    )


def test_recipe_finder_takes_the_other_edge_for_what_it_does_not_know():
    assert "Nothing is known about gravel; try one of: chicken, lentils" in run("recipe_finder", "gravel")
