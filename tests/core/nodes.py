"""Nodes that several tests of the core use."""

from __future__ import annotations

import asyncio
from typing import Any

import pocketflow as pf


class Say(pf.Node):
    """Appends its word to `shared["said"]`, and returns its action."""

    def __init__(self, word: str = "said", action: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.word, self.action = word, action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.setdefault("said", []).append(self.word)
        return self.action


def said(flow: Any) -> list[str]:
    """Who spoke in a run of `flow`, in order."""
    shared: dict[str, Any] = {"said": []}
    flow.run(shared)
    return shared["said"]


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def soon(awaitable: Any) -> Any:
    """Its result, or a TimeoutError where it hangs, as it may under PocketFlow 0.0.3."""
    return await asyncio.wait_for(awaitable, 30 if hasattr(pf, "FlowWarning") else 1)
