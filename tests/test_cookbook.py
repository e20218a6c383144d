"""Every recipe runs as a program, on a fresh machine, and prints what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_pipeline_reports_on_the_packages_that_are_named():
    lines = run("pipeline", "pytest", "pip").splitlines()
    assert lines[0] == "2 packages, the largest first:"
    assert {line.split()[-1] for line in lines[1:]} == {"pytest", "pip"}


def test_pipeline_reports_on_all_packages():
    lines = run("pipeline").splitlines()
    sizes = [int(line.split()[0]) for line in lines[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 5


def test_fan_out_joins_its_three_branches(tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not\nto be longer\n")
    assert run("fan_out", str(text)) == "7 words, most often 'to'; the longest line has 12 characters.\n"
    assert "words" in run("fan_out")


def test_cpu_batch_counts_the_same_primes_on_processes_and_prints_what_it_measured():
    first, second = run("cpu_batch", "20000").splitlines()
    assert first == "2262 primes below 20000."
    assert "times as fast" in second


def test_dask_batch_counts_them_on_a_cluster():
    pytest.importorskip("distributed", reason="needs the cookbook extra: pip install -e '.[cookbook]'")
    assert run("dask_batch", "20000").startswith("2262 primes below 20000, counted by 2 workers in")


def test_dask_batch_without_dask_says_what_to_install(tmp_path: Path):
    (tmp_path / "distributed.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "cookbook.dask_batch"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "needs Dask: pip install 'dask[distributed]'\n")
