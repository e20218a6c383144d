"""One body, run by the sync classes, by the async ones and by the parallel ones, with and without a hook."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import Any

import pocketflow as pf

PHASES = ("prep", "exec", "exec_fallback", "post")


def as_async(phase: Any) -> Any:
    async def twin(self: Any, *args: Any) -> Any:
        return phase(self, *args)

    return twin


class SyncKit:
    """`kit.Node` and its kin, and `kit.run(node, shared)`."""

    name = "sync"
    Node, BatchNode, Flow, BatchFlow = pf.Node, pf.BatchNode, pf.Flow, pf.BatchFlow
    hooks: tuple[Any, ...] = ()

    def run(self, node: Any, shared: Any = None) -> Any:
        with contextlib.ExitStack() as entered:
            for hook in self.hooks:
                entered.enter_context(hook)
            action = node.run({} if shared is None else shared)
            return asyncio.run(action) if inspect.iscoroutine(action) else action


def renamed(base: type) -> type:
    """A class whose subclasses may write the phases without `_async`."""

    class Renamed(base):  # type: ignore[misc,valid-type]  # the base is chosen at run time
        def __init_subclass__(cls) -> None:
            super().__init_subclass__()
            for phase in PHASES:
                if phase in cls.__dict__:
                    setattr(cls, f"{phase}_async", as_async(cls.__dict__[phase]))
                    delattr(cls, phase)

        def run(self, shared: Any) -> Any:
            return self.run_async(shared)

    Renamed.__name__ = base.__name__
    return Renamed


class AsyncKit(SyncKit):
    name = "async"
    Node, BatchNode = renamed(pf.AsyncNode), renamed(pf.AsyncBatchNode)
    Flow, BatchFlow = renamed(pf.AsyncFlow), renamed(pf.AsyncBatchFlow)


class ParallelKit(AsyncKit):
    name = "parallel"
    BatchNode, BatchFlow = renamed(pf.AsyncParallelBatchNode), renamed(pf.AsyncParallelBatchFlow)


def hooked(kit: type[SyncKit]) -> list[type[SyncKit]]:
    """The same kit with a hook that sees everything and changes nothing; none under PocketFlow 0.0.3."""
    try:
        from pocketflow.hooks import Hook
    except ImportError:
        return []
    return [type(f"Hooked{kit.__name__}", (kit,), {"name": f"{kit.name}-hooked", "hooks": (Hook(),)})]


KITS = [kit for plain in (SyncKit, AsyncKit, ParallelKit) for kit in (plain, *hooked(plain))]
