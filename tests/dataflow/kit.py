"""What tests of executors and dataflows share."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import pocketflow as pf


def run(node: Any, **shared: Any) -> dict[str, Any]:
    """The store that a node leaves, which runs in a flow; what hangs fails after a minute."""
    asyncio.run(asyncio.wait_for(pf.AsyncFlow(node).run_async(shared), 60))
    return shared


async def failing(run: asyncio.Task[Any], failed: asyncio.Event, released: threading.Event) -> None:
    """Wait until a run fails of which threads have to be released, some time after its first failure."""
    await asyncio.wait_for(failed.wait(), 30)
    for _ in range(10):
        await asyncio.sleep(0)
    released.set()
    with pytest.raises(KeyError):
        await run
