"""Serving runs with uvicorn until a signal ends it, in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

try:
    import uvicorn
except ImportError as error:
    raise ImportError("pocketflow serve needs uvicorn: pip install starlette uvicorn") from error


def serve(app: Any, listener: socket.socket, stuck: Callable[[Sequence[str]], None]) -> int:
    """Serve an application on a bound socket until SIGINT or SIGTERM, and return its status: that of shells.

    stuck: called with the ids of runs that did not stop in time; the process ends at once then, with the same
        status, as nothing can end the threads of such runs. All others have stopped in order.
    """
    server = Server(app, stuck)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signals again at its end
        server.run([listener])
    return server.status


class Server(uvicorn.Server):
    """Stops the runs first when it ends."""

    def __init__(self, app: Any, stuck: Callable[[Sequence[str]], None]) -> None:
        self.runs, self.tell_stuck = app.state.runs, stuck
        self.status = 128 + signal.SIGINT
        grace = int(self.runs.grace) + 2  # more than the runs have
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=grace))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.status = 128 + sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the runs, which ends the streams of their watchers: for open streams uvicorn waits."""
        closing = asyncio.create_task(self.runs.close())
        await super().shutdown(sockets)
        if left := await closing:
            self.tell_stuck(left)
            os._exit(self.status)
