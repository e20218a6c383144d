"""Clients that are cheaper than the server: bare sockets, and a pattern in place of a parser."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from array import array
from collections import Counter
from typing import Any, NamedTuple

MESSAGE = re.compile(
    rb"(?:id: (\w+)-(\d+)\n)?(?:event: \w+\n)?data: "
    rb'(?:\{"type": "(\w+)"(?:, "chunk": "(\d+) ([\d.]+))?)?.*\n\n'
)
BUFFER = 4096  # bytes of a socket that nobody reads


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a server on this machine, each time on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close"
        writer.write(_request(method, path, head) + content)
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        return _answer(answer)

    async def start(self, shared: dict[str, Any]) -> str:
        answer = await self.ask("POST", "/api/flows/tick/runs", {"shared": shared})
        assert answer.status == 201, answer
        return str(answer.json["run_id"])

    async def watch(self, path: str, last: str = "end", *, is_slow: bool = False) -> Watcher:
        """last: the type of the event after which it leaves. is_slow: read nothing until `Watcher.read` is called."""
        raw = socket.socket()
        if is_slow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self.port))
        _, watcher = await loop.create_connection(lambda: Watcher(path, last, is_slow), sock=raw)
        return watcher


class Watcher(asyncio.Protocol):
    """Reads a stream of the events of `Tick`.

    sent, ages: of each text, when it was sent, and how old it was when it came, in seconds.
    types: how many events of other types came. faults: what was missing, or not in order.
    """

    def __init__(self, path: str, last: str, is_slow: bool) -> None:
        self.path, self.last, self.is_slow = path, last, is_slow
        self.rest = b""
        self.next_ids: dict[bytes, int] = {}  # the page's stream is made of two, of which each counts
        self.next_text, self.sent, self.ages = 0, array("d"), array("d")
        self.types = Counter[str]()
        self.faults: list[str] = []
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_request("GET", self.path, "Accept: text/event-stream"))
        if self.is_slow:
            transport.pause_reading()

    def read(self) -> None:
        """Begin to read what was not read so far, in larger pieces."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 250 * BUFFER)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.began.set()
        self.rest += data
        done = 0
        for message in MESSAGE.finditer(self.rest):
            self._note(now, *message.groups())
            done = message.end()
        self.rest = self.rest[done:]

    def _note(self, now: float, life: bytes | None, id: bytes, type: bytes | None, number: bytes, sent: bytes) -> None:
        if life is not None:
            if int(id) != self.next_ids.get(life, int(id)):
                self.faults.append(f"id {int(id)} in place of {self.next_ids[life]}")
            self.next_ids[life] = int(id) + 1
        if number is not None:
            if int(number) != self.next_text:
                self.faults.append(f"text {int(number)} in place of {self.next_text}")
            self.next_text = int(number) + 1
            self.sent.append(float(sent))
            self.ages.append(now - float(sent))
        elif type is not None:
            self._note_type(type.decode())

    def _note_type(self, type: str) -> None:
        self.types[type] += 1
        if type == self.last:
            self.ended.set()
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.is_set():
            self.faults.append(f"the stream broke off: {error}")
            self.ended.set()


def _request(method: str, path: str, head: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode()


def _answer(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)
