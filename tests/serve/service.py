"""Flows served over real HTTP: by a server on the loop of the test, or by a process of the command."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx
import uvicorn

from pocketflow.serve import app
from tests.serve.watching import PATIENCE

Json = dict[str, Any]


class Quick(uvicorn.Server):
    """Ends when it is told to, and not at its next look at the clock."""

    def __init__(self, application: Any) -> None:
        super().__init__(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=PATIENCE))
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        await self.ending.wait()


class Service:
    """What is served, and a client that asks it; `at` is its host with the port."""

    def __init__(self, at: str, client: httpx.AsyncClient) -> None:
        self.at, self.client = at, client

    async def get(self, path: str, **options: Any) -> Json:
        answer = await self.client.get(path, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def post(self, path: str, status: int = 200, **body: Any) -> Json:
        answer = await self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def start(self, flow: str, **shared: Any) -> str:
        """The id of a new run."""
        return str((await self.post(f"/api/flows/{flow}/runs", 201, shared=shared))["run_id"])

    async def stopped(self, run_id: str) -> Json:
        """How a run stands when it has stopped."""
        async with self.events(f"/api/runs/{run_id}/events") as events:
            async for _ in events:
                pass
        return await self.get(f"/api/runs/{run_id}")

    @contextlib.asynccontextmanager
    async def events(
        self, path: str, method: str = "GET", **options: Any
    ) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The messages of a stream, each by itself."""
        async with self.client.stream(method, path, **options) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            async with contextlib.aclosing(_blocks(answer)) as blocks:
                yield blocks


async def _blocks(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for part in answer.aiter_raw():
        *blocks, rest = (rest + part).split(b"\n\n")
        for block in blocks:
            yield block + b"\n\n"


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@contextlib.asynccontextmanager
async def serving(application: Any, **client: Any) -> AsyncIterator[Service]:
    """An application behind a real server, on this loop."""
    server, place = Quick(application), listener()
    host, port = place.getsockname()
    async with (
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=PATIENCE, trust_env=False, **client) as asking,
    ):
        tasks.create_task(server.serve([place]))
        try:
            yield Service(f"{host}:{port}", asking)
        finally:
            await asking.aclose()
            server.ending.set()


@contextlib.asynccontextmanager
async def served(flows: Mapping[str, Any], journal: Any = None, **options: Any) -> AsyncIterator[Service]:
    async with serving(app(flows, journal, **options)) as service:
        yield service
