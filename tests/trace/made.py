"""Nodes made of functions, and a clock that stands still: what the tests of traces and progress are built of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pocketflow as pf


class Clock:
    """Seconds that pass when a node says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def passing(self, seconds: float) -> None:
        self.now += seconds


class Pause(BaseException):
    """Such as a journal raises to wait for a person."""


def named(name: str, base: type = pf.Node, **phases: Callable[..., Any]) -> type[Any]:
    """A class of nodes; each phase is written without `self`."""
    methods = {phase: lambda self, *args, work=work: work(*args) for phase, work in phases.items()}
    return type(name, (base,), methods)


def failing(error: BaseException) -> Callable[..., Any]:
    def work(*_: Any) -> Any:
        raise error

    return work
