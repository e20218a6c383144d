"""Who may come in: by the host they name, the page they come from, and a token."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocketflow.serve.sign_in import sign_in_page, token_in

LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, a browser would not say that the form of the token is from here
    "Cache-Control": "no-store",
}


class Guard:
    """Lets requests through to an app, each answer with headers that keep a browser from doing more than it has to.

    token: asked for as `Authorization: Bearer TOKEN`, or in a form, after which a cookie stands for it; None
        means no authentication.
    hosts: the names under which the app may be called, without ports, beside those of the loopback; others could
        be those of an attacker's page, whose name was made to mean this machine. None means no others, or any
        where a token is asked for.

    Raises: `ValueError` for a token that no header can carry, or that is empty.
    """

    def __init__(self, token: str | None, hosts: Iterable[str] | None) -> None:
        if token is not None and not (token.isascii() and token.isprintable() and token.split() == [token]):
            raise ValueError("the token has to be ASCII without spaces, and not empty")
        if isinstance(hosts, str):
            raise TypeError(f"hosts={hosts!r}: write hosts=[{hosts!r}]")
        self.token = token
        self.hosts = None if hosts is None and token else frozenset([*LOOPBACK, *map(str.lower, hosts or ())])
        key = hmac.new((token or "").encode(), b"pocketflow", hashlib.sha256).hexdigest()
        self.cookie, self.key = f"pocketflow-{key[:8]}", key[8:]

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app behind the guard."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            request = Request(scope, receive)
            response = self._refuse_place(request) or await self._ask_for_token(request)
            await (response or app)(scope, receive, _with_headers(send))

        return guarded

    def _refuse_place(self, request: Request) -> Response | None:
        """Refuse a host that is not ours, and what the page of another one asks for.

        Ports do not count, as proxies leave them out. The page of another port can neither read an answer nor send
        JSON, as nothing here tells a browser that it may.
        """
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        name = _name(host)
        if not name or (self.hosts is not None and name not in self.hosts):
            return _refused(403, f"the host {host!r:.100} is not served: add it to hosts, or set a token")
        if origin is not None and _name(origin.partition("://")[2]) not in {name, *(self.hosts or ())}:
            return _refused(403, f"a page of {origin!r:.100} may not ask this server: open the page of the server")
        return None

    async def _ask_for_token(self, request: Request) -> Response | None:
        if self.token is None:
            return None
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        is_page = path in ("", "/")
        if is_page and request.method == "POST":
            return self._sign_in(request, await token_in(request))
        if self._is_known(request):
            return None
        if is_page and request.method == "GET":
            return sign_in_page(POLICY, is_wrong=False)
        return _refused(401, "a token is asked for: send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    def _sign_in(self, request: Request, given: str) -> Response:
        if not _same(given, self.token or ""):
            return sign_in_page(POLICY, is_wrong=True)
        response = RedirectResponse("./", 303)
        # Without a path it is for the folder that the browser sees, which a proxy may call as it likes.
        flags: Any = {"path": None, "secure": request.scope["scheme"] == "https", "httponly": True}
        response.set_cookie(self.cookie, self.key, samesite="strict", **flags)
        return response

    def _is_known(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self.token or ""):
            return True
        return _same(request.cookies.get(self.cookie, ""), self.key)


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


def _refused(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, headers)


def _name(netloc: str) -> str:
    """The name of a host, without its port."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _same(given: str, wanted: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), wanted.encode())
