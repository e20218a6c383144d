"""Flows served over real HTTP: by a server on the loop of the test, or by a process of the command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
pytest.importorskip("uvicorn", reason="needs the serve extra: pip install -e '.[serve]'")
pytest.importorskip("httpx", reason="needs httpx: pip install httpx")
import httpx
import uvicorn

from pocketflow.serve import Runs, app
from tests.cookbook.runner import ROOT
from tests.processes import started
from tests.serve.watching import PATIENCE, watched

Json = dict[str, Any]

JSON = {"Content-Type": "application/json"}


class Quick(uvicorn.Server):
    """Ends when it is told to, and not at its next look at the clock."""

    def __init__(self, application: Any, root_path: str) -> None:
        options: Any = {"log_config": None, "timeout_graceful_shutdown": PATIENCE, "root_path": root_path}
        super().__init__(uvicorn.Config(application, **options))
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        await self.ending.wait()


class Service:
    """What is served, and a client that asks it. address: host and port; runs: those of the application."""

    def __init__(self, address: tuple[str, int], client: httpx.AsyncClient, runs: Runs) -> None:
        self.address, self.client, self.runs = address, client, runs

    async def get(self, path: str, **options: Any) -> Json:
        answer = await self.client.get(path, **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def post(self, path: str, status: int = 200, /, **body: Any) -> Json:
        answer = await self.client.post(path, content=json.dumps(body), headers=JSON)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def start(self, flow: str, **shared: Any) -> str:
        """The id of a new run."""
        return str((await self.post(f"/api/flows/{flow}/runs", 201, shared=shared))["run_id"])

    async def ended(self, run_id: str) -> Json:
        """The last event of a run."""
        async with self.events(f"/api/runs/{run_id}/events") as events:
            return (await watched(events))[-1]

    async def stopped(self, run_id: str) -> Json:
        """How a run stands when it has stopped."""
        await self.ended(run_id)
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
async def serving(application: Any, runs: Any = None, root_path: str = "") -> AsyncIterator[Service]:
    """An application behind a real server, on this loop; all that is done with it is bounded."""
    server, place = Quick(application, root_path), listener()
    address = place.getsockname()
    asking = httpx.AsyncClient(base_url="http://{}:{}".format(*address), timeout=PATIENCE, trust_env=False)
    task = asyncio.create_task(server.serve([place]))
    try:
        async with asking, asyncio.timeout(PATIENCE):
            yield Service(address, asking, runs)
    finally:
        server.ending.set()
        await asyncio.wait_for(task, PATIENCE)


@contextlib.asynccontextmanager
async def served(flows: Mapping[str, Any], journal: Any = None, **options: Any) -> AsyncIterator[Service]:
    studio = app(flows, journal, **options)
    async with serving(studio, studio.state.runs) as service:
        yield service


# Without a client that knows what is right


@contextlib.asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, which is closed without a word at the end."""
    reader, writer = await asyncio.open_connection(*service.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def sent(writer: asyncio.StreamWriter, method: str, target: str, body: bytes = b"", **headers: str) -> None:
    """Send a request as it stands here, with `_` for `-` in the names of headers."""
    given = {"Host": "localhost", "Content-Length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


async def asked(reader: asyncio.StreamReader) -> bytes:
    """The status and the headers of what comes."""
    async with asyncio.timeout(PATIENCE):
        return await reader.readuntil(b"\r\n\r\n")


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONUTF8": "1"}


class Command:
    """A process of `python -m pocketflow serve`, and a client that asks it."""

    def __init__(self, process: subprocess.Popen[str], serving: str) -> None:
        self.process, self.serving = process, serving
        self.url = serving.split()[-1]
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    @property
    def port(self) -> str:
        return str(self.client.base_url.port)

    def get(self, path: str) -> Json:
        return dict(self.client.get(path).raise_for_status().json())

    def post(self, path: str, **body: Any) -> Json:
        return dict(self.client.post(path, json=body).raise_for_status().json())

    def start(self, flow: str, run_id: str) -> None:
        self.post(f"/api/flows/{flow}/runs", run_id=run_id)

    @contextlib.contextmanager
    def watching(self, path: str) -> Iterator[Iterator[Json]]:
        """The messages of a stream."""
        with self.client.stream("GET", path) as answer:
            yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))

    @contextlib.contextmanager
    def begun(self, flow: str, run_id: str, node: str) -> Iterator[Iterator[Json]]:
        """Start a run, and wait until it is at a node; the events that come then."""
        self.start(flow, run_id)
        with self.watching(f"/api/runs/{run_id}/events") as events:
            next(event for event in events if event["type"] == "node_start" and event["node"] == node)
            yield events

    def stopped(self, run_id: str) -> Json:
        """How a run stands when it has stopped."""
        with self.watching(f"/api/runs/{run_id}/events") as events:
            list(events)
        return self.get(f"/api/runs/{run_id}")

    def ended(self, by: signal.Signals) -> tuple[int, str]:
        """Send a signal; the status and what was told on stderr."""
        self.process.send_signal(by)
        _, told = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, told


@contextlib.contextmanager
def command(
    folder: Path, *words: str, program: Sequence[str] = ("-m", "pocketflow"), **variables: str
) -> Iterator[Command]:
    """The command in a folder, when it serves, on any port that is free; killed at the end if need be."""
    port = [] if "--port" in words else ["--port", "0"]
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment() | variables
    with started([sys.executable, *program, "serve", *words, *port], cwd=folder, env=env, **pipes) as process:
        assert process.stdout
        serving = process.stdout.readline().strip()
        assert serving, process.communicate()
        served = Command(process, serving)
        with served.client:
            yield served
