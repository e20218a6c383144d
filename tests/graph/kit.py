"""Nodes and flows that the tests of graphs share."""

from __future__ import annotations

import asyncio
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, Node
from pocketflow.hooks import Hook

DEEP = 1200  # nodes in a chain: who called a function for each inside the one before would overflow the stack


def node(name: str, base: type = Node, **members: Any) -> Any:
    """An instance of a class of this name."""
    return type(name, (base,), members)()


def scripted(name: str, *actions: str, base: type = Node) -> Any:
    """A node that returns these actions at its visits, one after the other, and then None."""
    left = list(actions)

    def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return left.pop(0) if left else None

    async def post_async(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return left.pop(0) if left else None

    is_async = issubclass(base, AsyncNode)
    return node(name, base, **({"post_async": post_async} if is_async else {"post": post}))


class Paths(Hook):
    """Keeps the path of every step with the number of its node, `number`, and the actions that visits ended with."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Any]] = []
        self.actions: dict[str, Any] = {}

    def on_start(self, step: Any) -> None:
        self.steps.append((step.path, getattr(step.node, "number", None)))

    def on_end(self, step: Any, result: Any) -> None:
        if step.kind in ("node", "flow"):
            self.actions[step.path] = result


def watched(flow: Any) -> Paths:
    with Paths() as paths:
        if isinstance(flow, AsyncNode):
            asyncio.run(AsyncFlow(flow).run_async({}) if not isinstance(flow, AsyncFlow) else flow.run_async({}))
        else:
            flow.run({})
    return paths
