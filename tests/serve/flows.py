"""Flows that tests of serve run: they wait for the test, never for the clock."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelFlow, Flow, Node
from pocketflow.hooks import emit
from pocketflow.journal import pause


class Gate:
    """What a node waits at: `reached` when it is there, `open` to let it go on."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self.open.wait()


class Stopped(AsyncNode):
    """Waits for ever, and tells when it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.stopped = asyncio.Event(), asyncio.Event()

    async def exec_async(self, prep_res: Any) -> Any:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


class Words(AsyncNode):
    """Streams words, and waits at the gate before the last."""

    def __init__(self, text: str = "to be or not", gate: Gate | None = None, name: str = "Words") -> None:
        super().__init__()
        self.text, self.gate, self.name = text, gate, name

    async def exec_async(self, prep_res: Any) -> Any:
        *first, last = self.text.split()
        for word in first:
            yield f"{word} "
        if self.gate:
            await self.gate.passed()
        yield last

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[self.name] = self.text


class Count(AsyncNode):
    """Counts its visits outside of the store, so that a test sees what ran again."""

    def __init__(self, counted: list[str] | None = None, name: str = "Count") -> None:
        super().__init__()
        self.counted, self.name = [] if counted is None else counted, name

    async def exec_async(self, prep_res: Any) -> Any:
        self.counted.append(self.name)
        return f"{self.name} {len(self.counted)}"

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["count"] = exec_res


class Ask(AsyncNode):
    def __init__(self, choices: list[Any] | None = None, name: str = "Ask") -> None:
        super().__init__()
        self.choices, self.name = choices, name

    async def exec_async(self, prep_res: Any) -> Any:
        return pause(f"{self.name}?", choices=self.choices)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared[self.name] = exec_res


class Fail(AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        raise LookupError("nothing there")


class Usage(AsyncNode):
    async def exec_async(self, prep_res: Any) -> Any:
        await emit({"type": "usage", "input_tokens": 10, "output_tokens": 2})


class Hold(Node):
    """A sync step that nobody can interrupt, until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.open = threading.Event(), threading.Event()

    def exec(self, prep_res: Any) -> Any:
        self.reached.set()
        assert self.open.wait(20)

    def __copy__(self) -> Hold:
        return self


def chain(*nodes: Any) -> AsyncFlow:
    for node, following in pairwise(nodes):
        node >> following
    return AsyncFlow(start=nodes[0])


def branches(*nodes: Any) -> AsyncFlow:
    return AsyncFlow(start=AsyncParallelFlow([*nodes]))


def sync(*nodes: Any) -> Flow:
    for node, following in pairwise(nodes):
        node >> following
    return Flow(start=nodes[0])
