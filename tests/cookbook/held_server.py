"""An MCP server in the hand of a test: `python -m tests.cookbook.held_server PORT`, and the test's end of it.

Each process of it connects to PORT, so the test meets it there, knows when it is in a call, decides
how that ends, and sees the connection close when the process is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys

SECONDS = 60  # that a test waits at most


class Held:
    """The process that connects next."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(SECONDS)
        self.connection, _ = listener.accept()
        self.connection.settimeout(SECONDS)
        self.lines = self.connection.makefile("r")
        facts = json.loads(self.lines.readline())
        self.pid: int = facts["pid"]
        self.environment: list[str] = facts["environment"]

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.connection.close()

    def wait_for_call(self) -> None:
        assert self.lines.readline() == "in a call\n"

    def answer(self, text: str) -> None:
        self.connection.sendall(text.encode())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait_for_end(self) -> None:
        assert self.lines.readline() == ""


def main() -> None:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("held", log_level="WARNING")
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.sendall(f"{json.dumps({'pid': os.getpid(), 'environment': sorted(os.environ)})}\n".encode())
    connection.setblocking(False)

    @server.tool()
    async def hold() -> str:
        """Wait for the test to answer."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, b"in a call\n")
        return (await loop.sock_recv(connection, 100)).decode()

    @server.tool()
    def fail(sheets: int) -> str:
        """Fail as tools do."""
        raise ToolError(f"out of paper: {sheets} sheets wanted")

    with connection:
        server.run()


if __name__ == "__main__":
    main()
