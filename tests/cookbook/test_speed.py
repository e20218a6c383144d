"""The recipes about speed, limits and streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cookbook.backoff import backoff
from cookbook.rate_limit import RateLimit
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from tests.cookbook.runner import NEEDS, ROOT, ask, environment, run, run_process
from tests.processes import started


@pytest.mark.usefixtures("at_once")
def test_parallel_batch_gives_the_answers_in_order_and_what_it_measured():
    *answers, measured = ask("parallel_batch", "sort a list", "parse JSON").splitlines()
    assert answers == ["sort a list: list.sort", "parse JSON: json.load"]
    assert re.fullmatch(r"2 answers in .* s, at once in .* s: \d+\.\d times as fast\.", measured)


@pytest.mark.usefixtures("at_once")
def test_parallel_batch_flow_takes_each_file_along_its_own_edge(tmp_path: Path):
    code, prose = tmp_path / "a.py", tmp_path / "b.txt"
    code.write_text("x = 1\n\ny = 2\n")
    prose.write_text("to be or not to be")
    lines = run("parallel_batch_flow", str(code), str(prose)).splitlines()
    assert lines[:2] == ["a.py: 2 lines of code", "b.txt: 6 words"]


def test_fan_out_joins_its_three_branches(tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not\nto be longer\n")
    assert run("fan_out", str(text)) == "7 words, most often 'to'; the longest line has 12 characters.\n"
    assert "words" in run("fan_out")


@pytest.mark.usefixtures("at_once")
def test_streaming_prints_the_answer_to_its_end():
    answer = ask("streaming", "How do I shuffle a list?")
    assert answer == "Shuffle list x in place, and return None.\n"


def test_cpu_batch_counts_the_same_primes_on_processes_and_prints_what_it_measured():
    first, second = printed("cpu_batch", "20000").splitlines()
    assert first == "2262 primes below 20000."
    assert "times as fast" in second


def test_dask_batch_counts_them_on_a_cluster():
    pytest.importorskip("distributed", reason="needs the cluster extra: pip install -e '.[cluster]'")
    assert printed("dask_batch", "20000").startswith("2262 primes below 20000, counted by 2 workers in")


def printed(recipe: str, *arguments: str) -> str:
    """What a recipe prints that starts processes, in a process of its own."""
    done = run_process(recipe, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: ours and that of a program."""
    ends = pty.openpty()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def test_streaming_stops_at_enter_on_a_terminal_and_leaves_nothing_running():
    with terminal() as (ours, theirs):
        command = [sys.executable, "-W", "error", "-m", "cookbook.streaming", "object attribute lookup special methods"]
        options = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": environment()}
        with started(command, cwd=ROOT, **options) as process:
            assert process.stdout
            process.stdout.read(1)
            os.write(ours, b"\n")
            output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.endswith("\n(stopped; nothing is left running)\n")


def test_a_rate_limit_gives_out_turns_at_even_distances():
    now = 100.0
    limit = RateLimit(60, clock=lambda: now)
    assert [limit.take_turn() for _ in range(3)] == [0, 1, 2]
    now += 13
    assert [limit.take_turn(), limit.take_turn()] == [0, 1]


@pytest.mark.parametrize("flow", [Flow(Node()), AsyncFlow(AsyncNode())], ids=["sync", "async"])
def test_a_rate_limit_waits_where_the_exec_waits(flow: Any, monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("asyncio.sleep", sleep)
    with RateLimit(60, clock=lambda: 100.0):
        for _ in range(3):
            asyncio.run(flow.run_async({})) if isinstance(flow, AsyncFlow) else flow.run({})
    assert slept == [0, 1, 2]


def test_rate_limit_tells_how_many_calls_there_were():
    assert re.fullmatch(r"20 calls at \d+ a minute, of 6000 that are allowed\.\n", run("rate_limit", "6000"))


def test_a_backoff_doubles_up_to_its_most_and_takes_a_share_of_that():
    wait = backoff(first=1, most=5, share=lambda: 0.5)
    assert [wait(attempt, TimeoutError()) for attempt in range(5)] == [0.5, 1, 2, 2.5, 2.5]


def test_a_backoff_gives_up_on_what_another_attempt_cannot_mend():
    assert backoff()(0, ValueError()) is None


def test_backoff_brings_every_answer_home():
    assert re.match(r"20 answers after \d+ attempts, spread over \d+\.\d\d seconds\.\n", run("backoff"))


def test_web_service_keeps_its_limit_over_all_requests():
    pytest.importorskip("fastapi", reason=NEEDS)
    lines = ask("web_service").splitlines()
    assert lines[2] == "How do I shuffle a list? Shuffle list x in place, and return None. [random.shuffle]"
    assert lines[-1] == "12 requests at once, at most 3 calls at once."


def test_web_service_answers_504_where_the_model_took_too_long(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("fastapi", reason=NEEDS)
    import httpx

    from cookbook import web_service

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(web_service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/answer", params={"question": "Why?"})

    monkeypatch.setattr(web_service, "SECONDS", 0)
    monkeypatch.setattr(web_service.flow.start_node, "wait", 0)
    response = asyncio.run(post())
    assert (response.status_code, response.json()) == (504, {"detail": "the model took too long"})
