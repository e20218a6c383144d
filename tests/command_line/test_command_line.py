"""The command line, in a folder with a user's own files; as a program where the process is the point."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pocketflow.__main__ import PROGRAM, main
from tests.cookbook.runner import ROOT
from tests.processes import finished, started

pytestmark = pytest.mark.filterwarnings("always::pocketflow.FlowWarning")

FLOWS = """
import asyncio, os, signal, sys, warnings
from typing import Literal
from pocketflow import *
from pocketflow.journal import JournalError, pause

class Greet(Node):
    def post(self, shared, prep_res, exec_res):
        print("a node prints")
        shared["greeting"] = f"Hello, {shared['name']}!"

class Fail(Node):
    def exec(self, prep_res):
        raise ValueError("no such page")

class Own(Node):
    def exec(self, prep_res):
        raise JournalError("a journal of the node's own")

class Decide(Node):
    def post(self, shared, prep_res, exec_res) -> Literal["search", "answer"]:
        return "answer"

class Count(AsyncNode):
    async def exec_async(self, prep_res):
        for number in range(3):
            yield number

class Break(AsyncNode):
    async def exec_async(self, prep_res):
        yield 0
        raise ValueError("no such page")

class Work(Node):
    def exec(self, prep_res):
        print("worked", flush=True)

class Wait(AsyncNode):
    async def exec_async(self, prep_res):
        print("waiting", flush=True)
        await asyncio.wait_for(asyncio.Event().wait(), 60)

class End(AsyncNode):
    async def exec_async(self, prep_res):
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
        await asyncio.wait_for(asyncio.Event().wait(), 60)

class Hang(Node):
    def exec(self, prep_res):
        print("waiting", flush=True)
        sys.stdin.readline()

class Ask(AsyncNode):
    name = "Ask"
    async def exec_async(self, prep_res):
        await asyncio.sleep(0)  # so that the other branch has begun, too
        return pause(f"{self.name}: may it go out?")
    async def post_async(self, shared, prep_res, answer):
        shared[self.name] = answer
        return "sent" if answer else "kept"

class Forever(AsyncNode):
    async def exec_async(self, prep_res):
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0)
        finally:
            print("stopped", file=sys.stderr)

class Odd(Node):
    def post(self, shared, prep_res, exec_res):
        shared.update(a_set={1}, number=float("nan"), me=shared, key={(1, 2): "名"}, half="\\ud800")

class Lost(Node):
    def post(self, shared, prep_res, exec_res):
        return "lost"

def asked(name):
    ask = Ask()
    ask.name = name
    return ask

flow = Flow(Greet())
odd, fails, node, count, forever = Flow(Odd()), Flow(Fail()), Greet(), AsyncFlow(Count()), AsyncFlow(Forever())
hangs, breaks, work = Flow(Hang()), AsyncFlow(Break()), Work()
work >> Wait()
slow, ends = AsyncFlow(work), AsyncFlow(End())
decide = Decide()
decide - "serach" >> Greet()
typo = Flow(decide)
lost = Lost()
lost >> Greet()
loses = Flow(lost)
first = Work()
first >> Ask()
review, two = AsyncFlow(first), AsyncFlow(AsyncParallelFlow(asked("A"), asked("B")))

class Foreign:
    successors = {}
    def _run(self, shared):
        shared["foreign"] = True
    def set_params(self, params): ...

def make_flow():
    return Flow(Greet())

def make_with(model):
    return flow

async def make_later():
    return flow

def make_none():
    return None

def make_wrong():
    return Flow(Greet)

foreign, number, own = Foreign(), 5, Flow(Own())
"""
PIPELINE = """
import logging

def greeting(word):
    logging.getLogger("pipe").debug("greeting")
    return f"{word}, "

def full_greeting(greeting, name):
    return greeting + name + "!"
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONUTF8": "1"}


def files(folder: Path) -> None:
    (folder / "flows.py").write_text(FLOWS)
    (folder / "hello_world.py").write_text(PIPELINE)
    (folder / "setup.py").write_text("def word():\n    return 'Good day'\n")


