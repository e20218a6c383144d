"""Calls of a model, against a real server on loopback, and what stands in for one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cookbook import llm
from cookbook.llm import (
    ModelError,
    ask_for_data,
    ask_for_data_async,
    call_llm,
    call_llm_async,
    read_data,
    retry_after,
    stream_llm,
)
from pocketflow import AsyncNode, AsyncParallelBatchNode, Node
from pocketflow.trace import Trace, Usage
from tests.model_server import ModelServer, Raw, Silence, chunk, data, model_server, stream, whole

SSE = "text/event-stream"


def never() -> Any:
    raise AssertionError("the rule was asked though there is a model")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelServer]]:
    """serve(*replies): a server that gives these one after the other, the last again and again."""
    pytest.importorskip("openai", reason="needs the cookbook extra: pip install -e '.[cookbook]'")
    with contextlib.ExitStack() as stack:

        def start(*replies: Any) -> ModelServer:
            waiting = list(replies)
            server = stack.enter_context(model_server(lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]))
            monkeypatch.delenv("OPENAI_API_KEY", raising=False)
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            return server

        yield start


async def collect(prompt: str, pieces: list[str]) -> list[str]:
    async for piece in stream_llm(prompt, offline=never):
        pieces.append(piece)
    return pieces


def test_a_call_sends_the_prompt_to_the_model_of_the_environment(serve):
    server = serve("fine")
    assert call_llm("How are you?", offline=never) == "fine"
    assert server.requests == [
        {"model": "loopback", "messages": [{"role": "user", "content": "How are you?"}], "path": "/v1/chat/completions"}
    ]


async def test_an_async_call_sends_messages_as_they_are(serve):
    server, messages = serve("fine"), [{"role": "system", "content": "Be brief."}]
    assert await call_llm_async(messages, offline=never) == "fine"
    assert server.requests[0]["messages"] == messages


async def test_a_stream_passes_over_comments_and_chunks_without_choices(serve):
    serve("to be or")
    assert await collect("Hamlet", []) == ["to ", "be ", "or "]


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (Raw(stream("to be", end=False) + data('{"error": {"message": "too busy"}}'), content_type=SSE), "too busy"),
        (Raw(stream("to be", end=False), content_type=SSE), "broke off"),
        (Raw(stream("to be", end=False), content_type=SSE, broken=True), "Connection error|peer closed"),
        (Raw(chunk("to ") + chunk("be ") + data('{"choices": [{'), content_type=SSE), "Expecting"),
    ],
    ids=["error object", "early end", "dropped connection", "malformed JSON"],
)
async def test_a_stream_that_fails_midway_gives_what_came_and_then_an_error(serve, ending, message):
    serve(ending)
    came: list[str] = []
    with pytest.raises(Exception, match=message):
        await collect("Hamlet", came)
    assert came == ["to ", "be "]


class Ask(Node):
    timeout = 60.0

    def exec(self, prep_res):
        return call_llm("Hello", offline=never, timeout=self.timeout)

    def post(self, shared, prep_res, answer):
        shared["answer"] = answer


def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("pocketflow.time.sleep", slept.append)
    return slept


def test_a_node_waits_as_long_as_the_server_asks_for(serve, monkeypatch):
    server = serve(Raw('{"error": {"message": "slow down"}}', 429, retry_after="7"), "fine")
    shared, slept = {}, waits(monkeypatch)
    Ask(max_retries=2, wait=retry_after).run(shared)
    assert (shared, slept, len(server.requests)) == ({"answer": "fine"}, [7.0], 2)


def test_the_client_itself_never_tries_again(serve):
    server = serve(Raw('{"error": {"message": "out of order"}}', 500))
    with pytest.raises(Exception, match="out of order"):
        call_llm("Hello", offline=never)
    assert len(server.requests) == 1


def test_a_request_that_is_wrong_is_not_tried_again(serve):
    server = serve(Raw('{"error": {"message": "no such model"}}', 404))
    with pytest.raises(Exception, match="no such model"):
        Ask(max_retries=5, wait=retry_after).run({})
    assert len(server.requests) == 1


def test_a_silent_server_is_cut_off_by_the_timeout(serve):
    serve(Silence())
    with pytest.raises(Exception, match="timed out"):
        call_llm("Hello", offline=never, timeout=0.2)


@pytest.mark.parametrize("body", ['{"choices": [{', "{}", '{"choices": []}', '"text"'])
def test_an_answer_that_is_none_is_an_error_and_tried_again(serve, monkeypatch, body):
    serve(Raw(body), "fine")
    shared = {}
    waits(monkeypatch)
    Ask(max_retries=2, wait=retry_after).run(shared)
    assert shared == {"answer": "fine"}


def test_an_answer_without_choices_is_a_model_error(serve):
    serve(Raw("{}"))
    with pytest.raises(ModelError, match="no chat completion"):
        call_llm("Hello", offline=never)


def usage_of(trace: Trace) -> list[Usage]:
    return [usage for span in trace.spans for usage in span.usage]


def test_a_call_tells_what_it_took(serve):
    serve("fine")
    with Trace() as trace:
        Ask().run({})
    assert usage_of(trace) == [("loopback", 12, 3)]


async def test_an_async_call_and_a_stream_tell_what_they_took(serve):
    class Both(AsyncNode):
        async def exec_async(self, prep_res):
            await call_llm_async("Hello", offline=never)
            await collect("Hamlet", [])

    server = serve("to be")
    with Trace() as trace:
        await Both().run_async({})
    assert usage_of(trace) == [("loopback", 12, 3)] * 2
    assert server.requests[1]["stream_options"] == {"include_usage": True}


def test_a_server_that_does_not_count_tells_nothing(serve):
    serve(Raw(whole({"content": "fine"})))
    with Trace() as trace:
        Ask().run({})
    assert usage_of(trace) == []


def positive(number: Any) -> int:
    if number["n"] < 1:
        raise ValueError("n must be positive")
    return number["n"]


class AskForNumbers(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return ["one", "two"]

    async def exec_async(self, prompt):
        return await ask_for_data_async(prompt, positive, offline=never)

    async def post_async(self, shared, prompts, numbers):
        shared["numbers"] = numbers


def shy(prompt: str) -> str:
    """Right only when told what was wrong, and only with its own prompt."""
    own = prompt.startswith("one")
    assert ("two" if own else "one") not in prompt
    return f'```json\n{{"n": {(1 if own else 2) if "n must be positive" in prompt else 0}}}\n```'


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    llm._say_once.cache_clear()


async def test_each_item_is_asked_again_with_its_own_complaint(monkeypatch):
    pytest.importorskip("openai", reason="needs the cookbook extra: pip install -e '.[cookbook]'")
    shared = {}
    with model_server(shy) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        await AskForNumbers(max_retries=2, wait=retry_after).run_async(shared)
    assert shared == {"numbers": [1, 2]}
    assert len(server.requests) == 4


def test_without_a_model_the_rule_gives_the_data_that_is_checked(no_model):
    assert ask_for_data("one", positive, offline=lambda: {"n": 1}) == 1
    with pytest.raises(ValueError, match="the model's answer is wrong: ValueError: n must be positive"):
        ask_for_data("one", positive, offline=lambda: {"n": 0})


def test_data_may_be_json_or_yaml_in_fences_or_not():
    pytest.importorskip("yaml", reason="needs the cookbook extra: pip install -e '.[cookbook]'")
    assert read_data('Here:\n```json\n{"a": [1]}\n```') == read_data("a:\n  - 1") == {"a": [1]}
    with pytest.raises(ValueError, match="neither JSON nor YAML"):
        read_data("I cannot say.")


async def test_without_a_model_the_rule_answers_and_that_is_said_once(no_model, capsys):
    assert call_llm("a", offline=lambda: "A") == await call_llm_async("a", offline=lambda: "A") == "A"
    assert [piece async for piece in stream_llm("a", offline=lambda: "A B\nC")] == ["A ", "B\n", "C"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_without_the_package_is_one_line_and_exit_2(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(SystemExit, match="2"):
        call_llm("Hello", offline=never)
    assert capsys.readouterr().err == "a model needs the openai package: pip install openai\n"
