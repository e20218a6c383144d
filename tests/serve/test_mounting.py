"""The application inside a service of one's own."""

from __future__ import annotations

import inspect
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
from starlette.applications import Starlette
from starlette.routing import Mount

from pocketflow import serve
from tests.serve.flows import Gate, Words, chain
from tests.serve.service import JSON, Service, serving
from tests.serve.watching import watched


def service_of_the_docstring(flow: Any, folder: Path) -> Any:
    """What the three lines make that the package tells to write."""
    fastapi = pytest.importorskip("fastapi", reason="needs the cookbook extra: pip install -e '.[cookbook]'")
    found = re.search(r"of your own:\n\n(( {4}.+\n){3})\n", inspect.getdoc(serve) or "")
    assert found
    names: dict[str, Any] = {"serve": serve, "FastAPI": fastapi.FastAPI, "flow": flow, "os": os}
    exec(dedent(found[1]).replace('"runs.db"', repr(str(folder / "runs.db"))), names)
    return names["service"], names["studio"]


async def run_to_its_end(service: Service, root: str, **headers: str) -> str:
    """The status of a run that is started and watched below a root."""
    answer = await service.client.post(f"{root}/api/flows/article/runs", headers={**JSON, **headers})
    path = f"{root}/api/runs/{answer.json()['run_id']}"
    async with service.events(f"{path}/events", headers=headers) as events:
        await watched(events)
    return str((await service.get(path, headers=headers))["status"])


async def test_three_lines_put_it_into_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POCKETFLOW_TOKEN", "t0ken")
    service, studio = service_of_the_docstring(chain(Words()), tmp_path)

    @service.get("/")
    async def hello() -> str:
        return "hello"

    async with serving(service) as served:
        assert (await served.client.get("/")).json() == "hello"
        assert (await served.client.get("/flows/")).status_code == 401
        headers = {"Authorization": "Bearer t0ken"}
        assert (await served.client.get("/flows/", headers=headers)).text == (
            await served.client.get("/flows/index.html", headers=headers)
        ).text
        for host in ("127.0.0.1:8000", "example.com"):
            assert await run_to_its_end(served, "/flows", Host=host, **headers) == "finished"
        assert (await served.client.post("/flows/api/flows/article/runs", headers=JSON)).status_code == 401
    assert studio.state.runs.is_closed
    assert (tmp_path / "runs.db").exists()


async def test_its_runs_are_stopped_when_the_service_ends(tmp_path: Path):
    gate = Gate()
    studio = serve.app({"article": chain(Words(gate=gate))}, tmp_path / "runs.db")
    service = Starlette(routes=[Mount("/flows", studio)], lifespan=studio.router.lifespan_context)
    async with serving(service) as served:
        run_id = (await served.client.post("/flows/api/flows/article/runs", headers=JSON)).json()["run_id"]
        await gate.reached.wait()
    async with serving(serve.app({"article": chain(Words())}, tmp_path / "runs.db")) as again:
        assert (await again.get(f"/api/runs/{run_id}"))["status"] == "interrupted"


async def test_without_its_lifespan_it_serves_too_and_closing_is_left_to_the_service(tmp_path: Path):
    studio = serve.app({"article": chain(Words())}, tmp_path / "runs.db")
    async with serving(Starlette(routes=[Mount("/flows", studio)])) as served:
        assert await run_to_its_end(served, "/flows") == "finished"
    assert not studio.state.runs.is_closed
    await studio.state.runs.close()


async def test_two_of_them_live_in_one_service_each_with_its_token():
    one = serve.app({"article": chain(Words())}, token="one")
    two = serve.app({"article": chain(Words())}, token="two")

    @asynccontextmanager
    async def both(_: Any) -> Any:
        async with one.router.lifespan_context(one), two.router.lifespan_context(two):
            yield

    service = Starlette(routes=[Mount("/one", one), Mount("/two", two)], lifespan=both)
    async with serving(service) as served:
        for name in ("one", "two"):
            assert await run_to_its_end(served, f"/{name}", Authorization=f"Bearer {name}") == "finished"
            assert (await served.client.post(f"/{name}/", data={"token": name})).status_code == 303
        assert [len((await served.get(f"/{name}/api/runs"))["runs"]) for name in ("one", "two")] == [1, 1]


@pytest.mark.parametrize("root", ["", "/behind/a proxy"])
async def test_a_browser_gets_in_wherever_it_is_mounted(root: str):
    """Below the path of a mount, and of a server that is told its root path; the redirects are relative to that."""
    studio = serve.app({"article": chain(Words())}, token="t")
    service = Starlette(routes=[Mount("/flows", studio)], lifespan=studio.router.lifespan_context)
    async with serving(service, root_path=root.replace(" ", "%20")) as served:
        assert (await served.client.get("/flows/")).status_code == 401
        entered = await served.client.post("/flows/", data={"token": "t"})
        assert (entered.status_code, entered.headers["location"]) == (303, "./")
        assert "path" not in entered.headers["set-cookie"].lower()  # so it is that of what the browser asked for
        assert (await served.client.get("/flows/")).status_code == 200
        assert (await served.get("/flows/api/runs"))["runs"] == []
        assert (await served.client.get("/")).status_code == 404


async def test_the_address_without_a_slash_leads_to_the_page():
    studio = serve.app({"article": chain(Words())})
    service = Starlette(routes=[Mount("/flows", studio)], lifespan=studio.router.lifespan_context)
    async with serving(service) as served:
        answer = await served.client.get("/flows")
        assert (answer.status_code, answer.headers["location"]) == (307, f"{served.client.base_url}/flows/")