@pytest.fixture
def pf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, in a folder with flows.py and a pipeline."""
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)

    def run(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main(words)
        except SystemExit as end:  # of the parser
            code = end.code
        finally:
            for name in set(sys.modules) - known:
                if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
                    del sys.modules[name]
        return Done(code, *capsys.readouterr())

    return run


@contextlib.contextmanager
def unset_logging() -> Iterator[None]:
    """Logging as it is where a program starts; pytest has set it up for itself."""
    handlers, level = logging.root.handlers, logging.root.level
    logging.root.handlers = []
    try:
        yield
    finally:
        logging.root.handlers = handlers
        logging.root.setLevel(level)


def answer_command(err: str) -> list[str]:
    """The words of the command that a paused run tells, after `python -m pocketflow`."""
    [command] = re.findall(r"answer with: (?:python -m )?pocketflow (.*)", err)
    return shlex.split(command)


def resume_command(err: str) -> list[str]:
    [command] = re.findall(r"resume with: (?:python -m )?pocketflow (.*)", err)
    return shlex.split(command)


# run


def test_the_store_goes_to_stdout_as_json_and_what_nodes_print_to_stderr(pf: Run):
    done = pf("run", "flows.py:flow", "--set", "name=Ada")
    assert (done.code, done.err) == (0, "a node prints\n")
    assert json.loads(done.out) == {"name": "Ada", "greeting": "Hello, Ada!"}


@pytest.mark.parametrize(
    "target", ["flows:flow", "flows.py:make_flow", "./flows.py:flow", "flows.py:node", "flows:Greet"]
)
def test_a_target_is_a_flow_a_node_or_what_makes_one_in_a_file_or_a_module(pf: Run, target: str):
    assert json.loads(pf("run", target, "--set", "name=Ada").out)["greeting"] == "Hello, Ada!"


def test_a_node_of_another_make_is_a_target_too(pf: Run):
    assert json.loads(pf("run", "flows:foreign").out) == {"foreign": True}


def test_a_file_elsewhere_imports_what_lies_beside_it(pf: Run, tmp_path: Path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "json.py").write_text("from beside import flow")
    (tmp_path / "app" / "beside.py").write_text("from pocketflow import Flow, Node\nflow = Flow(Node())")
    assert pf("run", "app/json.py:flow") == (0, "{}\n", "")


def test_values_are_json_where_they_read_as_such_and_win_over_the_file(pf: Run, tmp_path: Path):
    (tmp_path / "store.json").write_text('{"name": "Ada", "kept": null}')
    sets = ["name=Bob", "n=3", "list=[1, 2]", "text=[1, 2", 'quoted="3"', "nan=NaN", "equation=a=b", "empty="]
    done = pf("run", "flows.py:flow", "--shared", "store.json", *(word for value in sets for word in ("--set", value)))
    assert json.loads(done.out) == {
        "name": "Bob", "kept": None, "n": 3, "list": [1, 2], "text": "[1, 2", "quoted": "3", "nan": "NaN",
        "equation": "a=b", "empty": "", "greeting": "Hello, Bob!",
    }  # fmt: skip


def test_the_store_can_come_from_stdin(pf: Run):
    done = pf("run", "flows.py:flow", "--shared", "-", stdin='{"name": "Ada"}')
    assert json.loads(done.out)["greeting"] == "Hello, Ada!"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_json_does_not_know_is_printed_as_its_repr_whatever_the_encoding(
    pf: Run, monkeypatch: pytest.MonkeyPatch, encoding: str
):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
    assert pf("run", "flows.py:odd").code == 0
    assert json.loads(printed.getvalue().decode(encoding)) == {
        "a_set": "{1}", "number": "nan", "me": "...", "key": {"(1, 2)": "名"}, "half": "\ud800",
    }  # fmt: skip


def test_the_last_action_is_told_on_stderr_and_warnings_take_one_line(pf: Run):
    assert pf("run", "flows.py:loses") == (
        0, "{}\n", "warning: Flow ends: 'lost' not found in ['default'], the actions of Lost\naction: lost\n",
    )  # fmt: skip


def test_a_failing_flow_exits_1_with_the_error_and_where_it_arose(pf: Run):
    error = "ValueError: no such page\n  in Fail\n  in Flow\n"
    assert pf("run", "flows.py:fails") == (1, "", error)
    done = pf("run", "flows.py:fails", "--traceback")
    assert done.code == 1
    assert 'raise ValueError("no such page")' in done.err


def test_a_journal_error_of_a_node_is_a_failure_like_any_other(pf: Run):
    done = pf("run", "flows.py:own")
    assert done.code == 1
    assert done.err.endswith("JournalError: a journal of the node's own\n  in Own\n  in Flow\n")


def test_events_are_streamed_as_json_lines(pf: Run):
    done = pf("run", "flows.py:count", "--stream")
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in done.out.splitlines()]
    kinds = ["node_start", "node_start", "chunk", "chunk", "chunk", "node_end", "node_end"]
    assert [event["type"] for event in events] == kinds
    assert [event["chunk"] for event in events if event["type"] == "chunk"] == [0, 1, 2]


def test_a_stream_of_a_failing_flow_ends_with_its_error(pf: Run):
    done = pf("run", "flows.py:breaks", "--stream")
    assert [json.loads(line)["type"] for line in done.out.splitlines()] == [
        "node_start", "node_start", "chunk", "node_error",
    ]  # fmt: skip
    assert (done.code, done.err.splitlines()[0]) == (1, "ValueError: no such page")


def test_a_reader_that_goes_away_ends_a_stream_without_a_traceback(pf: Run, tmp_path: Path):
    command = [sys.executable, "-m", "pocketflow", "run", "flows.py:forever", "--stream"]
    pipe = subprocess.PIPE
    with started(command, cwd=tmp_path, env=environment(), stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "node_start"
        process.stdout.close()
        assert process.stderr.read() == "stopped\n"
        assert process.wait(60) == 141


def test_a_full_disk_at_the_other_end_of_stdout_is_one_line(pf: Run, tmp_path: Path):
    command = [sys.executable, "-m", "pocketflow", "draw", "flows.py:flow"]
    with open("/dev/full", "w") as full:
        options = {"capture_output": False, "stdout": full, "stderr": subprocess.PIPE}
        done = finished(command, cwd=tmp_path, env=environment(), **options)
    assert (done.returncode, done.stderr) == (1, "stdout: No space left on device\n")


def test_progress_and_a_trace_are_made_also_when_the_flow_fails(pf: Run, tmp_path: Path):
    done = pf("run", "flows.py:fails", "--progress", "--trace", "run.json")
    assert done.code == 1
    assert "Fail" in done.err.split("ValueError")[0]
    events = json.loads((tmp_path / "run.json").read_text())
    assert "Fail" in json.dumps(events)


def test_the_page_of_a_trace_is_written(pf: Run, tmp_path: Path):
    assert pf("run", "flows.py:flow", "--set", "name=Ada", "--trace", "run.html").code == 0
    assert "Greet" in (tmp_path / "run.html").read_text()


# Dataflows


def test_names_of_modules_make_a_dataflow(pf: Run):
    words = ["run", "hello_world", "--with", "setup", "--final-vars", "full_greeting", "--reload", "--set", "name=Ada"]
    assert pf(*words) == (0, '{\n  "full_greeting": "Good day, Ada!"\n}\n', "")


@pytest.mark.parametrize(("level", "told"), [("DEBUG", "DEBUG pipe: greeting\n"), ("INFO", "")])
def test_messages_of_nodes_are_shown_at_the_level_asked_for(pf: Run, level: str, told: str):
    with unset_logging():
        done = pf("run", "hello_world", "--with", "setup", "--set", "name=Ada", "--log-level", level)
    assert "".join(line for line in done.err.splitlines(keepends=True) if "asyncio" not in line) == told


def test_without_final_vars_all_values_are_printed(pf: Run):
    assert json.loads(pf("run", "hello_world", "setup", "--set", "name=Ada").out) == {
        "word": "Good day", "greeting": "Good day, ", "full_greeting": "Good day, Ada!",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hello_world", "setup"], "full_greeting needs 'name'"),
        (["hello_world", "--set", "greeting=Hi"], "the input 'greeting' is also stored by a task: rename one of them"),
        (["hello_world", "--final-vars", "full_greting"], "did you mean 'full_greeting'?"),
        (["helo_world"], "no module 'helo_world' in "),
        (["hello_world", "broken"], "broken.py:2: ZeroDivisionError: division by zero"),
        (["hello_world.py"], "hello_world.py: no flow there"),
        (["flows.py:flow", "--with", "setup"], "flows.py:flow is a flow: "),
    ],
)
def test_a_dataflow_that_cannot_run_is_one_line(pf: Run, tmp_path: Path, words: list[str], message: str):
    (tmp_path / "broken.py").write_text("x = 1\nx / 0\n")
    done = pf("run", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


# What cannot be used


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["flows.py:flwo"],
            "flows.py:flwo: there is no 'flwo' (did you mean 'flow'?); flows and nodes there: flow, ",
        ),
        (["nofile.py:flow"], "nofile.py: no such file"),
        (["nomodule:flow"], "no module 'nomodule' in "),
        ([""], "'' is not the name of a module"),
        (["/"], "no module '/' in "),
        (["flows.py:number"], "flows.py:number is 5, which is neither a flow nor a node"),
        (["flows.py:make_none"], "flows.py:make_none is None, which is neither a flow nor a node"),
        (["flows.py:make_with"], "flows.py:make_with needs arguments: name a function that makes the flow without any"),
        (["flows.py:make_later"], "flows.py:make_later is async: name a plain function that makes the flow"),
        (["flows.py:make_wrong"], "TypeError: a class is not a node: write "),
        (["zero.py:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["zero:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["uses_zero.py:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["uses_json.py:flow"], "uses_json.py:2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (["syntax.py:flow"], "syntax.py:2: SyntaxError: "),
        (["leaves.py:flow"], "leaves.py:1: SystemExit: bye"),
        (["flows.py:flow", "--set", "name"], "--set name: write --set key=value"),
        (["flows.py:flow", "--shared", "none.json"], "none.json: No such file or directory"),
        (["flows.py:flow", "--shared", "zero.py"], "zero.py is not JSON: "),
        (["flows.py:flow", "--shared", "list.json"], "list.json: write a JSON object"),
        (["flows.py"], "flows.py: name one of its flows, as in flows.py:flow: flow, odd, fails, "),
        (["flows.py:flow", "--shared", "deep.json"], "deep.json is nested too deeply"),
        (["flows.py:flow", "--trace", "run.txt"], "--trace run.txt: write a name that ends in .html or .json"),
        (["flows.py:flow", "--trace", "no/run.html"], "--trace no/run.html: there is no folder no"),
        (["flows.py:flow", "--journal", "r.db"], "--journal WHERE and --run-id ID belong together"),
        (["flows.py:flow", "--run-id", "1"], "--journal WHERE and --run-id ID belong together"),
        (["flows.py:flow", "--answer", "1"], "--answer, --takeover and --allow-changes need --journal WHERE"),
        (["flows.py:flow", "--journal", "r.db", "--run-id", "1", "--answer", "1"], "r.db: no such file"),
        (["flows.py:flow", "--at", "Flow"], "--at PATH says which question --answer VALUE is for"),
        (["flows.py:flow", "--wat"], f"unrecognized arguments: --wat; see {PROGRAM} --help"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exits_2(pf: Run, tmp_path: Path, words: list[str], message: str):
    files = {
        "zero.py": "import json\nx = 1\nx / 0\n", "uses_zero.py": "import zero\n",
        "uses_json.py": "import json\njson.loads('x')\n", "syntax.py": "x = 1\ndef (\n",
        "leaves.py": "raise SystemExit('bye')\n", "list.json": "[]", "deep.json": "[" * 100_000,
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = pf("run", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert not (tmp_path / "r.db").exists()


def test_an_error_at_import_has_its_traceback_when_asked_for(pf: Run, tmp_path: Path):
    (tmp_path / "zero.py").write_text("x = 1\nx / 0\n")
    done = pf("run", "zero.py:flow", "--traceback")
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err


# Journals


def test_a_run_that_waits_says_how_to_answer_and_goes_on_with_it(pf: Run):
    done = pf("run", "flows.py:review", "--set", "topic=tea", "--journal", "my runs.db", "--run-id", "tea 1")
    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines()[:2] == ["worked", 'AsyncFlow/1:Ask/exec asks "Ask: may it go out?"']
    assert pf("runs", "my runs.db").out == (
        'paused      tea 1\n            AsyncFlow/1:Ask/exec asks "Ask: may it go out?"\n'
    )
    done = pf(*(word.replace("VALUE", "true") for word in answer_command(done.err)))
    assert (done.code, done.err) == (0, "action: sent\n")
    assert json.loads(done.out) == {"topic": "tea", "Ask": True}


def test_a_run_that_still_waits_asks_again_and_an_answer_too_many_is_refused(pf: Run):
    words = ["run", "flows.py:review", "--journal", "r.db", "--run-id", "1"]
    assert [pf(*words).code, pf(*words).code, pf(*words, "--answer", "no").code] == [3, 3, 0]
    again = pf(*words, "--answer", "no")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert json.loads(pf(*words).out) == {"Ask": "no"}  # finished: only told


def test_where_several_questions_wait_the_answer_says_which(pf: Run):
    words = ["run", "flows.py:two", "--journal", "r.db", "--run-id", "1"]
    first = "AsyncFlow/0:AsyncParallelFlow[0]/0:A/exec"
    assert pf(*words).code == 3
    unclear = pf(*words, "--answer", "1")
    assert unclear.code == 2
    assert f'{first} asks "A: may it go out?"' in unclear.err
    assert f"--at '{first}' --answer VALUE" in unclear.err
    assert pf(*words, "--answer", "1", "--at", first).code == 3
    assert json.loads(pf(*words, "--answer", "2").out) == {"A": 1, "B": 2}


def test_the_history_of_a_run_is_listed(pf: Run):
    pf("run", "flows.py:flow", "--set", "name=Ada", "--journal", "r.db", "--run-id", "1")
    history = pf("runs", "r.db", "1").out.splitlines()
    assert "   4 node   Flow/0:Greet" in history
    assert pf("runs", "r.db").out == "finished    1\n"


def test_the_history_of_a_run_says_what_was_asked_and_answered_and_where_it_failed(pf: Run):
    words = ["run", "flows.py:review", "--journal", "r.db", "--run-id", "1"]
    pf(*words), pf(*words, "--answer", "no")
    pf("run", "flows.py:fails", "--journal", "r.db", "--run-id", "2")
    asked, failed = (pf("runs", "r.db", run_id).out for run_id in ("1", "2"))
    assert ' pause  AsyncFlow/1:Ask/exec asks "Ask: may it go out?"\n' in asked
    assert ' answer AsyncFlow/1:Ask/exec -> "no"\n' in asked
    assert [line[12:] for line in asked.splitlines() if " status " in line] == ["-> running", "-> paused", "-> running"]
    assert failed.splitlines()[-1] == "   3 status Flow/0:Fail/exec -> failed"


def test_a_fork_prints_its_id_alone_and_a_deleted_run_is_gone(pf: Run):
    words = ["run", "flows.py:flow", "--journal", "r.db", "--run-id"]
    pf(*words, "1", "--set", "name=Ada")
    fork = pf("runs", "r.db", "1", "--fork", "Flow/prep")
    assert (fork.code, fork.err, fork.out.count("\n")) == (0, "", 1)
    assert pf(*words, fork.out.strip()).code == 0
    assert pf("runs", "r.db", "1", "--delete") == (0, "", "")
    assert pf("runs", "r.db").out == f"finished    {fork.out}"
    assert pf("runs", "r.db", fork.out.strip(), "--fork", "2").code == 0
    assert pf("runs", "r.db", "--delete") == (2, "", "--fork and --delete need a RUN_ID\n")


def test_a_run_is_not_forked_and_deleted_at_once(pf: Run):
    pf("run", "flows.py:flow", "--set", "name=Ada", "--journal", "r.db", "--run-id", "1")
    both = pf("runs", "r.db", "1", "--fork", "2", "--delete")
    assert (both.code, both.out, both.err.count("\n")) == (2, "", 1)
    assert pf("runs", "r.db").out == "finished    1\n"


def test_a_run_without_a_name_is_refused(pf: Run):
    done = pf("run", "flows.py:flow", "--journal", "r.db", "--run-id", "")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--run-id: it is empty: write the name of a run" in done.err


def test_a_failed_run_says_how_to_resume_it(pf: Run):
    done = pf("run", "flows.py:fails", "--journal", "r.db", "--run-id", "1")
    assert done.code == 1
    assert pf(*resume_command(done.err)) == done


def test_a_journaled_dataflow_resumes_and_streams_too(pf: Run):
    words = ["run", "hello_world", "setup", "--final-vars", "full_greeting", "--journal", "r.db", "--run-id", "1"]
    result = pf(*words, "--set", "name=Ada").out
    assert json.loads(result) == {"full_greeting": "Good day, Ada!"}
    assert pf(*words).out == result
    events = pf(*words[:-1], "2", "--set", "name=Ada", "--stream").out.splitlines()
    assert [json.loads(event)["type"] for event in events].count("node_end") == 4


@pytest.mark.parametrize("words", [["none.db"], ["none.db", "1"], ["flows.py"], ["r.db", "2"], ["r.db", ""]])
def test_runs_that_cannot_be_listed_are_one_line(pf: Run, tmp_path: Path, words: list[str]):
    pf("run", "flows.py:flow", "--set", "name=Ada", "--journal", "r.db", "--run-id", "1")
    before = (tmp_path / "flows.py").read_bytes()
    done = pf("runs", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "none.db").exists()
    assert (tmp_path / "flows.py").read_bytes() == before


def test_a_graph_that_changed_is_refused_unless_allowed(pf: Run, tmp_path: Path):
    words = ["run", "flows.py:fails", "--journal", "r.db", "--run-id", "1"]
    pf(*words)
    (tmp_path / "flows.py").write_text(FLOWS + "\nfails = Flow(Greet())\n")
    assert pf(*words).code == 2
    assert "KeyError: 'name'" in pf(*words, "--allow-changes").err


# Ctrl-C


@contextlib.contextmanager
def waiting(tmp_path: Path, *words: str, shell: Sequence[str] = ()) -> Iterator[Any]:
    """A run in which a node prints to stderr that it waits."""
    command, pipe = [*shell, sys.executable, "-u", "-m", "pocketflow", "run", *words], subprocess.PIPE
    process: Any
    with started(command, cwd=tmp_path, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        yield process


def interrupted(tmp_path: Path, *runs: list[str], by: signal.Signals = signal.SIGINT) -> list[Done]:
    """Press Ctrl-C in runs beside each other, in each when a node waits."""
    done = []
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(waiting(tmp_path, *words)) for words in runs]
        for process in begun:
            told = list(itertools.takewhile(lambda line: line != "waiting\n", process.stderr))
            process.send_signal(by)
            out, err = process.communicate(timeout=60)
            done.append(Done(process.returncode, out, "".join(told) + err))
    return done


def test_ctrl_c_exits_130_in_one_line(pf: Run, tmp_path: Path):
    runs = [[f"flows.py:{flow}", "--trace", f"{flow}.json"] for flow in ("hangs", "slow")]
    for done in interrupted(tmp_path, *runs):
        assert (done.code, done.out, done.err.splitlines()[-1]) == (130, "", "interrupted")
        assert "Traceback" not in done.err
    assert (tmp_path / "hangs.json").exists()
    assert (tmp_path / "slow.json").exists()


def test_sigterm_ends_a_run_in_order_with_its_trace_written_and_the_run_resumable(pf: Run, tmp_path: Path):
    flows = ("hangs", "slow")
    runs = [[f"flows.py:{it}", "--trace", f"{it}.json", "--journal", "r.db", "--run-id", it] for it in flows]
    for done in interrupted(tmp_path, *runs, by=signal.SIGTERM):
        assert (done.code, done.out) == (143, "")
        assert "Traceback" not in done.err
        assert resume_command(done.err)
    for flow in flows:
        assert (tmp_path / f"{flow}.json").exists()
        assert f"interrupted {flow}\n" in pf("runs", "r.db").out


CTRL_C_IGNORED = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # as shells have it for what they start with &


def test_sigterm_ends_a_run_that_a_script_started_in_the_background(pf: Run, tmp_path: Path):
    with waiting(tmp_path, "flows.py:hangs", shell=CTRL_C_IGNORED) as process:
        assert "waiting\n" in process.stderr
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("", "interrupted\n")
        assert process.returncode == 143


def test_sigterm_cancels_an_async_run_where_it_waits_also_in_the_background(pf: Run, tmp_path: Path):
    with waiting(tmp_path, "flows.py:ends", shell=CTRL_C_IGNORED) as process:
        assert process.communicate(timeout=20) == ("", "went on\ninterrupted\n")
        assert process.returncode == 143


def test_journaled_runs_that_are_interrupted_go_on_where_they_stopped(pf: Run, tmp_path: Path):
    run = ["flows.py:slow", "--set", "a=1", "--journal", "r.db", "--run-id"]
    first = interrupted(tmp_path, [*run, "1"], [*run, "2", "--stream"])
    for done in first:
        assert (done.code, done.err.splitlines()[:2]) == (130, ["worked", "interrupted"])
    for again in interrupted(tmp_path, *(resume_command(done.err)[1:] for done in first)):
        assert (again.code, again.err.splitlines()[0]) == (130, "interrupted")  # what worked before does not again


def test_a_run_that_another_process_has_is_refused(pf: Run, tmp_path: Path):
    words = ["flows.py:slow", "--journal", "r.db", "--run-id", "1"]
    with waiting(tmp_path, *words) as process:
        assert "waiting\n" in process.stderr
        done = pf("run", *words)
        assert (done.code, done.err.count("\n")) == (2, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


# draw, check, and the words


def test_a_flow_is_drawn_as_mermaid_into_a_pipe_or_as_asked_for(pf: Run):
    drawn = pf("draw", "flows.py:typo").out
    assert drawn.startswith('flowchart TD\n    n0(["Decide"])\n    n1["Greet"]\n    n0 -->|"serach"| n1\n')
    assert pf("draw", "flows.py:typo", "--mermaid").out == drawn
    assert "│ Decide │" in pf("draw", "flows.py:typo", "--text").out
    assert pf("draw", "flows.py:typo", "--svg").out.startswith("<svg ")
    assert "greeting" in pf("draw", "hello_world", "--with", "setup").out


def test_a_flow_is_drawn_with_lines_on_a_terminal(pf: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    assert "│ Decide │" in pf("draw", "flows.py:typo").out


def test_a_flow_is_drawn_in_ascii_where_there_is_no_unicode(pf: Run, monkeypatch: pytest.MonkeyPatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "cp437"))
    assert pf("draw", "flows.py:typo", "--text").code == 0
    drawn = printed.getvalue().decode("ascii").splitlines()
    assert [line.strip() for line in drawn[:2]] == ["+--------+", "| Decide |"]
    assert "v" in drawn[-4]


def test_the_only_flow_of_a_file_or_module_needs_no_name(pf: Run, tmp_path: Path):
    (tmp_path / "job.py").write_text("from pocketflow import *\nclass Save(Node): ...\nflow = Flow(Save())\n")
    assert pf("run", "job.py") == pf("run", "job") == (0, "{}\n", "")
    assert pf("list", "job.py").out == "job.py:flow\n"


def test_the_flows_of_a_file_or_module_are_listed_as_targets(pf: Run):
    listed = pf("list", "flows.py").out.splitlines()
    assert listed[:3] == ["flows.py:flow", "flows.py:odd", "flows.py:fails"]
    assert pf("list", "flows").out.splitlines()[0] == "flows:flow"
    assert pf("list", "hello_world.py") == (2, "", "hello_world.py: no flow there\n")
    assert pf("list", "nofile.py").code == 2


def test_a_run_tells_what_a_check_finds_and_a_strict_one_does_not_begin(pf: Run):
    finding = 'Decide.post may return "search", for which there is no edge: write Decide - "search" >> node'
    done = pf("run", "flows.py:typo")
    assert (done.code, done.err.splitlines()[0]) == (0, f"warning: {finding}")
    strict = pf("run", "flows.py:typo", "--strict")
    assert (strict.code, strict.out, strict.err.splitlines()[0]) == (2, "", finding)


def test_a_strict_run_fails_where_an_action_has_no_edge(pf: Run):
    done = pf("run", "flows.py:loses", "--strict")
    assert done.code == 1
    assert "Flow ends: 'lost' not found" in done.err


# What comes from data


def test_nothing_from_data_steers_the_terminal(pf: Run, tmp_path: Path):
    """Escape sequences, C1 and bidi characters in names, ids, questions, actions, results and errors."""
    evil = "\x1b]0;x\x07\x9b31m\u202e"
    (tmp_path / "evil.py").write_text(
        f"from pocketflow import *\nfrom pocketflow.journal import pause\nEVIL = {evil!r}\n"
        "class Say(Node):\n    name = EVIL\n    def post(self, shared, prep_res, exec_res):\n"
        "        shared[EVIL] = EVIL\n        return EVIL\n"
        "class Fail(Node):\n    name = EVIL\n    def exec(self, prep_res):\n        raise ValueError(EVIL)\n"
        "class Ask(Node):\n    name = EVIL\n    def exec(self, prep_res):\n        return pause(EVIL)\n"
        "says, fails, asks = Flow(Say()), Flow(Fail()), Flow(Ask())\n"
    )
    keep = ["--journal", "r.db", "--run-id"]
    told = [
        pf("run", "evil.py:says"), pf("run", "evil.py:says", "--stream"), pf("run", "evil.py:says", *keep, evil),
        pf("run", "evil.py:fails", *keep, f"2{evil}"), pf("run", "evil.py:asks", *keep, f"3{evil}"),
        pf("runs", "r.db"), pf("runs", "r.db", evil), pf("draw", "evil.py:says", "--text"),
        pf("draw", "evil.py:says", "--svg"), pf("run", f"evil.py:{evil}"), pf("run", evil),
        pf("run", "evil.py:says", "--set", evil), pf("run", "evil.py:says", "--shared", evil),
    ]  # fmt: skip
    for done in told:
        assert (done.out + done.err).replace("\n", "").isprintable()
    assert json.loads(told[0].out) == {evil: evil}


def test_a_file_that_is_called_like_a_module_of_python_is_not_imported(pf: Run, tmp_path: Path):
    for name in ("hashlib", "sqlite3", "argparse", "json", "shlex"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')\n")
    command = [sys.executable, "-m", "pocketflow", "run", "flows.py:flow", "--set", "name=Ada", "--journal", "r.db"]
    done = finished([*command, "--run-id", "1"], cwd=tmp_path, env=environment())
    assert (done.returncode, done.stderr) == (0, "a node prints\n")
    assert pf("runs", "r.db").out == "finished    1\n"


def test_a_result_that_is_nested_too_deeply_is_one_line(pf: Run, tmp_path: Path):
    (tmp_path / "deep.py").write_text(
        "from pocketflow import *\nclass Deep(Node):\n    def post(self, shared, prep_res, exec_res):\n"
        "        here = shared\n        for _ in range(5000):\n            here['a'] = here = {}\nflow = Flow(Deep())\n"
    )
    done = pf("run", "deep.py")
    assert done == (1, "", "the result is nested too deeply to be printed\n")


def test_findings_are_printed_and_exit_1(pf: Run):
    done = pf("check", "flows.py:typo")
    assert (done.code, done.err, len(done.out.splitlines())) == (1, "", 3)
    assert 'write Decide - "search" >> node\n' in done.out
    assert pf("check", "flows.py:flow") == (0, "", "")


def test_a_newcomer_is_told_what_there_is(pf: Run):
    done = pf("--help")
    assert (done.code, done.err) == (0, "")
    for word in ("run hello.py:flow --set name=Ada", "draw", "check", "runs", "130", "--help"):
        assert word in done.out
    assert pf("run", "--help").code == 0
    assert pf().code == 2


def test_nothing_is_imported_that_a_command_does_not_need():
    program = (
        "import sys, pocketflow.__main__ as cli; cli._parser(); "
        "print([name for name in sys.modules if name.startswith('pocketflow.')])"
    )
    done = finished([sys.executable, "-c", program], env=environment())
    assert done.stdout == "['pocketflow.modules', 'pocketflow.text', 'pocketflow.__main__']\n"
