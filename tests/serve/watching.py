"""Reading what watchers get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

PATIENCE = 20  # seconds, after which a test has failed


def messages(text: bytes) -> list[dict[str, Any]]:
    """The Server-Sent Events in there; of each the data, with "sse_id" and "sse_name" where there are."""
    found = []
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            head = {f"sse_{key}": fields[name] for name, key in (("id", "id"), ("event", "name")) if name in fields}
            found.append({**json.loads(fields["data"]), **head})
    return found


async def each(stream: AsyncGenerator[bytes, None]) -> AsyncIterator[dict[str, Any]]:
    async for text in stream:
        for message in messages(text):
            yield message


async def watched(stream: AsyncGenerator[bytes, None]) -> list[dict[str, Any]]:
    """All messages until the stream ends."""
    async with asyncio.timeout(PATIENCE):
        return [message async for message in each(stream)]


async def until(stream: AsyncGenerator[bytes, None], wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The messages up to the first one that is wanted; the stream stays open, and the rest of its batch is lost."""
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        async for text in stream:
            for message in messages(text):
                seen.append(message)
                if wanted(message):
                    return seen
    raise AssertionError(f"the stream ended after {seen}")


def changes(message: dict[str, Any]) -> dict[str, Any]:
    """What an event has changed."""
    found = message.get("changes", {})
    assert isinstance(found, dict)
    return found


def of_type(type: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("type") == type


def ended(status: str) -> dict[str, Any]:
    """The last message of a stream."""
    return {"type": "end", "status": status, "sse_id": "end"}


def named(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("sse_name") == name
