"""The command serves until a signal ends it; whatever ends it, its runs are there again and go on."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.journal import server
from tests.serve.service import Command, command

FLOWS = """
import asyncio, time
from pathlib import Path
from pocketflow import AsyncFlow, AsyncNode, Flow, Node

def work():
    with open("worked", "a") as file:
        file.write("x")

class Work(AsyncNode):
    async def exec_async(self, prep_res):
        work()

class Wait(AsyncNode):
    async def exec_async(self, prep_res):
        while not Path("go").exists():
            await asyncio.sleep(0.01)

class Hold(Node):
    def exec(self, prep_res):
        work()
        while not Path("go").exists():
            time.sleep(0.01)

class Tick(Node):
    def exec(self, prep_res):
        work()
        if not Path("go").exists():
            time.sleep(0.05)
    def post(self, shared, prep_res, exec_res):
        shared["ticks"] = shared.get("ticks", 0) + 1
        return "again" if shared["ticks"] < 300 else "done"

first, tick = Work(), Tick()
first >> Wait()
tick - "again" >> tick
tick - "done" >> Node()
waits, holds, ticks = AsyncFlow(first), Flow(Hold()), Flow(tick)
"""
SERVED = ["waits=flows.py:waits", "holds=flows.py:holds", "ticks=flows.py:ticks", "--journal", "runs.db"]
BY_SIGNAL = pytest.mark.parametrize(("by", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])


def after(setup: str) -> tuple[str, str]:
    """The command, as a program that does something before."""
    return "-c", f"import sys; {setup}\nfrom pocketflow.__main__ import main; sys.exit(main())"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    return tmp_path


def statuses(served: Command) -> dict[str, str]:
    return {run["run_id"]: run["status"] for run in served.get("/api/runs")["runs"]}


def resumed(folder: Path, port: str, *run_ids: str) -> dict[str, str]:
    """How runs end that a new server at the same port resumes, one after the other."""
    (folder / "go").touch()
    with command(folder, *SERVED, "--port", port) as served:
        assert statuses(served) == dict.fromkeys(run_ids, "interrupted")
        for run_id in run_ids:
            served.post(f"/api/runs/{run_id}/resume")
        ended = {run["run_id"]: run["error"] or run["status"] for run in map(served.stopped, run_ids)}
        assert served.ended(signal.SIGTERM) == (143, "stopped\n")
        return ended


def test_the_command_says_what_it_serves_and_where(folder: Path):
    with command(folder, "flows.py:waits", "\x1b]0;x\x07=flows.py:holds", "--host", "localhost") as served:
        assert re.fullmatch(r"serving flows:waits, \\x1b\]0;x\\x07 on http://127.0.0.1:\d+/", served.serving), (
            served.serving
        )
        slugs = [flow["slug"] for flow in served.get("/api/flows")["flows"]]
        assert slugs == ["flows-waits", "0-x"]


def test_it_serves_on_ipv6_too_and_asks_for_the_token(folder: Path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with command(folder, "flows.py:waits", "--host", "::1", POCKETFLOW_TOKEN="t0ken") as served:
        assert re.fullmatch(r"serving flows:waits on http://\[::1\]:\d+/", served.serving)
        assert served.client.get("/api/runs").status_code == 401
        assert served.client.get("/api/runs", headers={"Authorization": "Bearer t0ken"}).status_code == 200


@BY_SIGNAL
def test_a_signal_stops_the_runs_tells_their_watchers_and_ends_the_command_in_order(
    folder: Path, by: signal.Signals, status: int
):
    """One run waits in a step, and one for its turn; both go on in the next server, at the same port at once."""
    with command(folder, *SERVED, "--limit", "1") as served:
        with (
            served.begun("waits", "a", "Wait") as events,
            served.watching("/api/events?run=a") as page,
            served.client.stream("GET", "/api/events"),  # somebody who does not read
        ):
            served.start("waits", "b")
            assert statuses(served) == {"a": "running", "b": "waiting"}
            assert served.ended(by) == (status, "stopped\n")
            assert [*events][-1] == {"type": "end", "status": "interrupted"}
            told = [run for run in page if run.get("run_id") in ("a", "b") and "nodes" not in run]
            assert {run["run_id"]: run["status"] for run in told} == {"a": "interrupted", "b": "interrupted"}
        port = served.port
    assert resumed(folder, port, "b", "a") == {"a": "finished", "b": "finished"}
    assert (folder / "worked").read_text() == "xx"


def test_a_sync_flow_ends_after_the_step_that_runs_and_no_step_runs_twice(folder: Path):
    with command(folder, *SERVED) as served:
        with served.begun("ticks", "a", "Tick") as events:
            assert served.ended(signal.SIGTERM) == (143, "stopped\n")
            assert [*events][-1] == {"type": "end", "status": "interrupted"}
        port = served.port
    assert 0 < len((folder / "worked").read_text()) < 300
    assert resumed(folder, port, "a") == {"a": "finished"}
    assert len((folder / "worked").read_text()) == 300


@BY_SIGNAL
def test_a_step_that_does_not_end_ends_with_the_process_which_names_its_run(
    folder: Path, by: signal.Signals, status: int
):
    impatient = after("from pocketflow.serve import Runs; Runs.__init__.__kwdefaults__['grace'] = 0.3")
    with command(folder, *SERVED, program=impatient) as served:
        with served.begun("holds", "a", "Hold") as events, served.begun("waits", "b", "Wait") as others:
            assert served.ended(by) == (status, "a: a step did not stop in time; resume the run later\n")
            assert [*events][-1]["type"] == "end"
            assert [*others][-1] == {"type": "end", "status": "interrupted"}
        port = served.port
    assert resumed(folder, port, "b", "a") == {"a": "finished", "b": "finished"}


def test_after_a_kill_every_run_is_there_again_also_those_that_waited(folder: Path):
    with command(folder, *SERVED, "--limit", "1") as served:
        with served.begun("waits", "a", "Wait"):
            served.start("waits", "b")
            served.start("holds", "c")
            assert served.ended(signal.SIGKILL) == (-9, "")
        port = served.port
    assert resumed(folder, port, "c", "b", "a") == {"a": "finished", "b": "finished", "c": "finished"}
    assert (folder / "worked").read_text() == "xxx"


def test_a_page_that_stays_open_goes_on_with_the_next_server(folder: Path):
    """It connects again, and gets the runs and the state anew."""
    with command(folder, *SERVED) as served, served.begun("waits", "a", "Wait"):
        served.ended(signal.SIGKILL)
    with command(folder, *SERVED, "--port", served.port) as again, again.watching("/api/events?run=a") as page:
        runs, state = next(page), next(page)
        assert [run["status"] for run in runs["runs"]] == ["interrupted"]
        assert state["nodes"]["AsyncFlow/Work"]["state"] == "done"


def test_a_command_that_a_script_started_in_the_background_is_ended_by_sigterm(folder: Path):
    """Shells have such a command ignore Ctrl-C."""
    background = after("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    with command(folder, *SERVED, program=background) as served:
        assert served.ended(signal.SIGTERM) == (143, "stopped\n")


def test_without_a_journal_nothing_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "temporary").mkdir()
    program = after("import tempfile; tempfile.tempdir = 'temporary'")
    with command(folder, "waits=flows.py:waits", program=program) as served:
        served.start("waits", "a")
        assert [*(folder / "temporary").iterdir()]
        assert served.ended(signal.SIGTERM) == (143, "stopped\n")
    assert [*(folder / "temporary").iterdir()] == []


def test_runs_are_kept_in_postgresql_too(folder: Path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if server.programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with server.running("fsync=off") as database:
        words = ["flows.py:waits", "--journal", database.schema()]
        with command(folder, *words) as served, served.begun("flows-waits", "a", "Wait"):
            served.ended(signal.SIGKILL)
        (folder / "go").touch()
        with command(folder, *words) as served:
            assert statuses(served) == {"a": "interrupted"}
            served.post("/api/runs/a/resume")
            assert served.stopped("a")["status"] == "finished"
            assert served.ended(signal.SIGTERM) == (143, "stopped\n")
    assert (folder / "worked").read_text() == "x"
