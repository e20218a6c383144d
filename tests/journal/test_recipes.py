"""The recipes on the journal: they die, wait and come back as they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal import server
from tests.test_cookbook import MODEL, NEEDS, OFFLINE, ROOT, ask, run


def test_durable_is_killed_twice_and_pays_for_nothing_twice():
    lines = run("durable").splitlines()
    assert lines[:2] == ["killed; starting again"] * 2
    assert lines[2].startswith("abs: ")
    assert lines[-1] == "19 calls paid, 1 at most for one name"


def approve(folder: Path, *arguments: str) -> tuple[str, str]:
    """What the recipe prints, to stdout and to stderr, when it runs in that folder."""
    environment = {name: value for name, value in os.environ.items() if name not in MODEL}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cookbook.approval", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def test_approval_goes_on_in_another_process_with_the_answer(tmp_path: Path):
    question = (
        "Send this?\n\n  We are sorry to read: 'My tea is cold'. You get your money back.{}\n\n"
        "Answer with: python -m cookbook.approval --answer yes\n"
    )
    assert approve(tmp_path, "My tea is cold.") == (f"(drafting)\n{question.format('')}", OFFLINE)
    assert approve(tmp_path) == (question.format(""), "")
    again = question.format(" P.S. be brief")
    assert approve(tmp_path, "--answer", "be", "brief") == (f"(drafting)\n{again}", OFFLINE)
    sent = "Sent: We are sorry to read: 'My tea is cold'. You get your money back. P.S. be brief\n"
    assert approve(tmp_path, "--answer", "yes") == (sent, "")
    assert list(tmp_path.iterdir()) == []


def test_fleet_goes_on_with_the_runs_of_a_killed_worker_and_pays_for_nothing_twice(request: pytest.FixtureRequest):
    pytest.importorskip("distributed", reason=NEEDS)
    where = [request.getfixturevalue("postgres").schema()] if server.programs() else []
    first, resumed, bill = run("fleet", *where).splitlines()
    assert first.startswith("The castle of Rome is worth a visit.")
    assert resumed.startswith("A worker was killed; another went on with: ")
    assert "Rome" in resumed
    assert bill == "24 calls paid, 1 at most for one sight."


def test_llm_cache_pays_for_a_prompt_once(tmp_path: Path):
    file = str(tmp_path / "cache.db")
    paid = "paid for: How do I sort a list?\npaid for: How do I shuffle a list?\n"
    answers = (
        "list.sort: Sort the list in ascending order and return None.\n"
        "random.Random.shuffle: Shuffle list x in place, and return None.\n"
        "list.sort: Sort the list in ascending order and return None.\n"
    )
    assert ask("llm_cache", file) == paid + answers
    assert run("llm_cache", file) == answers
