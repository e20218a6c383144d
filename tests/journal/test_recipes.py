"""The recipes on the journal: they die, wait and come back as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cookbook.runner import OFFLINE, ROOT, environment, run_process
from tests.journal import server


def test_durable_is_killed_twice_and_pays_again_only_for_what_was_in_flight():
    """Of three calls at once the one that kills the process is not paid, so two kills lose four at most."""
    lines = run_process("durable").stdout.splitlines()
    assert lines[:2] == ["killed; starting again"] * 2
    assert lines[2].startswith("abs: ")
    bill = r"19 names explained; [0-4] call\(s\) in flight when the process died were paid again"
    assert re.fullmatch(bill, lines[-1])


def approve(folder: Path, *arguments: str) -> tuple[str, str]:
    """What the recipe prints, to stdout and to stderr, when it runs in that folder."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cookbook.human_in_the_loop", *arguments],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout, done.stderr


def test_human_in_the_loop_goes_on_in_another_process_with_the_answer(tmp_path: Path):
    question = (
        'Send this?\n\n  We are sorry that you had to write "My tea is cold." Your money is on its way.{}\n\n'
        "Answer with: python -m cookbook.human_in_the_loop --answer yes\n"
    )
    assert approve(tmp_path, "My tea is cold.") == (f"(drafting)\n{question.format('')}", OFFLINE)
    assert approve(tmp_path) == (question.format(""), "")
    again = question.format(" P.S. be brief")
    assert approve(tmp_path, "--answer", "be", "brief") == (f"(drafting)\n{again}", OFFLINE)
    sent = 'Sent: We are sorry that you had to write "My tea is cold." Your money is on its way. P.S. be brief\n'
    assert approve(tmp_path, "--answer", "yes") == (sent, "")
    assert list(tmp_path.iterdir()) == []


def test_fleet_goes_on_with_the_runs_of_a_killed_worker_and_pays_for_nothing_twice(request: pytest.FixtureRequest):
    pytest.importorskip("distributed", reason="needs the cluster extra: pip install -e '.[cluster]'")
    where = [request.getfixturevalue("postgres").schema()] if server.programs() else []
    done = run_process("fleet", *where)
    assert done.stderr == ""
    first, resumed, bill = done.stdout.splitlines()
    assert first.startswith("The castle of Rome is worth a visit.")
    assert resumed.startswith("A worker was killed; another went on with: ")
    assert "Rome" in resumed
    assert bill == "24 calls paid, 1 at most for one sight."
