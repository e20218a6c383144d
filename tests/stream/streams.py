"""What several tests of streams use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pocketflow as pf
from pocketflow.stream import stream


class Tokens(pf.AsyncNode):
    """Yields the words of a text, then what it was."""

    name = "tokens"

    def __init__(self, text: str = "to be or") -> None:
        super().__init__()
        self.text = text

    async def exec_async(self, prep_res: Any) -> AsyncIterator[Any]:
        for word in self.text.split():
            yield word
        yield {"type": "done", "text": self.text}


async def events_of(flow: Any, shared: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
    """All events of a run, or a TimeoutError where it hangs."""
    async with asyncio.timeout(30), aclosing(stream(flow, {} if shared is None else shared, **kwargs)) as events:
        return [event async for event in events]


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def alone() -> bool:
    """Whether nothing is left but the test itself."""
    return asyncio.all_tasks() == {asyncio.current_task()}
