"""The page that asks for the token, which it sends in a body: addresses are written to logs."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

LONGEST = 10_000  # bytes of a form
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 100dvh; margin: 0;
  background: light-dark(#f6f7f9, #12151b); color: light-dark(#1b2130, #e6e9ef); }
form { display: grid; gap: 12px; box-sizing: border-box; width: min(360px, 100vw - 24px); padding: 22px;
  border: 1px solid light-dark(#e1e5eb, #2b313c); border-radius: 14px; background: light-dark(#fff, #191d25); }
h1, p { margin: 0; font-size: inherit; }
p { color: light-dark(#c62828, #f3716d); }
label { display: grid; gap: 4px; }
input, button { min-height: 38px; padding: 4px 12px; border: 1px solid light-dark(#5b6475, #98a2b3);
  border-radius: 8px; background: none; color: inherit; font: inherit; }
button { border: 0; background: light-dark(#2563eb, #6ea0ff); color: light-dark(#fff, #12151b); font-weight: 600; }
"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>PocketFlow</title>
<style>%s</style>
<form method="post" action="./">
  <h1>PocketFlow</h1>
  <label>The token of this server
    <input name="token" type="password" autocomplete="current-password" required autofocus></label>
  %s
  <button>Open</button>
</form>
</html>"""
WRONG = '<p role="alert">This is not the token.</p>'
HASH = b64encode(sha256(STYLE.encode()).digest()).decode()  # lets a browser take this style, and no other


def sign_in_page(policy: str, *, is_wrong: bool) -> Response:
    """The page, under a policy that takes styles from files only; is_wrong: whether another token was given."""
    headers = {"Content-Security-Policy": policy.replace("style-src 'self'", f"style-src 'sha256-{HASH}'")}
    return HTMLResponse(PAGE % (STYLE, WRONG if is_wrong else ""), 401, headers)


async def token_in(request: Request) -> str:
    """The token that the form was sent with; "" for what is not the form."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                return ""
    except ClientDisconnect:
        return ""
    return parse_qs(body.decode("latin-1")).get("token", [""])[0]
