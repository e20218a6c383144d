"""Server-Sent Events, made once and kept a while for any number of watchers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from typing import Any

from pocketflow.text import plain

END = "end"  # the id of the last message of a run
HEARTBEAT = b": \n\n"  # a comment, which keeps proxies from closing a silent stream
TICK = 0.02  # seconds in which messages gather, to go out together
PIECE = 50_000  # bytes that go out at a time: what a watcher does not read waits in the memory of the server


def sse(data: dict[str, Any], name: str = "", id: str = "") -> bytes:
    """One message; what JSON lacks stands in it as its repr."""
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {_json(data)}\n\n".encode()


def end(status: str) -> bytes:
    """The last message of a run that has stopped with a status."""
    return sse({"type": "end", "status": status}, id=END)


def _json(data: dict[str, Any]) -> str:
    try:
        return json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_safe(value)}" for key, value in data.items()) + "}"


def _safe(value: Any) -> str:
    try:
        return json.dumps(plain(value))
    except RecursionError:
        return '"(nested too deeply)"'


GAP = sse({"type": "gap", "advice": "events are missing here: ask for the state of the run, and go on from it"})


class Bell:
    """Wakes all who wait for it, some seconds after it was rung, so that what happens meanwhile goes out together."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waiting = set[asyncio.Future[Bell]]()
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self.wake)

    def wake(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(self)


async def woken_by(*bells: Bell) -> Bell:
    """Wait for several bells; the one that was the first."""
    waiter: asyncio.Future[Bell] = asyncio.get_running_loop().create_future()
    for bell in bells:
        bell.waiting.add(waiter)
    try:
        return await waiter
    finally:
        for bell in bells:
            bell.waiting.discard(waiter)


class Buffer:
    """The last messages of a stream, with ids LIFE-N, where N counts from 0 and each buffer has a LIFE of its own.

    A watcher has no queue, it is the number of the message that it wants next: a slow one costs nothing.

    keep: bytes; the oldest messages go when there are more. bell: wakes when there are new ones.
    """

    def __init__(self, keep: int) -> None:
        self.bell, self.keep, self.life = Bell(TICK), keep, secrets.token_hex(4)
        self.first = self.size = 0
        self.messages: deque[bytes] = deque()
        self._wanted, self._piece = (0, 0), (0, b"")  # what the last watcher got, as the others want the same

    @property
    def end(self) -> int:
        """The number of the next message."""
        return self.first + len(self.messages)

    @property
    def last_id(self) -> str | None:
        return f"{self.life}-{self.end - 1}" if self.end else None

    def add(self, data: dict[str, Any], name: str = "") -> None:
        message = sse(data, name, f"{self.life}-{self.end}")
        self.messages.append(message)
        self.size += len(message)
        while self.size > self.keep and len(self.messages) > 1:
            self.size -= len(self.messages.popleft())
            self.first += 1
        self.bell.ring()

    def clear(self) -> None:
        """Keep none of the messages so far."""
        self.first, self.size = self.end, 0
        self.messages.clear()

    def past(self, most: int) -> bytes:
        """The last messages as one, named "past": their data as "events", and as "left_out" how many were before."""
        kept = [*self.messages][-most:]
        events = b", ".join(message.partition(b"data: ")[2].rstrip() for message in kept)
        return b'event: past\ndata: {"left_out": %d, "events": [%b]}\n\n' % (self.end - len(kept), events)

    def since(self, number: int) -> tuple[int, bytes]:
        """The messages from a number on, as many as go out at a time, and the number of the one after them.

        They have to be kept still.
        """
        if self._wanted != (number, self.end):
            self._wanted, self._piece = (number, self.end), self._join(number)
        return self._piece

    def _join(self, number: int) -> tuple[int, bytes]:
        piece = bytearray()
        while number < self.end and len(piece) < PIECE:
            piece += self.messages[number - self.end]  # from the end, where most watchers are
            number += 1
        return number, bytes(piece)

    def number_after(self, id: str | None) -> int | None:
        """The number of the message after the one with this id, or of the first; None if it cannot be had any more."""
        if id is None:
            return None if self.first else 0
        life, _, number = id.rpartition("-")
        if life != self.life or not number.isdecimal() or len(number) > 15:
            return None
        following = int(number) + 1
        return following if self.first <= following <= self.end else None
