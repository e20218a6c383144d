"""Nodes and flows that the tests of graphs share."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, Node
from pocketflow.hooks import Hook

DEEP = 400  # nodes in a chain


@contextlib.contextmanager
def small_stack() -> Iterator[None]:
    """Who calls a function for each node of such a chain, inside of the one before, overflows this stack."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(DEEP - 100)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


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
