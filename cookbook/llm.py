"""How the recipes call a language model, and what answers where there is none.

    answer = call_llm(prompt, offline=lambda: rule(data))
    answer = await call_llm_async(prompt, offline=lambda: rule(data))
    async for piece in stream_llm(prompt, offline=lambda: rule(data)): ...
    data = ask_for_data(prompt, check, offline=lambda: rule(data))
    message = call_with_tools(messages, tools, offline=lambda: rule(data))

With OPENAI_API_KEY or OPENAI_BASE_URL set, the official `openai` package asks OPENAI_MODEL of
any compatible server (OpenAI, Ollama, vLLM). Without either, `offline()` answers by rule, from the
data that the prompt was made of. A prompt is a text, or a list of messages {"role": ..., "content": ...}.

Retries are left to the node: the client's own are off, and with `wait=retry_after` a node waits as
long as the server asks for. The tokens of a call are emitted as a "usage" event, which traces,
OpenTelemetry and streams understand.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from pocketflow.hooks import emit

Prompt = str | list[dict[str, Any]]
Offline = Callable[[], str]
T = TypeVar("T")

MODEL = "gpt-4o-mini"  # where OPENAI_MODEL does not say
TIMEOUT = 60.0  # seconds that the server may be silent
STREAM = {"stream": True, "stream_options": {"include_usage": True}}  # the tokens come in a chunk at the end


class ModelError(Exception):
    """The server replied, but with no answer in it."""


def call_llm(prompt: Prompt, *, offline: Offline, timeout: float = TIMEOUT) -> str:
    """The model's answer. `timeout` is how many seconds the server may be silent."""
    if not has_model():
        return _by_rule(offline)
    with _openai().OpenAI(**_settings(timeout)) as client:
        return _answer(client.chat.completions.create(**_request(prompt)))


async def call_llm_async(
    prompt: Prompt,
    *,
    offline: Offline,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # of the server's silence, which asyncio cannot see
) -> str:
    """`call_llm`, while the event loop is free for other work."""
    if not has_model():
        return _by_rule(offline)
    async with _openai().AsyncOpenAI(**_settings(timeout)) as client:
        return _answer(await client.chat.completions.create(**_request(prompt)))


async def stream_llm(
    prompt: Prompt,
    *,
    offline: Offline,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # of the server's silence, which asyncio cannot see
) -> AsyncIterator[str]:
    """The answer in pieces, as they come; an answer that breaks off is a `ModelError`."""
    if not has_model():
        for word in re.findall(r"\s*\S+\s*", _by_rule(offline)):
            yield word
        return
    finished = None
    async with (
        _openai().AsyncOpenAI(**_settings(timeout)) as client,
        await client.chat.completions.create(**_request(prompt), **STREAM) as chunks,
    ):
        async for chunk in chunks:
            _tell_usage(chunk)
            for choice in chunk.choices:  # none in a chunk that only counts tokens
                finished = choice.finish_reason or finished
                if choice.delta.content:
                    yield choice.delta.content
    if not finished:
        raise ModelError("the answer broke off: the server closed the stream before its end")


def retry_after(attempt: int, error: Exception) -> float | None:
    """For a node's `wait=`: the seconds the server asks for, else 1, 2, 4...; None where asking again is pointless."""
    if isinstance(error, ValueError):  # an answer of the wrong form: ask again at once
        return 0
    status = getattr(error, "status_code", None)
    if status is not None and status < 500 and status not in (408, 409, 429):
        return None
    told = getattr(getattr(error, "response", None), "headers", {}).get("retry-after", "")
    return float(told) if re.fullmatch(r"\d+(\.\d+)?", told) else 2.0**attempt


def ask_for_data(prompt: str, check: Callable[[Any], T], *, offline: Callable[[], Any]) -> T:
    """`check(data)` of the JSON or YAML in the model's answer, for the `exec` of a node with retries.

    `check` returns the data to use, or raises ValueError, KeyError or TypeError with what is wrong.
    The node's next attempt then sends the same prompt with that complaint added. `offline()` returns
    the data itself.
    """
    return _checked(prompt, call_llm(_with_complaint(prompt), offline=lambda: json.dumps(offline())), check)


async def ask_for_data_async(prompt: str, check: Callable[[Any], T], *, offline: Callable[[], Any]) -> T:
    """`ask_for_data`, while the event loop is free for other work."""
    answer = await call_llm_async(_with_complaint(prompt), offline=lambda: json.dumps(offline()))
    return _checked(prompt, answer, check)


