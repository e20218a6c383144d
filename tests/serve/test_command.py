"""What `python -m pocketflow serve` takes and refuses, before it serves anything."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pocketflow.__main__ import main
from tests.cookbook.runner import ROOT
from tests.processes import finished

FLOWS = """
from pocketflow import Flow, Node
flow, other = Flow(Node()), Flow(Node())
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Serve = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "broken.py").write_text("import nowhere\n")
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    (tmp_path / "text.db").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POCKETFLOW_TOKEN", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    return tmp_path


@pytest.fixture
def serve(folder: Path, capsys: pytest.CaptureFixture[str]) -> Serve:
    """`serve WORDS`, in this process, of what ends before it serves."""

    def run(*words: str) -> Done:
        try:
            code = main(["serve", *words])
        except SystemExit as end:  # of the parser
            code = int(str(end.code))
        return Done(code, *capsys.readouterr())

    return run


def program(folder: Path, code: str) -> Done:
    """A program in a process of its own."""
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = finished([sys.executable, "-c", code], cwd=folder, env=env)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_names_the_install_command(folder: Path, missing: str):
    code = f"import sys; sys.modules[{missing!r}] = None; from pocketflow.__main__ import main; "
    code += "sys.exit(main(['serve', 'flows.py:flow', '--port', '0']))"
    if missing == "uvicorn":
        pytest.importorskip("starlette", reason="needs the serve extra: pip install -e '.[serve]'")
    done = program(folder, code)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.endswith("pip install starlette uvicorn\n")


def test_no_other_command_and_no_import_of_the_package_loads_a_web_framework(folder: Path):
    code = (
        "import sys, pocketflow, pocketflow.__main__ as cli; "
        "cli.main(['list', 'flows.py']); cli.main(['run', 'flows.py:flow', '--journal', 'r.db', '--run-id', '1']); "
        "cli.main(['draw', 'flows.py:flow']); print([it for it in ('starlette', 'uvicorn') if it in sys.modules])"
    )
    assert program(folder, code).out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "", "127.1"])
def test_who_lets_others_in_has_to_set_a_token(serve: Serve, host: str):
    done = serve("flows.py:flow", "--host", host)
    assert done == (2, "", f"--host {host} is reachable from other machines: set a token in POCKETFLOW_TOKEN\n")


def test_a_token_may_come_from_the_environment_and_is_checked_as_one_of_the_command(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("uvicorn", reason="needs the serve extra: pip install -e '.[serve]'")
    monkeypatch.setenv("POCKETFLOW_TOKEN", "a b")
    assert serve("flows.py:flow", "--host", "0.0.0.0", "--port", "0") == (
        2, "", "the token has to be ASCII without spaces, and not empty\n",
    )  # fmt: skip
    assert "a b" not in serve("--help").out


REFUSED = [
    (["nofile.py"], "nofile.py: no such file"),
    (["flows.py"], "flows.py: name one of its flows, as in flows.py:flow: flow, other"),
    (["flows.py:nothing"], "flows.py:nothing"),
    (["broken.py:flow"], "broken.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    (["flows.py:flow", "flows.py:flow"], "two flows are called flows: write NAME=flows.py:flow for one"),
    (["a=flows.py:flow", "a=flows.py:other"], "two flows are called a: write NAME=flows.py:other for one"),
    (["flows.py:flow", "--token", ""], "the token has to be ASCII without spaces, and not empty"),
    (["flows.py:flow", "--token", "", "--host", "0.0.0.0"], "the token has to be ASCII without spaces, and not empty"),
    (["flows.py:flow", "--token", "a b"], "the token has to be ASCII without spaces, and not empty"),
    (["flows.py:flow", "--port", "x"], "argument --port: x: write a number up to 65535"),
    (["flows.py:flow", "--port", "65536"], "argument --port: 65536: write a number up to 65535"),
    (["flows.py:flow", "--port", "-1"], "argument --port: "),
    (["flows.py:flow", "--limit", "0"], "argument --limit: 0: at least one has to run"),
    (["flows.py:flow", "--limit", "x"], "argument --limit: x: write a whole number"),
    (["flows.py:flow", "--waiting", "-1"], "argument --waiting: -1: write a whole number"),
    (["flows.py:flow", "--journal", "damaged.db"], "damaged.db: file is not a database"),
    (["flows.py:flow", "--journal", "text.db"], "text.db: file is not a database"),
    (["flows.py:flow", "--journal", "nowhere/runs.db"], "its folder has to exist"),
    ([], "the following arguments are required: [NAME=]TARGET"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_cannot_be_served_is_one_line_and_exits_2(serve: Serve, words: list[str], message: str):
    pytest.importorskip("uvicorn", reason="needs the serve extra: pip install -e '.[serve]'")
    done = serve(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_a_port_that_is_taken_is_one_line_and_exits_2(serve: Serve):
    pytest.importorskip("uvicorn", reason="needs the serve extra: pip install -e '.[serve]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve("flows.py:flow", "--port", str(port))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"127.0.0.1:{port}: " in done.err
    assert "in use" in done.err


def test_a_newcomer_is_told_how_to_serve(serve: Serve):
    done = serve("--help")
    assert done.code == 0
    for word in ("serve hello.py:flow --journal runs.db", "POCKETFLOW_TOKEN", "--waiting", "127.0.0.1", "resumed"):
        assert word in done.out
