"""The server that is measured: a process of its own, with a flow that streams at a given pace.

    python -m tests.benchmarks.load.server '{"limit": 8, "keep": 20000}'     (options of `pocketflow.serve.app`)

It prints its port.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from pocketflow import AsyncFlow, AsyncNode

UNREAD = 64_000  # bytes that the kernel holds for who does not read, in place of megabytes: the rest is the server's


class Tick(AsyncNode):
    """Streams `count` texts, `rate` a second from `begin` on: a number, when it is sent, and `size` more characters.

    Times are those of `time.monotonic`, which is the same for all processes of a machine.
    """

    async def prep_async(self, shared: dict[str, Any]) -> dict[str, Any]:
        return shared

    async def exec_async(self, asked: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        padding = "." * asked["size"]
        for number in range(asked["count"]):
            await asyncio.sleep(asked["begin"] + number / asked["rate"] - time.monotonic())
            yield {"type": "chunk", "chunk": f"{number} {time.monotonic():.6f} {padding}\n"}  # no list of all is kept


flow = AsyncFlow(start=Tick())


def main(options: dict[str, Any]) -> None:
    from pocketflow.serve import app
    from pocketflow.serve.server import serve

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
        print(listener.getsockname()[1], flush=True)
        serve(app({"tick": flow}, **options), listener, stuck=print)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
