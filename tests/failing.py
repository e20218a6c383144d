"""A node that fails where it is told to."""

from __future__ import annotations

from typing import Any

import pocketflow as pf


class FailsIn(pf.AsyncNode):
    """Fails in one of its phases."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase = phase

    def step(self, phase: str) -> None:
        if phase == self.phase:
            raise LookupError(phase)

    async def prep_async(self, shared: Any) -> Any:
        self.step("prep")

    async def exec_async(self, prep_res: Any) -> Any:
        self.step("exec")

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        self.step("post")
