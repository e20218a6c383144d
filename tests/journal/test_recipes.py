"""The recipes on the journal: they die, wait and come back as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cookbook.runner import NEEDS, OFFLINE, ROOT, call, environment, run_process
from tests.journal import server
from tests.model_server import Silence, model_server
from tests.processes import finished, started


def test_durable_is_killed_twice_and_pays_again_only_for_what_was_in_flight():
    """Of three calls at once the one that kills the process is not paid, so two kills lose four at most."""
    lines = run_process("durable").stdout.splitlines()
    assert lines[:2] == ["killed; starting again"] * 2
    assert lines[2].startswith("abs: ")
    bill = r"19 names explained; [0-4] call\(s\) in flight when the process died were paid again"
    assert re.fullmatch(bill, lines[-1])


def drafted(folder: Path, *arguments: str) -> tuple[str, str]:
    """What the recipe prints in a process of its own, to stdout and to stderr, when it runs in that folder."""
    command = [sys.executable, "-W", "error", "-m", "cookbook.human_in_the_loop", *arguments]
    done = finished(command, cwd=folder, env={**environment(), "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def approve(*arguments: str) -> tuple[str, str]:
    """The same of this process."""
    status, out, err = call("human_in_the_loop", *arguments)
    assert status == 0, err
    return out, err


def test_human_in_the_loop_goes_on_in_another_process_with_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    question = (
        'Send this?\n\n  We are sorry that you had to write "My tea is cold." Your money is on its way.{}\n\n'
        "Answer with: python -m cookbook.human_in_the_loop --answer yes\n"
    )
    assert drafted(tmp_path, "My tea is cold.") == (f"(drafting)\n{question.format('')}", OFFLINE)
    assert approve() == (question.format(""), "")
    again = question.format(" P.S. be brief")
    assert approve("--answer", "be", "brief") == (f"(drafting)\n{again}", OFFLINE)
    sent = 'Sent: We are sorry that you had to write "My tea is cold." Your money is on its way. P.S. be brief\n'
    assert approve("--answer", "yes") == (sent, "")
    assert list(tmp_path.iterdir()) == []


def test_human_in_the_loop_takes_no_answer_where_nothing_waits_and_no_request_where_something_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert call("human_in_the_loop", "--answer", "yes") == (2, "", "No run waits for an answer.\n")
    assert list(tmp_path.iterdir()) == []
    approve("My tea is cold.")
    assert call("human_in_the_loop", "My lamp is broken.") == (2, "", "A run has begun: go on without a request.\n")
    assert approve("--answer", "no") == ("Not sent.\n", "")
    assert list(tmp_path.iterdir()) == []


def test_human_in_the_loop_that_was_killed_before_it_could_ask_asks_and_takes_no_answer_before(tmp_path: Path):
    pytest.importorskip("openai", reason=NEEDS)
    command = [sys.executable, "-u", "-m", "cookbook.human_in_the_loop"]
    with model_server(lambda prompt: Silence()) as server:
        settings = {**environment(server.environment), "PYTHONPATH": str(ROOT)}
        with started(command, cwd=tmp_path, env=settings, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == "(drafting)\n"  # which the model never ends
            process.kill()
            process.wait(60)
    out, _ = drafted(tmp_path, "--answer", "yes")
    assert out.startswith("(drafting)\nSend this?")
    assert drafted(tmp_path, "--answer", "yes")[0].startswith("Sent: We are sorry")
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
