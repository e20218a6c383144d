"""What a request says: a JSON object, bounded in size and depth, of keys that mean something."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from pocketflow.serve.problems import Problem
from pocketflow.serve.state import Json

DEEPEST = 100  # lists and objects inside one another, so that all that is told of it later can be written
KINDS = {dict: "an object", str: "a text", int | str: "a number or a text"}  # in words


async def read_body(request: Request, longest: int, **kinds: Any) -> Json:
    """The values of the body, which may have these keys, each null or of its kind; an empty body has none.

    longest: bytes. The type of the body is asked for always: no page of another site can send it unless the server
    says that it may.

    Raises: `Problem` for what makes no sense, `HTTPException` for what is too long, or not JSON by its type.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send Content-Type: application/json")
    body = _parsed(await _read(request, longest) or b"{}")
    if not isinstance(body, dict):
        raise Problem('the body has to be a JSON object, such as {"shared": {}}')
    for key, value in body.items():
        if key not in kinds:
            known = f"the keys are {', '.join(kinds)}" if kinds else "the body has to be {}"
            raise Problem(f"unknown key {key!r:.100}: {known}")
        if value is not None and not _is_of(value, kinds[key]):
            raise Problem(f"{key!r} is {value!r:.100}: write {KINDS[kinds[key]]}")
    return body


async def _read(request: Request, longest: int) -> bytes:
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > longest:
                raise HTTPException(413, f"the body is longer than {longest:,} bytes: send less")
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was there") from None
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        if not _is_deeper(value, DEEPEST):
            return value
    except RecursionError:
        pass
    except ValueError as error:
        raise Problem(f"the body is not JSON: {error}") from None
    raise Problem(f"the body is nested too deeply: {DEEPEST} levels are allowed")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text:.100} is not a finite number")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _no_number(text)


def _is_deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not levels or any(_is_deeper(it, levels - 1) for it in inside if isinstance(it, dict | list))


def _is_of(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is object or not isinstance(value, bool))  # which is an int in Python
