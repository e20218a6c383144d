"""Serving runs with uvicorn until a signal ends it, in order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

try:
    import uvicorn
except ImportError as error:
    raise ImportError("pocketflow serve needs uvicorn: pip install starlette uvicorn") from error


def serve(
    app: Any, listener: socket.socket, *, started: Callable[[], None], stuck: Callable[[Sequence[str]], int]
) -> None:
    """Serve an application on a bound socket until SIGINT or SIGTERM, which are raised again at the end.

    started: called when it answers.
    stuck: called with the ids of runs that did not stop in time; the process ends at once with the status that it
        returns, as nothing can end the threads of such runs. All others have stopped in order.
    """
    grace = int(app.state.runs.grace) + 2  # more than the runs have
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=grace)
    _Server(config, started, stuck).run([listener])


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, tell_started: Callable[[], None], stuck: Callable[[Sequence[str]], int]
    ) -> None:
        super().__init__(config)
        self.tell_started, self.stuck = tell_started, stuck

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the runs, which ends the streams of their watchers: for open streams uvicorn waits."""
        runs = self.config.app.state.runs  # type: ignore[union-attr]  # it is ours
        closing = asyncio.create_task(runs.close())
        await super().shutdown(sockets)
        if left := await closing:
            os._exit(self.stuck(left))
