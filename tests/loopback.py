"""HTTP servers of tests, on any port of loopback that is free."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LONGEST = 30  # seconds that it may take to end


class Server(ThreadingHTTPServer):
    """Serves in a thread of its own, inside `with`."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join(LONGEST)
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""
