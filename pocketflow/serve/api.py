"""The HTTP interface of runs: JSON, Server-Sent Events, and the page."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise ImportError("pocketflow.serve needs Starlette: pip install starlette uvicorn") from error

from pocketflow.journal import Journal
from pocketflow.serve.body import read_body
from pocketflow.serve.guard import HEADERS, Guard
from pocketflow.serve.problems import Busy, Problem
from pocketflow.serve.runs import LISTED, Runs
from pocketflow.serve.sse import END
from pocketflow.text import plain

LONGEST = 1_000_000  # bytes of a body, unless said otherwise
STOPPING = 1.0  # seconds that an answer waits for a run to stop
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    " frame-ancestors 'self'"
)


def app(
    flows: Mapping[str, Any],
    journal: Journal | str | Path | None = None,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = None,
    longest: int = LONGEST,
    **options: Any,
) -> Starlette:
    """The application, to be served, or mounted into another one.

    token: what every request must carry. None means no authentication: whoever reaches it under one of its names
        may do all there is to do.
    hosts: the names under which it may be called, without ports, beside those of the loopback; None means no
        others, or any with a token.
    longest: the largest body, in bytes.
    flows, journal, options: of `Runs`, which is `app.state.runs`. Its runs are stopped when the application
        ends: where it is mounted, the outer one has to pass its lifespan on (`studio.router.lifespan_context`).
    """
    guard, runs = Guard(token, hosts), Runs(journal, flows, **options)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if not runs.is_closing:  # else the server closes them, and waits for that
                await runs.close()

    api = _Api(runs, longest)
    application = Starlette(
        routes=[*api.routes(), *_page()],
        middleware=[Middleware(guard.around)],
        exception_handlers={Problem: _problem, HTTPException: _http, Exception: _failure},
        lifespan=lifespan,
    )
    application.state.runs = runs
    return application


class _Api:
    """One method for each request; a body is a JSON object, and so is each answer."""

    def __init__(self, runs: Runs, longest: int) -> None:
        self.runs, self.longest = runs, longest
        self.flows = [served.described() for served in runs.flows.values()]

    def routes(self) -> list[Route]:
        """Those of a run end with its id, or with what is asked of it: an id may hold slashes."""
        run = "/api/runs/{run_id:path}"
        return [
            Route("/api/flows", self.list_flows),
            Route("/api/flows/{slug}/runs", self.start, methods=["POST"]),
            Route("/api/flows/{slug}/stream", self.start_and_watch, methods=["POST"]),
            Route("/api/events", self.watch_all),
            Route("/api/runs", self.list_runs),
            Route(f"{run}/events", self.watch),
            Route(f"{run}/history", self.history),
            Route(f"{run}/store", self.store),
            Route(f"{run}/trace", self.trace),
            Route(f"{run}/answer", self.answer, methods=["POST"]),
            Route(f"{run}/resume", self.resume, methods=["POST"]),
            Route(f"{run}/stop", self.stop, methods=["POST"]),
            Route(f"{run}/fork", self.fork, methods=["POST"]),
            Route(run, self.get),
            Route(run, self.stop_or_delete, methods=["DELETE"]),
        ]

    async def list_flows(self, request: Request) -> Response:
        return _Json({"flows": self.flows})

    async def start(self, request: Request) -> Response:
        return _Json({"run_id": await self._start(request)}, 201)

    async def start_and_watch(self, request: Request) -> Response:
        """Who leaves before the end stops the run."""
        run_id = await self._start(request)

        async def stop() -> None:
            if self.runs.is_active(run_id):
                await self.runs.cancel(run_id)

        return _Events(self.runs.watch(run_id), stop, {"X-Run-Id": quote(run_id, safe="")})

    async def _start(self, request: Request) -> str:
        body = await read_body(request, self.longest, shared=dict, run_id=str, tags=dict)
        slug, shared = request.path_params["slug"], body.get("shared") or {}
        return await self.runs.start(slug, shared, body.get("run_id"), body.get("tags"))

    async def list_runs(self, request: Request) -> Response:
        limit = _number(request, "limit", LISTED)
        runs = await self.runs.list()
        return _Json({"runs": runs[:limit], "more": max(0, len(runs) - limit)})

    async def get(self, request: Request) -> Response:
        return _Json(await self.runs.get(_run_id(request)))

    async def watch(self, request: Request) -> Response:
        run_id, last = _run_id(request), request.headers.get("last-event-id")
        await self.runs.summary(run_id)  # so that an unknown one is told before a stream begins
        if last == END and not self.runs.is_active(run_id):
            return Response(status_code=204)  # or a browser would come back for ever
        return _Events(self.runs.watch(run_id, last))

    async def watch_all(self, request: Request) -> Response:
        return _Events(self.runs.watch_all(request.query_params.get("run")))

    async def history(self, request: Request) -> Response:
        after = _number(request, "after", -1)
        rows = (await self.runs.history(_run_id(request)))[after + 1 :]
        return await run_in_threadpool(_Json, {"rows": rows})

    async def store(self, request: Request) -> Response:
        store = await self.runs.store(_run_id(request), _number(request, "after", None))
        return await run_in_threadpool(_Json, store)

    async def trace(self, request: Request) -> Response:
        html = await self.runs.trace(_run_id(request))
        content = html.encode(errors="backslashreplace")  # names may hold what UTF-8 cannot write
        return Response(content, media_type="text/html", headers={"Content-Security-Policy": SANDBOX})

    async def answer(self, request: Request) -> Response:
        body = await read_body(request, self.longest, value=object, path=str, by=str)
        if "value" not in body:
            raise Problem('write the answer as {"value": ...}')
        await self.runs.answer(_run_id(request), body["value"], body.get("path"), body.get("by"))
        return await self._summary(request)

    async def resume(self, request: Request) -> Response:
        await read_body(request, self.longest)
        await self.runs.resume(_run_id(request))
        return await self._summary(request)

    async def stop(self, request: Request) -> Response:
        await read_body(request, self.longest)
        return await self._stop(request)

    async def fork(self, request: Request) -> Response:
        body = await read_body(request, self.longest, after=int | str)
        if body.get("after") is None:
            raise Problem('write the row of the history after which to go on, as {"after": 3}')
        return _Json({"run_id": await self.runs.fork(_run_id(request), body["after"])}, 201)

    async def stop_or_delete(self, request: Request) -> Response:
        run_id = _run_id(request)
        if self.runs.is_active(run_id):
            return await self._stop(request)
        await self.runs.delete(run_id)
        return _Json({"deleted": run_id})

    async def _stop(self, request: Request) -> Response:
        await self.runs.cancel(_run_id(request), STOPPING)
        return await self._summary(request)

    async def _summary(self, request: Request) -> Response:
        run = await self.runs.summary(_run_id(request))
        return _Json(run, 202 if run["status"] == "stopping" else 200)


class _Json(JSONResponse):
    """JSON in ASCII, as texts may hold what UTF-8 cannot write; what JSON lacks stands in it as its repr."""

    def render(self, content: Any) -> bytes:
        return json.dumps(plain(content), separators=(",", ":")).encode()


class _Events(StreamingResponse):
    """A stream of Server-Sent Events, which is closed with the connection.

    closed: called when nobody reads it any more, also where the connection was gone before the first event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        closed: Callable[[], Coroutine[Any, Any, None]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(_begun(events), headers={"X-Accel-Buffering": "no", **(headers or {})})
        self.closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            return await Response(headers=self.headers)(scope, receive, send)
        try:
            async with aclosing(self.body_iterator):  # type: ignore[type-var]  # the generator that it was given
                await super().__call__(scope, receive, send)
        finally:
            if self.closed:
                await self.closed()


async def _begun(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        yield b"retry: 1000\n\n"  # milliseconds until a browser comes back
        with suppress(Problem):  # a journal that cannot be read: the stream ends, and other requests are told why
            async for messages in events:
                yield messages


def _run_id(request: Request) -> str:
    return str(request.path_params["run_id"])


def _number(request: Request, name: str, default: Any) -> Any:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise Problem(f"{name}={text:.100}: write a whole number")
    return int(text)


def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    headers = {"Retry-After": str(problem.retry_after)} if isinstance(problem, Busy) else None
    return _Json({"error": str(problem)}, problem.status, headers)


def _http(request: Request, error: Exception) -> Response:
    """What the router refuses, and we where no `Problem` has the status."""
    assert isinstance(error, HTTPException)
    told = error.detail
    if error.status_code == 404:
        told = f"there is nothing at {request.url.path:.200}"
    if error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "").split(", ")
        told = f"{request.method} does nothing here: use {', '.join(sorted(methods))}"
    return _Json({"error": told}, error.status_code, error.headers)


def _failure(_: Request, error: Exception) -> Response:
    """It is sent from outside of the guard, which adds the headers elsewhere."""
    return _Json({"error": f"the server failed: {type(error).__name__}; its log says where"}, 500, HEADERS)


# The page


def _page() -> list[Route]:
    """A route for each file of the page, which is read once: nothing else of the file system can be reached."""
    files = [
        file
        for file in resources.files("pocketflow.serve").joinpath("page").iterdir()
        if Path(file.name).suffix in TYPES
    ]
    routes = [Route(f"/{file.name}", _served(file.read_bytes(), TYPES[Path(file.name).suffix])) for file in files]
    return [*routes, *(Route("/", route.endpoint) for route in routes if route.path == "/index.html")]


def _served(content: bytes, kind: str) -> Any:
    async def serve(request: Request) -> Response:
        return Response(content, media_type=kind)

    return serve
