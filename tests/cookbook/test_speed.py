"""The recipes about speed, limits and streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cookbook import article, streaming
from cookbook.backoff import backoff
from cookbook.rate_limit import RateLimit
from pocketflow import AsyncBatchNode, AsyncFlow, AsyncNode, BatchNode, Flow, Node
from pocketflow.stream import stream
from tests.cookbook.runner import NEEDS, ROOT, ask, environment, run, run_process
from tests.cookbook.serving import BOUND, slow_model
from tests.model_server import model_server
from tests.processes import started


@pytest.mark.usefixtures("at_once")
def test_parallel_batch_gives_the_answers_in_order_and_what_it_measured():
    *answers, measured = ask("parallel_batch", "sort a list", "parse JSON").splitlines()
    assert answers == ["sort a list: list.sort", "parse JSON: json.load"]
    assert re.fullmatch(r"2 answers in .* s, at once in .* s: \d+\.\d times as fast\.", measured)


def test_parallel_batch_flow_takes_each_file_along_its_own_edge(tmp_path: Path):
    code, prose = tmp_path / "a.py", tmp_path / "b.txt"
    code.write_text("x = 1\n\ny = 2\n")
    prose.write_text("to be or not to be")
    assert run("parallel_batch_flow", str(code), str(prose)) == "a.py: 2 lines of code\nb.txt: 6 words\n"


def test_fan_out_joins_its_three_branches(tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("to be or not\nto be longer\n")
    assert run("fan_out", str(text)) == "7 words, most often 'to'; the longest line has 12 characters.\n"
    assert "words" in run("fan_out")


@pytest.mark.usefixtures("at_once")
def test_streaming_prints_the_answer_to_its_end():
    answer = ask("streaming", "How do I shuffle a list?")
    assert answer == "Shuffle list x in place, and return None.\n"


def test_streaming_prints_what_a_model_says_to_its_end():
    pytest.importorskip("openai", reason=NEEDS)
    with model_server(lambda prompt: "Use random.shuffle.") as server:
        assert run("streaming", model=server.environment) == "Use random.shuffle. \n"


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


def test_streaming_stops_at_enter_while_the_model_is_silent_and_gives_its_request_up():
    pytest.importorskip("openai", reason=NEEDS)
    with terminal() as (ours, theirs), slow_model() as model:
        model.words.put("It ")
        model.words.put(...)
        settings = environment({"OPENAI_BASE_URL": model.url})
        options = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": settings}
        with started([sys.executable, "-m", "cookbook.streaming"], cwd=ROOT, **options) as process:
            assert process.stdout
            assert process.stdout.read(3) == "It "
            os.write(ours, b"\n")
            output, errors = process.communicate(timeout=60)
        assert model.left.wait(BOUND)
    assert (process.returncode, output, errors) == (0, "\n(stopped; nothing is left running)\n", "")


async def test_streaming_has_ended_its_request_once_its_stream_is_closed(monkeypatch: pytest.MonkeyPatch):
    ended = []

    async def stream_llm(prompt: str, *, offline: Any) -> AsyncIterator[str]:
        try:
            yield "It"
            yield "is"
        finally:
            await asyncio.sleep(0)
            ended.append(prompt)

    monkeypatch.setattr(streaming, "stream_llm", stream_llm)
    async with contextlib.aclosing(stream(streaming.flow, {"question": "Why?"})) as events:
        async for event in events:
            if event["type"] == "chunk":
                break
    assert len(ended) == 1


@pytest.mark.parametrize("recipe", [streaming, article])
async def test_a_recipe_that_streams_does_not_slow_a_model_down(recipe: Any, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason=NEEDS)
    monkeypatch.setattr(recipe, "PAUSE", 3600)
    shared = {"question": "Why?", "subject": "sets", "pages": ["A set is a set."], "paragraphs": {}}
    node = streaming.flow if recipe is streaming else article.writers[0]
    with model_server(lambda prompt: "to be") as model:
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        async with asyncio.timeout(BOUND):
            await node.run_async(shared)
    assert "to be" in (shared["answer"] if recipe is streaming else shared["paragraphs"]["Explain"])


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


class Busy(BatchNode):
    """Makes two calls, of which each takes five attempts."""

    def prep(self, shared: Any) -> Any:
        return [shared["call"]] * 2

    def exec(self, call: Any) -> None:
        call()
        if self.cur_retry < 4:
            raise ConnectionError


class AsyncBusy(AsyncBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return [shared["call"]] * 2

    async def exec_async(self, call: Any) -> None:
        call()
        if self.cur_retry < 4:
            raise ConnectionError


@pytest.mark.parametrize("node", [Busy, AsyncBusy])
@pytest.mark.parametrize("wait", [0, 0.25])
def test_a_rate_limit_gives_every_attempt_a_turn_of_its_own(node: Any, wait: float, monkeypatch: pytest.MonkeyPatch):
    now, calls = 100.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("asyncio.sleep", sleep_async)
    shared, busy = {"call": lambda: calls.append(now)}, node(max_retries=5, wait=wait)
    with RateLimit(60, clock=lambda: now):
        asyncio.run(busy.run_async(shared)) if node is AsyncBusy else busy.run(shared)
    assert calls == [100.0 + n for n in range(10)]


def test_rate_limit_tells_how_many_calls_there_were():
    assert re.fullmatch(r"20 calls at \d+ a minute, of 6000 that are allowed\.\n", run("rate_limit", "6000"))


def test_a_backoff_doubles_up_to_its_cap_and_takes_a_random_part_of_that():
    wait = backoff(base=1, cap=5, rng=lambda: 0.5)
    assert [wait(attempt, TimeoutError()) for attempt in range(5)] == [0.5, 1, 2, 2.5, 2.5]


@pytest.mark.parametrize(("headers", "seconds"), [({}, 1), ({"retry-after": "7"}, 8), ({"Retry-After": "soon"}, 1)])
def test_a_backoff_waits_at_least_as_long_as_the_service_says(headers: dict[str, str], seconds: float):
    assert backoff(rng=lambda: 1)(0, refusal(429, headers)) == seconds


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_backoff_retries_a_service_that_is_busy_or_broken(status: int):
    assert backoff(rng=lambda: 1)(0, refusal(status)) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_backoff_gives_up_on_a_call_that_is_wrong(status: int):
    assert backoff()(0, refusal(status)) is None
    assert backoff()(0, ValueError()) is None


def refusal(status: int, headers: dict[str, str] | None = None) -> Exception:
    """What the client of openai raises where the server answers that."""
    openai, httpx = pytest.importorskip("openai", reason=NEEDS), pytest.importorskip("httpx", reason=NEEDS)
    response = httpx.Response(status, headers=headers, request=httpx.Request("POST", "http://service"))
    return openai.APIStatusError("no", response=response, body=None)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["APIConnectionError", "APITimeoutError"])
def test_a_backoff_retries_where_a_client_of_openai_gets_no_answer(name: str):
    openai, httpx = pytest.importorskip("openai", reason=NEEDS), pytest.importorskip("httpx", reason=NEEDS)
    error = getattr(openai, name)(request=httpx.Request("POST", "http://service"))
    assert backoff(rng=lambda: 1)(0, error) == 1


@pytest.mark.parametrize("name", ["ConnectError", "ReadError", "ReadTimeout", "PoolTimeout"])
def test_a_backoff_retries_where_a_client_of_httpx_gets_no_answer(name: str):
    httpx = pytest.importorskip("httpx", reason=NEEDS)
    assert backoff(rng=lambda: 1)(0, getattr(httpx, name)("no")) == 1


def test_a_backoff_knows_the_status_of_an_error_of_httpx():
    httpx = pytest.importorskip("httpx", reason=NEEDS)
    request = httpx.Request("GET", "http://service")
    busy, gone = (httpx.HTTPStatusError("no", request=request, response=httpx.Response(n)) for n in (503, 404))
    assert (backoff(rng=lambda: 1)(0, busy), backoff()(0, gone)) == (1, None)


def test_backoff_brings_every_answer_home_without_jitter_and_with_it():
    line = r"{}: 20 answers after \d+ attempts, in \d+\.\d\d s\.\n"
    assert re.fullmatch(line.format("without jitter") + line.format("with jitter"), run("backoff"))


def test_web_service_keeps_its_limit_over_all_requests(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("fastapi", reason=NEEDS)
    now, most, three = 0, 0, asyncio.Barrier(3)

    async def call(prompt: str, *, offline: Any) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.wait_for(three.wait(), BOUND)
        now -= 1
        return offline()  # type: ignore[no-any-return]  # a text

    monkeypatch.setattr("cookbook.llm.call_llm_async", call)
    lines = run("web_service").splitlines()
    assert lines[2] == "How do I shuffle a list? Shuffle list x in place, and return None. [random.shuffle]"
    assert lines[-1] == "12 requests at once, 12 answered."
    assert most == 3


def test_web_service_answers_504_where_the_model_took_too_long(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("fastapi", reason=NEEDS)
    import httpx

    from cookbook import web_service

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(web_service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/answer", params={"question": "Why?"})

    async def call(prompt: str, *, offline: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(web_service, "call_llm_async", call)
    monkeypatch.setattr(web_service, "SECONDS", 0)
    monkeypatch.setattr(web_service.flow.start_node, "wait", 0)
    response = asyncio.run(post())
    assert (response.status_code, response.json()) == (504, {"detail": "the model took too long"})
