"""What other sites, strangers and hostile data try, and do not get."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
from pocketflow import AsyncFlow
from pocketflow.serve import app
from pocketflow.serve.guard import POLICY
from pocketflow.serve.sign_in import WRONG
from tests.serve.flows import Ask, Fail, Words, chain
from tests.serve.service import JSON, Service, asked, connected, sent, served
from tests.serve.watching import named, until, watched

HERE = Path(__file__).resolve()


def words(**options: Any) -> Any:
    return served({"words": chain(Words())}, **options)


async def status(service: Service, target: str, method: str = "GET", **headers: str) -> int:
    """The status of an answer to a request with just these headers."""
    async with connected(service) as (reader, writer):
        await sent(writer, method, target, b"", **headers)
        return int((await asked(reader)).split()[1])


# By which name


async def test_the_names_of_this_machine_are_served():
    async with words() as service:
        for host in ("localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"):
            assert await status(service, "/api/runs", Host=host) == 200


FOREIGN_HOSTS = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "evil-localhost", "localhost@evil.example",
    "127.0.0.1.nip.io", "127.0.0.2", "0.0.0.0", "[::", "[::1", "", ":8000", "::1", "localhost, evil.example",
]  # fmt: skip


async def test_a_name_that_an_attacker_may_have_pointed_here_is_refused():
    async with words() as service:
        for host in FOREIGN_HOSTS:
            for target, method in (("/", "GET"), ("/api/runs", "GET"), ("/api/flows/words/runs", "POST")):
                assert (host, await status(service, target, method, Host=host, **JSON)) == (host, 403)
        assert (await service.get("/api/runs"))["runs"] == []


async def test_a_request_without_a_host_is_refused():
    async with words(token="t") as service, connected(service) as (reader, writer):
        writer.write(b"GET /api/runs HTTP/1.0\r\nAuthorization: Bearer t\r\n\r\n")
        assert b" 403 " in await asked(reader)


@pytest.mark.parametrize("token", [None, "t"])
async def test_the_hosts_that_are_given_are_served_in_whatever_case_beside_those_of_this_machine(token: str | None):
    async with words(hosts=["Example.com"], token=token) as service:
        for host, code in {"example.COM:443": 200, "localhost": 200, "127.0.0.1:8000": 200, "other.com": 403}.items():
            assert (host, await status(service, "/api/runs", Host=host, Authorization="Bearer t")) == (host, code)


async def test_the_refusal_of_a_host_says_what_to_do():
    async with words() as service:
        answer = await service.client.get("/api/runs", headers={"Host": "example.com"})
        error = "the host 'example.com' is not served: add it to hosts, or set a token"
        assert (answer.status_code, answer.json()) == (403, {"error": error})


# From which page


async def test_the_servers_own_page_may_ask():
    async with words() as service:
        for origin in ("http://localhost:8000", "https://localhost", "http://127.0.0.1:1", "http://[::1]"):
            assert await status(service, "/api/runs", Origin=origin) == 200


FOREIGN_ORIGINS = [
    "null", "http://evil.example", "http://localhost.evil.example", "http://localhost@evil.example", "http://[", "",
    "localhost", "file://", "http://127.0.0.1.nip.io", "http:localhost", "http://localhost, http://evil.example",
]  # fmt: skip


@pytest.mark.parametrize("token", [None, "t"])
async def test_a_page_of_another_site_may_not_ask(token: str | None):
    async with words(token=token) as service:
        for origin in FOREIGN_ORIGINS:
            headers = {"Origin": origin, "Authorization": "Bearer t", **JSON}
            for target, method in (
                ("/api/events", "GET"), ("/api/flows/words/runs", "POST"), ("/api/runs/1", "DELETE"),
                ("/", "POST"),
            ):  # fmt: skip
                assert (origin, await status(service, target, method, **headers)) == (origin, 403)
        assert (await service.get("/api/runs", headers={"Authorization": "Bearer t"}))["runs"] == []


async def test_with_a_token_the_page_may_ask_under_any_name_and_port():
    async with words(token="t") as service:
        headers = {"Host": "flows.example", "Origin": "https://flows.example:8443", "Authorization": "Bearer t"}
        assert await status(service, "/api/runs", **headers) == 200


async def test_no_other_site_is_let_in_by_a_preflight():
    async with words() as service:
        headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
        answer = await service.client.options("/api/flows/words/runs", headers=headers)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


# With which token


HEADERS = {
    "Bearer t0ken": 200, "bearer  t0ken": 200, "Bearer": 401, "Bearer t0ke": 401, "t0ken": 401,
    "Bearer t0kenn": 401, "Basic t0ken": 401, "Bearer t\xf6ken": 401, "": 401, "Bearer t0ken, Bearer x": 401,
}  # fmt: skip


async def test_a_program_brings_the_token_in_a_header():
    async with words(token="t0ken") as service:
        for header, code in HEADERS.items():
            answer = await service.client.get("/api/runs", headers={"Authorization": header.encode("latin-1")})
            assert answer.status_code == code
            if code == 401:
                assert answer.json() == {"error": "a token is asked for: send Authorization: Bearer TOKEN"}
                assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_without_the_token_nothing_is_done_and_nothing_is_told():
    async with words(token="t0ken") as service:
        for method, target in (
            ("GET", "/api/flows"), ("POST", "/api/flows/words/runs"), ("GET", "/api/events"), ("GET", "/nothing"),
            ("GET", "/index.html"), ("POST", "/"), ("HEAD", "/"), ("GET", "/api/runs?token=t0ken"),
            ("GET", "/?token=t0ken"),
        ):  # fmt: skip
            answer = await service.client.request(method, target, headers=JSON)
            assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        assert (await service.get("/api/runs", headers={"Authorization": "Bearer t0ken"}))["runs"] == []


async def test_a_browser_gives_the_token_once_and_keeps_a_cookie_that_does_not_have_it():
    async with words(token="t0ken") as service:
        form = await service.client.get("/")
        assert (form.status_code, form.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert '<input name="token" type="password"' in form.text
        assert "t0ken" not in form.text
        entered = await service.client.post("/", data={"token": "t0ken"})
        assert (entered.status_code, entered.headers["location"]) == (303, "./")
        cookie = entered.headers["set-cookie"]
        assert "t0ken" not in cookie
        assert {"HttpOnly", "SameSite=strict"} <= {flag.strip() for flag in cookie.split(";")}
        assert (await service.client.get("/")).status_code == 200
        assert (await service.get("/api/runs"))["runs"] == []


async def test_the_cookie_goes_over_https_alone_where_it_came_over_https():
    async with words(token="t") as service:
        plain = await service.client.post("/", data={"token": "t"})
        service.client.cookies.clear()
        secure = await service.client.post("/", data={"token": "t"}, headers={"X-Forwarded-Proto": "https"})
        assert ["Secure" in answer.headers["set-cookie"] for answer in (plain, secure)] == [False, True]


async def test_a_wrong_token_is_told_and_gives_no_cookie():
    async with words(token="t0ken") as service:
        assert WRONG not in (await service.client.get("/")).text
        for token in ("", "t0ke", "t0ken ", "T0KEN", "t0ken\x00", "tök", "t0ken t0ken"):
            answer = await service.client.post("/", data={"token": token})
            assert (answer.status_code, "set-cookie" in answer.headers, WRONG in answer.text) == (401, False, True)
        for body in (b"token", b"\xff=%ff", b"&&&", b"token=t0ken" + b" " * 20_000, b'{"token": "t0ken"}'):
            answer = await service.client.post("/", content=body)
            assert (answer.status_code, "set-cookie" in answer.headers, WRONG in answer.text) == (401, False, True)


async def test_who_is_in_already_may_sign_in_again():
    async with words(token="t0ken") as service:
        for _ in range(2):
            assert (await service.client.post("/", data={"token": "t0ken"})).status_code == 303


async def test_a_cookie_of_another_token_is_refused():
    async with words(token="one") as service:
        entered = await service.client.post("/", data={"token": "one"})
        name, value = entered.headers["set-cookie"].split(";")[0].split("=")
    async with words(token="two") as service:
        entered = await service.client.post("/", data={"token": "two"})
        own, _ = entered.headers["set-cookie"].split(";")[0].split("=")
        service.client.cookies.clear()
        for cookie in (f"{name}={value}", f"{own}={value}", f"{own}=", f"{own}={'0' * 56}", f"{own}=two"):
            assert await status(service, "/api/runs", Cookie=cookie) == 401


@pytest.mark.parametrize("token", ["", " ", "a b", "tök", "a\n", "\udcff"])
def test_a_token_that_protects_nothing_or_that_no_header_can_bring_is_refused(token: str):
    with pytest.raises(ValueError, match="the token has to be ASCII without spaces, and not empty"):
        app({}, token=token)


def test_hosts_that_are_one_text_are_refused():
    with pytest.raises(TypeError, match=re.escape("write hosts=['example.com']")):
        app({}, hosts="example.com")


# What a browser may do with an answer


async def test_every_answer_keeps_a_browser_from_guessing_embedding_and_loading():
    async with words(token="t") as service:
        known = {"Authorization": "Bearer t"}
        run_id = (await service.client.post("/api/flows/words/runs", headers={**known, **JSON})).json()["run_id"]
        for target, headers in [
            ("/", known), ("/api/runs", known), ("/api/runs", {}), ("/nothing", known),
            ("/", {"Host": ""}), ("/api/runs", {**known, "Origin": "null"}), ("/api/runs?limit=x", known),
            (f"/api/runs/{run_id}/events", known), ("/api/runs/nobody/trace", known),
        ]:  # fmt: skip
            answer = await service.client.get(target, headers=headers)
            assert answer.headers["Content-Security-Policy"] == POLICY, target
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "access-control-allow-origin" not in answer.headers


async def test_the_page_that_asks_for_the_token_has_a_style_that_its_policy_takes_and_no_other():
    async with words(token="t") as service:
        for answer in (await service.client.get("/"), await service.client.post("/")):
            [style] = re.findall("<style>(.*)</style>", answer.text, re.DOTALL)
            hash = b64encode(sha256(style.encode()).digest()).decode()
            policy = POLICY.replace("style-src 'self'", f"style-src 'sha256-{hash}'")
            assert answer.headers["Content-Security-Policy"] == policy
            assert answer.headers["Cache-Control"] == "no-store"


async def test_the_policy_lets_a_page_load_from_its_server_alone():
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "*" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


async def test_the_timeline_is_a_page_without_an_origin_and_without_a_network():
    async with words() as service:
        run_id = await service.start("words")
        await service.stopped(run_id)
        answer = await service.client.get(f"/api/runs/{run_id}/trace")
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
        assert "allow-same-origin" not in policy
        assert "connect-src" not in policy
        assert "frame-ancestors 'self'" in policy


# Files


PATHS = [
    "/../api.py", "/..%2fapi.py", "/%2e%2e/api.py", "/%2e%2e%2fapi.py", "/page/../../api.py", "//etc/passwd",
    "/etc/passwd", "/%2fetc%2fpasswd", "/....//api.py", "/..\\api.py", "/..%5capi.py", "/index.html/../../api.py",
    "/./index.html", "/index.html%00", "/index.html/", "/INDEX.HTML", "/__init__.py", "/page", "/page/", f"/{HERE}",
    "/api/../../api.py", f"/..{HERE}", "/..%252fapi.py", "/%c0%ae%c0%ae/api.py", "/api/runs/../../api.py",
    "/page/index.html", "http://localhost/../api.py", "*", "/.", "/..",
]  # fmt: skip


async def test_no_path_leads_to_a_file_that_is_not_of_the_page():
    async with words() as service:
        for path in PATHS:
            async with connected(service) as (reader, writer):
                await sent(writer, "GET", path, Connection="close")
                answer = await asked(reader) + await reader.read()
                assert int(answer.split()[1]) in (307, 400, 404), (path, answer)
                assert b"import" not in answer
                assert b"root:" not in answer


async def test_the_page_is_found_at_the_root():
    async with words() as service:
        root, index = await service.client.get("/"), await service.client.get("/index.html")
        assert root.text == index.text
        assert root.headers["content-type"] == "text/html; charset=utf-8"


# Data

EVIL = "</script><img src=x onerror=alert(1)>\u2028'\"\x1b\x00\r\n\r\ndata: x"
HALF = f"{EVIL}\ud800"  # half of a character, which UTF-8 cannot write


class Hostile(AsyncFlow):
    """<script>alert(1)</script>"""


async def test_hostile_names_and_values_are_data_in_every_answer():
    flow = Hostile(chain(Words(f"{EVIL} {EVIL}", name=EVIL), Ask([HALF], name=EVIL)))
    async with served({EVIL: flow}) as service:
        [told] = (await service.get("/api/flows"))["flows"]
        assert (told["name"], told["doc"]) == (EVIL, Hostile.__doc__)
        assert re.fullmatch(r"[\w.-]+", told["slug"])
        assert "<img" not in told["svg"]
        assert "<script" not in told["svg"]
        body = {"shared": {HALF: HALF}, "tags": {HALF: HALF}}
        run_id = (await service.post(f"/api/flows/{quote(told['slug'])}/runs", 201, **body))["run_id"]
        path = f"/api/runs/{quote(run_id, safe='')}"
        state = await service.stopped(quote(run_id, safe=""))
        assert state["questions"][0]["choices"] == [HALF]
        assert state["tags"][HALF] == HALF
        for rest in ("", "/history", "/store"):
            answer = await service.client.get(f"{path}{rest}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
            assert answer.text.isascii()
        assert (await service.get(f"{path}/store"))["store"][HALF] == HALF
        page = (await service.client.get(f"{path}/trace")).text
        assert "onerror" in page
        assert "<img src=x" not in page


async def test_hostile_values_do_not_break_out_of_an_event():
    async with served({"words": chain(Words(f"{EVIL.replace(' ', '_')} b", name=EVIL), Fail())}) as service:
        run_id = await service.start("words")
        async with service.events(f"/api/runs/{run_id}/events") as events:
            seen = await watched(events)
        assert "".join(event["chunk"] for event in seen if event["type"] == "chunk").startswith("</script>")
        async with service.events(f"/api/events?run={quote(EVIL.encode('utf-8', 'replace'))}") as events:
            assert (await until(events, named("missing")))[-1]["run_id"].startswith("</script>")


async def test_a_hostile_id_is_quoted_in_a_refusal():
    async with words() as service:
        for path in ("/api/runs/%0d%0aSet-Cookie:%20a=b", "/api/runs/%1b%5d0;x%07/events", "/%3Cscript%3E"):
            answer = await service.client.get(path)
            assert (answer.status_code, "set-cookie" in answer.headers) == (404, False)
            assert answer.headers["content-type"] == "application/json"
