"""A real HTTP server on loopback that speaks the chat completions protocol, its faults included.

with model_server(reply) as server: `reply(prompt)` gives what the model says: a text, a dict of a
message's fields such as "tool_calls", or one of the faults below; `server.requests` holds the
bodies that came, and `server.environment` leads to it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests import loopback

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}  # of every answer


@dataclass
class Raw:
    """An answer given byte for byte; `broken` closes the connection with more announced than sent."""

    body: str
    status: int = 200
    content_type: str = "application/json"
    retry_after: str | None = None
    broken: bool = False


class Silence:
    """No answer until the server closes."""


class ModelServer(loopback.Server):
    def __init__(self, reply: Callable[[str], Any]) -> None:
        super().__init__(Handler)
        self.reply, self.requests, self.closing = reply, list[dict[str, Any]](), threading.Event()

    @property
    def environment(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_MODEL": "loopback"}


class Handler(loopback.Handler):
    server: ModelServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({**request, "path": self.path})
        answer = self.server.reply(request["messages"][-1]["content"])
        if isinstance(answer, Silence):
            self.server.closing.wait()
            return
        if isinstance(answer, str):
            streamed = request.get("stream")
            answer = Raw(stream(answer), content_type="text/event-stream") if streamed else {"content": answer}
        if isinstance(answer, dict):
            answer = Raw(whole(answer, USAGE))
        self.send(answer)

    def send(self, raw: Raw) -> None:
        body = raw.body.encode()
        self.send_response(raw.status)
        self.send_header("Content-Type", raw.content_type)
        self.send_header("Content-Length", str(len(body) + 100 * raw.broken))
        if raw.retry_after:
            self.send_header("Retry-After", raw.retry_after)
        self.end_headers()
        self.wfile.write(body)


def tool_call(number: int, name: str, arguments: str = "{}") -> dict[str, Any]:
    """One of the "tool_calls" of a message; `arguments` is a text, as a model may write what is no JSON."""
    return {"id": f"id{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def whole(fields: dict[str, Any], usage: dict[str, int] | None = None) -> str:
    message = {"role": "assistant", **fields}
    return completion("chat.completion", [{"index": 0, "message": message, "finish_reason": "stop"}], usage)


def stream(text: str, *, end: bool = True) -> str:
    """Server-sent events word by word, with comment lines, and a chunk at the end that only counts tokens."""
    pieces = [": a comment\n\n", *(chunk(word + " ") for word in text.split())]
    ending = [chunk(None, "stop"), data(completion("chat.completion.chunk", [], USAGE)), "data: [DONE]\n\n"]
    return "".join(pieces + ending * end)


def chunk(content: str | None, finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return data(completion("chat.completion.chunk", [choice]))


def data(text: str) -> str:
    return f"data: {text}\n\n"


def completion(kind: str, choices: list[Any], usage: dict[str, int] | None = None) -> str:
    facts = {"id": "1", "object": kind, "created": 0, "model": "loopback", "choices": choices}
    return json.dumps(facts | ({"usage": usage} if usage else {}))


@contextlib.contextmanager
def model_server(reply: Callable[[str], Any]) -> Iterator[ModelServer]:
    with ModelServer(reply) as server:
        try:
            yield server
        finally:
            server.closing.set()