def call_with_tools(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    *,
    offline: Callable[[], dict[str, Any]],
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """The model's next message: {"role": "assistant", "content": ...}, with "tool_calls" where it wants some.

    tools: as the protocol has them, {"type": "function", "function": {"name", "description", "parameters"}}.
    The message is made to be appended to `messages`, followed by one {"role": "tool", "tool_call_id": ...,
    "content": ...} for each of its calls. `offline()` returns such a message, which `asking_for` makes.
    """
    if not has_model():
        return _by_rule(offline)
    with _openai().OpenAI(**_settings(timeout)) as client:
        return _message(client.chat.completions.create(**_request(messages), tools=tools))


async def call_with_tools_async(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    *,
    offline: Callable[[], dict[str, Any]],
    timeout: float = TIMEOUT,  # noqa: ASYNC109  # of the server's silence, which asyncio cannot see
) -> dict[str, Any]:
    """`call_with_tools`, while the event loop is free for other work."""
    if not has_model():
        return _by_rule(offline)
    async with _openai().AsyncOpenAI(**_settings(timeout)) as client:
        return _message(await client.chat.completions.create(**_request(messages), tools=tools))


def asking_for(calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The message of a model that asks for tools: of each the name and the arguments."""
    functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls]
    asked = [{"id": f"call_{n}", "type": "function", "function": function} for n, function in enumerate(functions)]
    return {"role": "assistant", "content": None, "tool_calls": asked}


def read_data(text: str) -> Any:
    """The JSON, or where PyYAML is installed the YAML, of an answer, fenced with ``` or not."""
    fenced = re.search(r"```\w*\n(.*?)```", text, re.DOTALL)
    body = fenced[1] if fenced else text
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        return _read_yaml(body, error)


def has_model() -> bool:
    """Whether the environment names a model server."""
    return bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


# The (prompt, complaint) of the attempt before: in a ContextVar, so that each task of a parallel batch has its own
_complaint: ContextVar[tuple[str, str]] = ContextVar("complaint", default=("", ""))


def _with_complaint(prompt: str) -> str:
    asked, complaint = _complaint.get()
    return prompt + complaint if asked == prompt else prompt


def _checked(prompt: str, text: str, check: Callable[[Any], T]) -> T:
    try:
        data = check(read_data(text))
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        complaint = f"\n\nYour last answer was wrong ({reason}):\n{text}\n\nAnswer again, and fix that."
        _complaint.set((prompt, complaint))
        raise ValueError(f"the model's answer is wrong: {reason}") from error
    _complaint.set(("", ""))
    return data


def _by_rule(offline: Callable[[], T]) -> T:
    _say_once("offline: rules answer in place of a model; set OPENAI_API_KEY or OPENAI_BASE_URL for one")
    return offline()


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def _openai() -> Any:
    try:
        import openai
    except ImportError:
        print("a model needs the openai package: pip install openai", file=sys.stderr)
        raise SystemExit(2) from None
    return openai


def _settings(timeout: float) -> dict[str, Any]:
    key = os.environ.get("OPENAI_API_KEY") or "none"  # a server of one's own asks for none
    return {"api_key": key, "base_url": os.environ.get("OPENAI_BASE_URL") or None, "timeout": timeout, "max_retries": 0}


def _request(prompt: Prompt) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {"model": os.environ.get("OPENAI_MODEL") or MODEL, "messages": messages}


def _answer(completion: Any) -> str:
    _tell_usage(completion)
    try:
        content = completion.choices[0].message.content
    except (AttributeError, IndexError, TypeError):
        raise ModelError(f"no chat completion: {str(completion)[:200]}") from None
    return content or ""


def _message(completion: Any) -> dict[str, Any]:
    _answer(completion)  # raises where there is no message
    return cast("dict[str, Any]", completion.choices[0].message.model_dump(exclude_none=True))


def _tell_usage(completion: Any) -> None:
    """Emit the tokens of a call, if the server tells them."""
    usage = getattr(completion, "usage", None)
    if usage:
        tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
        emit({"type": "usage", "model": completion.model, **tokens})


def _read_yaml(body: str, error: ValueError) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError(f"not JSON ({error}); to read YAML: pip install pyyaml") from error
    try:
        data = yaml.safe_load(body)
    except yaml.YAMLError as fault:
        raise ValueError(f"neither JSON nor YAML: {fault}") from fault
    if not isinstance(data, (dict, list)):
        raise ValueError(f"neither JSON nor YAML with a structure: {body[:80]!r}")
    return data
