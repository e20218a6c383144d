"""Each request of the HTTP interface, its answer, and what it refuses; over real connections."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
from starlette.routing import Route

from pocketflow import AsyncFlow, AsyncNode, serve
from pocketflow.dataflow import Dataflow, task
from pocketflow.journal import Journal
from pocketflow.serve import api as api_module
from pocketflow.serve import runs as runs_module
from tests.serve.flows import Ask, Count, Fail, Gate, Hold, Stopped, Usage, Words, chain, sync
from tests.serve.service import JSON, asked, connected, environment, sent, served
from tests.serve.watching import PATIENCE, changes, ended, named, of_type, until, watched


class Article(AsyncFlow):
    """Writes an article
    about a topic.

    Not told to those who start it.
    """


async def test_the_docstring_of_the_package_lists_every_route():
    documented = re.findall(r"^    (GET|POST|DELETE) +(/api/[^ ?]+)", inspect.getdoc(serve) or "", re.MULTILINE)
    routes = [
        (method, route.path.replace(":path", ""))
        for route in serve.app({}).routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in (route.methods or set()) - {"HEAD"}
    ]
    assert sorted(documented) == sorted(routes)


# What there is, and how it is started


async def test_flows_are_told_with_all_that_a_page_needs_to_show_and_start_them():
    async with served({"article": Article(Words()), "a/b": chain(Count()), "a b": chain(Count())}) as service:
        article, *others = (await service.get("/api/flows"))["flows"]
        assert (article["name"], article["slug"]) == ("article", "article")
        assert article["doc"] == "Writes an article about a topic."
        assert article["svg"].startswith("<svg ")
        assert article["nodes"] == [
            {"id": "Article", "name": "Article", "kind": "flow", "parent": None},
            {"id": "Article/Words", "name": "Words", "kind": "node", "parent": "Article"},
        ]
        assert (article["inputs"], article["findings"]) == (None, [])
        assert [(flow["name"], flow["slug"]) for flow in others] == [("a/b", "a-b"), ("a b", "a-b-2")]


async def test_a_dataflow_tells_its_inputs():
    @task
    async def greeting(name: str, times: int = 2, more: list[str] | None = None) -> str:
        return name * times

    async with served({"greet": Dataflow(greeting)}) as service:
        [flow] = (await service.get("/api/flows"))["flows"]
        assert flow["inputs"] == [
            {"name": "name", "type": "str", "required": True, "default": None},
            {"name": "times", "type": "int", "required": False, "default": 2},
            {"name": "more", "type": "json", "required": False, "default": None},
        ]
        run_id = await service.start("greet", name="ab")
        assert (await service.stopped(run_id))["status"] == "finished"
        assert (await service.get(f"/api/runs/{run_id}/store"))["store"]["greeting"] == "abab"


async def test_a_flow_is_started_under_its_slug_whatever_its_name_is():
    slugs = {
        "a/b": "a-b",
        "../../etc": "etc",
        "名": "名",
        "..": "flow",
        "<b>": "b",
        "a?b#c%2F": "a-b-c-2F",
        "": "flow-2",
    }
    async with served({name: chain(Count()) for name in slugs}) as service:
        assert {flow["name"]: flow["slug"] for flow in (await service.get("/api/flows"))["flows"]} == slugs
        for slug in slugs.values():
            run_id = await service.start(quote(slug))
            assert (await service.stopped(quote(run_id)))["flow"] == slug


async def test_a_run_has_the_store_the_id_and_the_tags_that_it_is_started_with():
    async with served({"words": chain(Words())}) as service:
        body = {"shared": {"a": [1]}, "run_id": "mine", "tags": {"for": "Ada"}}
        assert await service.post("/api/flows/words/runs", 201, **body) == {"run_id": "mine"}
        state = await service.stopped("mine")
        assert (state["run_id"], state["flow"], state["tags"]) == ("mine", "words", {"for": "Ada", "flow": "words"})
        assert (await service.get("/api/runs/mine/store"))["store"] == {"a": "[\n 1\n]", "Words": "to be or not"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"shared": null, "run_id": null, "tags": null}', b" {} "])
async def test_what_a_body_leaves_out_is_what_null_says(body: bytes):
    async with served({"words": chain(Words())}) as service:
        answer = await service.client.post("/api/flows/words/runs", content=body, headers=JSON)
        assert answer.status_code == 201
        assert re.fullmatch(r"words-\d{4}-\d{6}-[0-9a-f]{6}", answer.json()["run_id"])


async def test_an_id_with_all_that_is_allowed_in_it_names_its_run_in_every_request():
    run_id = "名:a.b@c+d_e-f"
    async with served({"words": chain(Words())}) as service:
        await service.post("/api/flows/words/runs", 201, run_id=run_id)
        assert (await service.stopped(quote(run_id, safe="")))["run_id"] == run_id
        for rest in ("/history", "/store", "/trace"):
            assert (await service.client.get(f"/api/runs/{quote(run_id, safe='')}{rest}")).status_code == 200
        answer = await service.client.delete(f"/api/runs/{quote(run_id, safe='')}")
        assert answer.json() == {"deleted": run_id}


async def test_a_run_of_a_program_may_have_slashes_in_its_id(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        for run_id in ("2026/11/21", "../../etc/passwd", "a%2Fb", "\x1b<b>"):
            await journal.run_async(chain(Count()), {}, run_id=run_id)
            async with served({"count": chain(Count())}, journal) as service:
                assert (await service.get(f"/api/runs/{quote(run_id, safe='')}"))["run_id"] == run_id
                rows = (await service.get(f"/api/runs/{quote(run_id, safe='')}/history"))["rows"]
                assert rows[0]["kind"] == "begin"


# What is refused

STARTED = "/api/flows/words/runs"
MISSING: list[tuple[str, str, int, str]] = [
    ("GET", "/api/nothing", 404, "there is nothing at /api/nothing"),
    ("GET", "/api/runs/nobody", 404, "there is no run 'nobody'"),
    ("GET", "/api/runs/", 404, "there is no run ''"),
    ("GET", "/api/runs/nobody/events", 404, "there is no run 'nobody'"),
    ("GET", "/api/runs/nobody/history", 404, "there is no run 'nobody'"),
    ("GET", "/api/runs/nobody/store", 404, "there is no run 'nobody'"),
    ("GET", "/api/runs/nobody/trace", 404, "there is no run 'nobody'"),
    ("DELETE", "/api/runs/nobody", 404, "there is no run 'nobody'"),
    ("POST", "/api/runs/nobody/resume", 404, "there is no run 'nobody'"),
    ("POST", "/api/runs/nobody/stop", 404, "there is no run 'nobody'"),
    ("POST", "/api/flows/nothing/runs", 404, "there is no flow 'nothing': the flows are words"),
    ("POST", "/api/flows/nothing/stream", 404, "there is no flow 'nothing': the flows are words"),
    ("GET", STARTED, 405, "GET does nothing here: use POST"),
    ("PUT", "/api/runs", 405, "PUT does nothing here: use GET, HEAD"),
    ("OPTIONS", STARTED, 405, "OPTIONS does nothing here: use POST"),
    ("POST", "/api/flows", 405, "POST does nothing here"),
    ("GET", "/api/runs?limit=x", 400, "limit=x: write a whole number"),
    ("GET", "/api/runs?limit=-1", 400, "limit=-1: write a whole number"),
    ("GET", f"/api/runs?limit={'9' * 5000}", 400, "write a whole number"),
    ("GET", "/api/runs/done/store?after=1.5", 400, "after=1.5: write a whole number"),
    ("GET", "/api/runs/done/store?after=999", 404, "'done' has no row 999 in its history: the last one is "),
    ("POST", "/api/runs/done/resume", 409, "'done' is finished already: fork it"),
    ("POST", "/api/runs/done/stop", 409, "there is nothing to stop"),
]  # fmt: skip


async def test_what_is_not_there_or_cannot_be_done_is_refused_in_a_sentence():
    async with served({"words": chain(Words())}) as service:
        await service.post(STARTED, 201, run_id="done")
        await service.stopped("done")
        for method, path, status, words in MISSING:
            answer = await service.client.request(method, path, headers=JSON)
            assert (answer.status_code, list(answer.json())) == (status, ["error"]), (method, path, answer.text)
            assert words in answer.json()["error"]


BODIES: list[tuple[str, Any, str]] = [
    (STARTED, b"{", "the body is not JSON: "),
    (STARTED, b"\xff\xfe\x00", "the body is not JSON: "),
    (STARTED, b"[]", 'the body has to be a JSON object, such as {"shared": {}}'),
    (STARTED, b"null", "the body has to be a JSON object"),
    (STARTED, b'{"shared": {"a": NaN}}', "NaN is not a finite number"),
    (STARTED, b'{"shared": {"a": -Infinity}}', "-Infinity is not a finite number"),
    (STARTED, b'{"tags": {"a": 1e999}}', "1e999 is not a finite number"),
    (STARTED, b'{"shared": {"a": ' + b"1" * 5000 + b"}}", "Exceeds the limit (4300 digits)"),
    (STARTED, b'{"shared": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply: 100 levels"),
    (STARTED, b'{"a": ' * 100_000 + b"{}" + b"}" * 100_000, "nested too deeply: 100 levels"),
    (STARTED, b'{"tags": {"a": ' + b"[" * 99 + b"]" * 99 + b"}}", "nested too deeply: 100 levels"),
    (STARTED, {"store": {}}, "unknown key 'store': the keys are shared, run_id, tags"),
    (STARTED, {"\ud800": {}}, "unknown key"),
    (STARTED, {"shared": []}, "'shared' is []: write an object"),
    (STARTED, {"shared": "x" * 500}, "write an object"),
    (STARTED, {"run_id": 5}, "'run_id' is 5: write a text"),
    (STARTED, {"tags": True}, "'tags' is True: write an object"),
    (STARTED, {"run_id": "a/b"}, "run_id='a/b': write up to 200 letters, digits and . _ : @ + -"),
    (STARTED, {"run_id": "\ud800"}, "write up to 200 letters"),
    (STARTED, {"run_id": ""}, "write up to 200 letters"),
    ("/api/runs/asks/answer", {}, 'write the answer as {"value": ...}'),
    ("/api/runs/asks/answer", {"value": "maybe"}, "'maybe' is not an answer: the choices are ['yes', 'no']"),
    ("/api/runs/asks/answer", {"value": "yes", "path": 3}, "'path' is 3: write a text"),
    ("/api/runs/asks/resume", {"now": True}, "unknown key 'now': the body has to be {}"),
    ("/api/runs/asks/fork", {}, 'write the row of the history after which to go on, as {"after": 3}'),
    ("/api/runs/asks/fork", {"after": True}, "'after' is True: write a number or a text"),
    ("/api/runs/asks/fork", {"after": 1.5}, "'after' is 1.5: write a number or a text"),
    ("/api/runs/asks/fork", {"after": 99}, "'asks' has no row 99 in its history: the last one is "),
    ("/api/runs/asks/fork", {"after": ""}, "'asks' has no row '' in its history"),
    ("/api/runs/asks/fork", {"after": "AsyncFlow/7:Ask"}, "'asks' has no row 'AsyncFlow/7:Ask' in its history"),
    ("/api/runs/asks/fork", {"after": 10**400}, "has no row 1000"),
]  # fmt: skip


async def test_a_body_that_makes_no_sense_is_refused_in_a_sentence_and_changes_nothing():
    async with served({"words": chain(Words()), "ask": chain(Ask(["yes", "no"]))}) as service:
        await service.post("/api/flows/ask/runs", 201, run_id="asks")
        await service.stopped("asks")
        before = await service.get("/api/runs")
        for path, body, words in BODIES:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await service.client.post(path, content=content, headers=JSON)
            assert (answer.status_code, list(answer.json())) == (400, ["error"]), (path, content[:80], answer.text)
            assert words in answer.json()["error"]
            assert len(answer.text) < 500
        assert await service.get("/api/runs") == before


async def test_what_utf_8_cannot_write_is_taken_and_told_again():
    half = "\ud800"
    async with served({"ask": chain(Ask())}) as service:
        body = {"run_id": "1", "shared": {half: half}, "tags": {half: half}}
        await service.post("/api/flows/ask/runs", 201, **body)
        await service.stopped("1")
        refused = await service.post("/api/runs/1/answer", 409, value=1, path=half)
        assert f"no question is waiting in '1' at {half}: " in refused["error"]
        await service.post("/api/runs/1/answer", value={half: half}, by=half)
        assert (await service.stopped("1"))["tags"] == {half: half, "flow": "ask"}
        assert (await service.get("/api/runs"))["runs"][0]["tags"][half] == half
        assert (await service.get("/api/runs/1/store"))["store"][half] == half
        assert [row["by"] for row in (await service.get("/api/runs/1/history"))["rows"] if "by" in row] == [half]
        assert (await service.client.get("/api/runs/1/trace")).status_code == 200


async def test_a_store_as_deep_and_numbers_as_long_as_allowed_come_back_as_they_were():
    deep: Any = 10**4000
    for _ in range(98):
        deep = [deep]
    async with served({"words": chain(Words())}) as service:
        run_id = await service.start("words", deep=deep)
        await service.stopped(run_id)
        assert json.loads((await service.get(f"/api/runs/{run_id}/store"))["store"]["deep"]) == deep


async def test_a_flow_in_which_a_check_finds_something_is_shown_and_cannot_be_started():
    typo = Words()
    typo - "nxet"
    async with served({"typo": chain(typo)}) as service:
        [finding] = (await service.get("/api/flows"))["flows"][0]["findings"]
        answer = await service.client.post("/api/flows/typo/runs", json={})
        assert answer.status_code == 400
        assert finding in answer.json()["error"]
        assert (await service.get("/api/runs"))["runs"] == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
@pytest.mark.parametrize("body", [b"", b'{"shared": {}}'])
async def test_what_is_not_sent_as_json_is_refused_be_it_empty_too(kind: str | None, body: bytes):
    async with served({"words": chain(Words())}) as service:
        headers = {} if kind is None else {"Content-Type": kind}
        for path in (STARTED, "/api/flows/words/stream", "/api/runs/1/resume", "/api/runs/1/stop", "/api/runs/1/fork"):
            answer = await service.client.post(path, content=body, headers=headers)
            assert (answer.status_code, answer.json()) == (415, {"error": "send Content-Type: application/json"})
        assert (await service.get("/api/runs"))["runs"] == []


async def test_a_body_over_the_limit_is_refused_however_it_is_sent():
    async def parts() -> Any:
        for _ in range(100):
            yield b" " * 1000

    async with served({"words": chain(Words())}, longest=10_000) as service:
        for content in (b" " * 10_001, b" " * 5_000_000, parts()):
            answer = await service.client.post(STARTED, content=content, headers=JSON)
            assert answer.status_code == 413
            assert answer.json() == {"error": "the body is longer than 10,000 bytes: send less"}
        answer = await service.client.post(STARTED, content=b" " * 10_000, headers=JSON)
        assert answer.status_code == 400


async def test_who_leaves_before_the_body_is_there_starts_nothing_and_fails_nobody(capsys: pytest.CaptureFixture[str]):
    async with served({"words": chain(Words())}) as service:
        async with connected(service) as (reader, writer):
            await sent(writer, "POST", STARTED, **JSON, Content_Length="500", Expect="100-continue")
            assert b" 100 " in await asked(reader)  # the body is being read
            writer.write(b'{"run_id": "short"}')
        assert (await service.get("/api/runs"))["runs"] == []
    assert capsys.readouterr().err == ""


async def test_what_follows_a_body_is_not_taken_for_a_part_of_it():
    async with served({"words": chain(Words())}) as service, connected(service) as (reader, writer):
        await sent(writer, "POST", STARTED, b'{"run_id": "long"}{"run_id": "longer"}', **JSON, Content_Length="18")
        assert b"201 Created" in await asked(reader)
        assert [run["run_id"] for run in (await service.get("/api/runs"))["runs"]] == ["long"]


async def test_a_run_that_exists_is_not_started_again():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}) as service:
        await service.post(STARTED, 201, run_id="1")
        running = await service.client.post(STARTED, json={"run_id": "1"})
        assert (running.status_code, running.json()["error"][:16]) == (409, "'1' runs already")
        gate.open.set()
        await service.stopped("1")
        assert (await service.client.post(STARTED, json={"run_id": "1"})).status_code == 409


async def test_who_comes_beyond_the_limits_is_told_when_to_try_again_and_all_others_finish():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}, limit=2, waiting=3) as service:
        starting = [service.client.post(STARTED, json={}) for _ in range(12)]
        answers = await asyncio.gather(*starting)
        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [503] * 7
        for answer in answers:
            if answer.status_code == 503:
                assert answer.headers["Retry-After"] == "5"
                assert answer.json() == {"error": "the server is full (2 running, 3 waiting): try again later"}
        statuses: list[str] = []
        while statuses.count("running") < 2:
            statuses = [run["status"] for run in (await service.get("/api/runs"))["runs"]]
        assert sorted(statuses) == ["running"] * 2 + ["waiting"] * 3
        gate.open.set()
        for answer in answers:
            if answer.status_code == 201:
                assert (await service.stopped(answer.json()["run_id"]))["status"] == "finished"


async def test_an_error_that_nobody_foresaw_is_told_as_json():
    async with served({"words": chain(Words())}) as service:

        async def broken() -> Any:
            raise ZeroDivisionError("secret")

        service.runs.list = broken  # type: ignore[method-assign]  # stands for a mistake of ours
        answer = await service.client.get("/api/runs")
        assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (500, "nosniff")
        assert answer.json() == {"error": "the server failed: ZeroDivisionError; its log says where"}


# What a run tells


async def test_runs_are_listed_the_newest_first_and_no_more_than_asked_for():
    async with served({"words": chain(Words())}) as service:
        for n in range(3):
            await service.post(STARTED, 201, run_id=str(n))
            await service.stopped(str(n))
        listed = await service.get("/api/runs?limit=2")
        assert ([run["run_id"] for run in listed["runs"]], listed["more"]) == (["2", "1"], 1)
        assert (await service.get("/api/runs?limit=0")) == {"runs": [], "more": 3}


async def test_a_summary_has_the_fields_that_the_page_is_built_against():
    async with served({"usage": chain(Usage(), Ask(["yes", "no"]))}) as service:
        run_id = await service.start("usage")
        state = await service.stopped(run_id)
        assert list(state) == [
            "run_id", "flow", "started", "tags", "questions", "fork_of", "status", "is_here", "error", "ended",
            "tokens", "retries", "nodes", "outputs", "event",
        ]  # fmt: skip
        assert (state["status"], state["is_here"], state["fork_of"]) == ("paused", False, None)
        assert state["questions"] == [{"path": "AsyncFlow/1:Ask/exec", "question": "Ask?", "choices": ["yes", "no"]}]
        assert state["tokens"] == {"input": 10, "output": 2}
        assert state["nodes"]["AsyncFlow/Ask"]["state"] == "waiting"


async def test_a_failed_run_tells_its_error():
    async with served({"fail": chain(Fail())}) as service:
        state = await service.stopped(await service.start("fail"))
        assert state["status"] == "failed"
        assert "LookupError: nothing there" in state["error"]


async def test_the_history_grows_while_a_run_runs_and_can_be_read_from_a_row_on():
    gate = Gate()
    async with served({"flow": chain(Count(), Words(gate=gate))}) as service:
        run_id = await service.start("flow")
        await gate.reached.wait()
        rows = (await service.get(f"/api/runs/{run_id}/history"))["rows"]
        gate.open.set()
        await service.stopped(run_id)
        assert (await service.get(f"/api/runs/{run_id}/history"))["rows"][: len(rows)] == rows
        later = (await service.get(f"/api/runs/{run_id}/history?after={rows[-1]['n']}"))["rows"]
        assert later[0]["n"] == rows[-1]["n"] + 1
        assert any(row["id"] == "AsyncFlow/Words" for row in later)


async def test_a_question_is_answered_once_and_the_second_who_answers_is_told():
    async with served({"ask": chain(Ask(["yes", "no"]))}) as service:
        run_id = await service.start("ask")
        await service.stopped(run_id)
        answers = [
            service.client.post(f"/api/runs/{run_id}/answer", json={"value": value, "by": value})
            for value in ("yes", "no")
        ]
        assert sorted(answer.status_code for answer in await asyncio.gather(*answers)) == [200, 409]
        assert (await service.stopped(run_id))["status"] == "finished"


async def test_a_run_is_stopped_resumed_forked_and_deleted():
    gate, counted = Gate(), list[str]()
    async with served({"flow": chain(Count(counted), Words(gate=gate))}) as service:
        run_id = await service.start("flow")
        await gate.reached.wait()
        assert (await service.post(f"/api/runs/{run_id}/stop"))["status"] == "interrupted"
        gate.open.set()
        assert (await service.post(f"/api/runs/{run_id}/resume"))["status"] in ("waiting", "running", "finished")
        assert (await service.stopped(run_id))["status"] == "finished"
        assert counted == ["Count"]
        rows = (await service.get(f"/api/runs/{run_id}/history"))["rows"]
        [after] = [row["n"] for row in rows if row["kind"] == "node" and row["id"] == "AsyncFlow/Count"]
        fork = (await service.post(f"/api/runs/{run_id}/fork", 201, after=after))["run_id"]
        assert (await service.get(f"/api/runs/{fork}"))["fork_of"] == {"run_id": run_id, "n": after}
        await service.post(f"/api/runs/{fork}/resume")
        assert (await service.stopped(fork))["status"] == "finished"
        assert counted == ["Count"]
        assert (await service.client.delete(f"/api/runs/{fork}")).json() == {"deleted": fork}
        assert (await service.client.get(f"/api/runs/{fork}")).status_code == 404


async def test_deleting_a_run_that_goes_on_stops_it_and_deleting_it_again_deletes_it():
    node = Stopped()
    async with served({"flow": chain(node)}) as service:
        run_id = await service.start("flow")
        await node.reached.wait()
        stopped = await service.client.delete(f"/api/runs/{run_id}")
        assert (stopped.status_code, stopped.json()["status"]) == (200, "interrupted")
        assert (await service.client.delete(f"/api/runs/{run_id}")).json() == {"deleted": run_id}
        assert (await service.get("/api/runs"))["runs"] == []


async def test_a_stop_that_takes_long_is_answered_at_once_and_holds_up_no_other_request(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(api_module, "STOPPING", 0.01)
    hold = Hold()
    async with served({"hold": sync(hold, Hold()), "ask": chain(Ask())}) as service:
        asking, run_id = await service.start("ask"), await service.start("hold")
        await service.stopped(asking)
        await asyncio.to_thread(hold.reached.wait, PATIENCE)
        try:
            assert (await service.post(f"/api/runs/{run_id}/stop", 202))["status"] == "stopping"
            again = await service.client.delete(f"/api/runs/{run_id}")
            assert (again.status_code, again.json()["status"]) == (202, "stopping")
            await service.post(f"/api/runs/{asking}/answer", value=1)
            assert (await service.stopped(asking))["status"] == "finished"
            assert (await service.get(f"/api/runs/{run_id}"))["status"] == "stopping"
        finally:
            hold.open.set()
        state = await service.stopped(run_id)
        assert (state["status"], state["error"]) == ("interrupted", None)


# Events of one run


async def test_a_run_outlives_the_connection_that_started_it():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}) as service:
        async with connected(service) as (reader, writer):
            await sent(writer, "POST", STARTED, b'{"run_id": "1"}', **JSON)
            assert b"201 Created" in await asked(reader)
        await gate.reached.wait()
        gate.open.set()
        assert (await service.stopped("1"))["status"] == "finished"


async def test_all_watchers_get_the_same_from_the_event_on_that_they_ask_for():
    async with served({"words": chain(Words())}) as service:
        run_id = await service.start("words")
        path = f"/api/runs/{run_id}/events"
        async with service.events(path) as one, service.events(path) as two:
            first, second = await asyncio.gather(watched(one), watched(two))
        assert first == second
        assert "".join(event["chunk"] for event in first if event["type"] == "chunk") == "to be or not"
        assert first[-1] == ended("finished")
        for number, event in enumerate(first[:-1]):
            headers = {"Last-Event-ID": event["sse_id"]}
            async with service.events(path, headers=headers) as late:
                assert await watched(late) == first[number + 1 :]


async def test_a_watcher_who_comes_in_the_middle_goes_on_with_what_happens():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}) as service:
        run_id = await service.start("words")
        await gate.reached.wait()
        async with service.events(f"/api/runs/{run_id}/events") as events:
            before = await until(events, lambda event: event.get("chunk") == "or ")
            gate.open.set()
            assert [event["chunk"] for event in await watched(events) if event["type"] == "chunk"] == ["not"]
        assert [event["chunk"] for event in before if event["type"] == "chunk"] == ["to ", "be ", "or "]


async def test_what_a_watcher_cannot_have_any_more_is_told_as_a_gap():
    async with served({"words": chain(Words())}) as service:
        run_id = await service.start("words")
        life = str((await service.stopped(run_id))["event"]).split("-")[0]
        for last in ("0badcafe-3", "-1", "", "x", "7", f"{life}-99", f"{life}-{'9' * 5000}", f"{life}--1", f"{life}-²"):
            headers = {"Last-Event-ID": last.encode()}
            async with service.events(f"/api/runs/{run_id}/events", headers=headers) as events:
                seen = await watched(events)
            assert (seen[0]["type"], seen[-1]) == ("gap", ended("finished")), last[:80]
            assert seen[1]["changes"]["run"] == {"status": "waiting"}


async def test_of_a_run_that_says_much_the_end_is_kept_and_the_rest_is_a_gap():
    async with served({"words": chain(Words("word " * 300))}, keep=5000) as service:
        run_id = await service.start("words")
        await service.stopped(run_id)
        async with service.events(f"/api/runs/{run_id}/events") as events:
            seen = await watched(events)
    assert [event["type"] for event in seen].count("gap") == 1
    assert seen[0]["type"] == "gap"
    assert 5 < len(seen) < 100
    numbers = [int(event["sse_id"].split("-")[1]) for event in seen[1:-1]]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]


async def test_after_a_restart_there_is_a_gap_and_then_the_end(tmp_path: Path):
    flows = {"words": chain(Words())}
    async with served(flows, tmp_path / "runs.db") as service:
        run_id = await service.start("words")
        async with service.events(f"/api/runs/{run_id}/events") as events:
            last = (await watched(events))[-2]["sse_id"]
    path, headers = f"/api/runs/{run_id}/events", {"Last-Event-ID": last}
    async with served(flows, tmp_path / "runs.db") as service, service.events(path, headers=headers) as events:
        gap, end = await watched(events)
    assert (gap["type"], end) == ("gap", ended("finished"))


async def test_a_browser_that_has_seen_the_end_is_told_not_to_come_back_until_the_run_goes_on(tmp_path: Path):
    flows = {"ask": chain(Ask(), Words(gate=(gate := Gate())))}
    async with served(flows, tmp_path / "runs.db") as service:
        run_id = await service.start("ask")
        path, headers = f"/api/runs/{run_id}/events", {"Last-Event-ID": (await service.ended(run_id))["sse_id"]}
        assert (await service.client.get(path, headers=headers)).status_code == 204
        await service.post(f"/api/runs/{run_id}/answer", value=1)
        await gate.reached.wait()
        async with service.events(path, headers=headers) as events:
            gate.open.set()
            assert (await watched(events))[-1] == ended("finished")
    async with served(flows, tmp_path / "runs.db") as service:
        assert (await service.client.get(path, headers=headers)).status_code == 204


async def test_a_browser_is_told_when_to_come_back_and_proxies_not_to_wait():
    async with served({"words": chain(Words())}) as service:
        run_id = await service.start("words")
        answer = await service.client.get(f"/api/runs/{run_id}/events")
        assert answer.text.startswith("retry: 1000\n\n")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")


async def test_a_silent_run_sends_heartbeats():
    node = Stopped()
    async with served({"flow": chain(node)}, heartbeat=0.01) as service:
        run_id = await service.start("flow")
        for path in (f"/api/runs/{run_id}/events", "/api/events"):
            async with service.events(path) as events, asyncio.timeout(PATIENCE):
                heartbeats = 0
                async for block in events:
                    heartbeats += block == b": \n\n"
                    if heartbeats == 3:
                        break


async def test_the_headers_of_a_stream_can_be_asked_for_alone():
    node = Stopped()
    async with served({"flow": chain(node)}) as service:
        run_id = await service.start("flow")
        for path in (f"/api/runs/{run_id}/events", "/api/events"):
            async with connected(service) as (reader, writer):
                await sent(writer, "HEAD", path, Connection="close")
                assert b"text/event-stream" in await asked(reader)
                assert await reader.read() == b""


class Many(AsyncNode):
    """Says more than any connection holds."""

    async def exec_async(self, prep_res: Any) -> Any:
        for _ in range(400):
            yield "x" * 25_000


async def test_a_watcher_who_does_not_read_holds_up_neither_the_run_nor_the_others():
    async with served({"many": chain(Many())}, keep=100_000_000) as service, connected(service) as (reader, writer):
        run_id = await service.start("many")
        await sent(writer, "GET", f"/api/runs/{run_id}/events")
        await asked(reader)  # the headers, and no more
        async with service.events(f"/api/runs/{run_id}/events") as events:
            seen = await watched(events)
        assert sum(event["type"] == "chunk" for event in seen) == 400
        assert seen[-1] == ended("finished")


# Started and watched in one request


async def test_a_run_is_started_and_watched_in_one_request():
    async with served({"words": chain(Words())}) as service:
        body = {"run_id": "名"}
        async with service.client.stream("POST", "/api/flows/words/stream", json=body) as answer:
            assert answer.headers["X-Run-Id"] == quote("名")
            text = (await answer.aread()).decode()
        assert text.endswith('data: {"type": "end", "status": "finished"}\n\n')
        assert (await service.get(f"/api/runs/{quote('名')}"))["status"] == "finished"


async def test_who_leaves_the_stream_that_started_a_run_stops_it():
    node = Stopped()
    async with served({"flow": chain(node)}) as service:
        async with service.events("/api/flows/flow/stream", "POST", json={"run_id": "1"}) as events:
            await until(events, lambda event: changes(event).get("run") == {"status": "running"})
            await node.reached.wait()
        async with asyncio.timeout(PATIENCE):
            await node.stopped.wait()
        state = await service.stopped("1")
        assert (state["status"], state["is_here"]) == ("interrupted", False)


async def test_who_leaves_before_the_first_event_stops_the_run_too():
    async with served({"flow": chain(Stopped())}) as service:
        async with connected(service) as (_, writer):
            await sent(writer, "POST", "/api/flows/flow/stream", b'{"run_id": "1"}', **JSON)
        async with asyncio.timeout(PATIENCE), service.events("/api/events?run=1") as events:
            await until(events, lambda event: event.get("status") == "interrupted")


async def test_who_leaves_while_the_run_waits_for_its_turn_frees_the_place():
    node, other = Stopped(), Words()
    async with served({"flow": chain(node), "words": chain(other)}, limit=1, waiting=1) as service:
        await service.post("/api/flows/flow/runs", 201, run_id="first")
        await node.reached.wait()
        async with service.events("/api/flows/words/stream", "POST", json={"run_id": "second"}) as events:
            await until(events, lambda event: changes(event).get("run") == {"status": "waiting"})
            for path in (STARTED, "/api/flows/words/stream"):
                assert (await service.client.post(path, json={})).status_code == 503
        assert (await service.stopped("second"))["status"] == "interrupted"
        await service.post(STARTED, 201, run_id="third")
        await service.post("/api/runs/first/stop")
        assert (await service.stopped("third"))["status"] == "finished"


async def test_who_only_watches_stops_nothing():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}) as service:
        run_id = await service.start("words")
        async with service.events(f"/api/runs/{run_id}/events") as events:
            await until(events, of_type("chunk"))
        gate.open.set()
        assert (await service.stopped(run_id))["status"] == "finished"


# All that a page shows, in one stream


async def test_a_page_gets_the_runs_the_state_and_what_happens_then():
    gate = Gate()
    async with served({"words": chain(Words(gate=gate))}) as service:
        run_id = await service.start("words")
        await gate.reached.wait()
        async with service.events(f"/api/events?run={run_id}") as events:
            runs, state = (await until(events, named("state")))[-2:]
            assert [run["run_id"] for run in runs["runs"]] == [run_id]
            assert (state["run_id"], state["nodes"]["AsyncFlow/Words"]["state"]) == (run_id, "running")
            gate.open.set()
            seen = await until(events, lambda event: event.get("type") == "status")
        assert [changes(event)["append"]["text"] for event in seen if "append" in changes(event)] == ["not"]
        assert seen[-1]["changes"]["run"]["status"] == "finished"


async def test_a_page_hears_of_other_runs_and_of_their_ends():
    async with served({"words": chain(Words())}) as service, service.events("/api/events") as events:
        await until(events, named("runs"))
        run_id = await service.start("words")
        seen = await until(events, lambda event: event.get("status") == "finished")
        assert {event["sse_name"] for event in seen} == {"run"}
        await service.client.delete(f"/api/runs/{run_id}")
        assert (await until(events, named("deleted")))[-1]["run_id"] == run_id


async def test_a_page_of_a_run_that_is_not_there_is_told():
    async with served({"words": chain(Words())}) as service, service.events("/api/events?run=nobody") as events:
        runs, missing = await until(events, named("missing"))
        assert (runs["sse_name"], missing["run_id"]) == ("runs", "nobody")


PROGRAM = """
import asyncio
from pocketflow.journal import Journal
from tests.serve.flows import Ask, chain
with Journal("runs.db") as journal:
    asyncio.run(journal.run_async(chain(Ask()), {}, run_id="elsewhere"))
"""


async def test_a_page_hears_of_the_runs_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs_module, "POLL", 0.05)
    async with served({"ask": chain(Ask())}, tmp_path / "runs.db") as service:
        async with service.events("/api/events?run=elsewhere") as events:
            await until(events, named("missing"))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                PROGRAM,
                cwd=tmp_path,
                env=environment(),
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                told = await until(events, lambda event: event.get("status") == "paused" and "nodes" in event)
            finally:
                await process.wait()
            assert told[-1]["nodes"]["AsyncFlow/Ask"]["state"] == "waiting"
        await service.post("/api/runs/elsewhere/answer", value=1)
        assert (await service.stopped("elsewhere"))["status"] == "finished"


async def test_a_journal_that_cannot_be_read_is_told_in_a_sentence_and_ends_streams_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with served({"words": chain(Words())}, tmp_path / "runs.db") as service:
        for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
            (tmp_path / name).write_bytes(b"damaged" * 3000)
        answer = await service.client.get("/api/runs")
        assert answer.status_code == 500
        assert "file is not a database" in answer.json()["error"]
        async with service.events("/api/events") as events:
            assert await watched(events) == []
    assert capsys.readouterr().err == ""
