"""Web recipes on real sockets: in a thread of this process or in a process of their own; and a model that is slow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from pocketflow.hooks import Hook, Step
from tests import loopback
from tests.cookbook.runner import ROOT, environment
from tests.model_server import chunk

BOUND = 30  # seconds that anything may take


@contextlib.contextmanager
def served(app: Any, hook: Hook | None = None) -> Iterator[int]:
    """The port of a uvicorn server in a thread; the hook sees all of its runs."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=BOUND))

    def serve() -> None:
        with hook or contextlib.nullcontext():
            server.run(sockets=[listening])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(2 * BOUND)
        listening.close()


class Watch(Hook):
    """Tells a test what happens in the runs of a server: `cancelled` gets the paths of nodes that were."""

    def __init__(self, chunks: int = 1) -> None:
        """`has_begun` is set at that many chunks."""
        self.chunks, self.has_begun, self.cancelled = chunks, threading.Event(), queue.Queue[str]()

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        self.chunks -= event["type"] == "chunk"
        if self.chunks <= 0:
            self.has_begun.set()

    def on_error(self, step: Step, error: BaseException) -> None:
        if step.kind == "node" and isinstance(error, asyncio.CancelledError):
            self.cancelled.put(step.path)


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """A port that no other program is given meanwhile, as it is bound, and not listened to."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Program:
    """A web recipe in a process of its own: on a port, in a folder; warnings are errors."""

    def __init__(self, recipe: str, port: int, folder: Path, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-m", f"cookbook.{recipe}", str(port)],
            cwd=folder, env={**environment(), "PYTHONPATH": str(ROOT), **settings},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output, self.words = "", queue.Queue[str]()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.words.put(line)

    def wait_for(self, text: str) -> str:
        """The line in which that text comes."""
        while text not in (line := self.words.get(timeout=BOUND)):
            self.output += line
        self.output += line
        return line

    def end(self, by: signal.Signals) -> int:
        """End it by that signal; its exit status. All that it has printed is in `output`."""
        self.process.send_signal(by)
        status = self.process.wait(BOUND)
        self.reader.join(BOUND)
        while not self.words.empty():
            self.output += self.words.get()
        return status


def get(port: int, path: str) -> HTTPResponse:
    return _request(port, "GET", path)


def post(port: int, path: str, body: Any) -> HTTPResponse:
    """The response to JSON, from which lines can be read as they come; closing it closes its connection."""
    return _request(port, "POST", path, json.dumps(body), {"Content-Type": "application/json"})


def _request(port: int, method: str, path: str, body: str | None = None, headers: Any = None) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    connection.request(method, path, body, {**(headers or {}), "Connection": "close"})
    return connection.getresponse()


class SlowModel(loopback.Server):
    """A model that says each word when it is put into `words`; None ends an answer.

    After `...` it waits until who asked has left, and sets `left`.
    """

    def __init__(self) -> None:
        super().__init__(_SlowHandler)
        self.words, self.requests, self.left = queue.Queue[Any](), queue.Queue[dict[str, Any]](), threading.Event()


class _SlowHandler(loopback.Handler):
    server: SlowModel
    timeout = BOUND

    def do_POST(self) -> None:
        self.server.requests.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for word in iter(self.server.words.get, None):
            if word is ...:
                self.rfile.read()  # nothing more comes, so this ends when the connection does
                self.server.left.set()
                return
            self.wfile.write(chunk(word).encode())
        self.wfile.write((chunk(None, "stop") + "data: [DONE]\n\n").encode())


@contextlib.contextmanager
def slow_model() -> Iterator[SlowModel]:
    with SlowModel() as server:
        try:
            yield server
        finally:
            server.words.put(None)
