"""What tests of executors and dataflows share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pocketflow as pf
from pocketflow.hooks import Hook, Step
from pocketflow.stream import stream


def run(node: Any, **shared: Any) -> dict[str, Any]:
    """The store that a node leaves, which runs in a flow; what hangs fails after a minute."""
    asyncio.run(asyncio.wait_for(pf.AsyncFlow(node).run_async(shared), 60))
    return shared


async def events_of(node: Any, shared: Any = None) -> list[dict[str, Any]]:
    async with contextlib.aclosing(stream(node, {} if shared is None else shared)) as events:
        return [event async for event in events]


class Log(Hook):
    """Writes down the steps, and what they told, as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[Step] = []

    def on_start(self, step: Step) -> None:
        self.steps.append(step)
        self.lines.append(f"start {step.path}")

    def on_event(self, step: Step, event: dict[str, Any]) -> None:
        self.lines.append(f"event {step.path} {event['type']}")

    def on_end(self, step: Step, result: Any) -> None:
        self.lines.append(f"end {step.path} {result!r}")

    def on_error(self, step: Step, error: BaseException) -> None:
        self.lines.append(f"error {step.path} {error!r}")

    def paths(self) -> list[str]:
        return [step.path for step in self.steps]
