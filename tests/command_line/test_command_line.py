"""The command line, run as a program from a folder with a user's own files."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cookbook.runner import ROOT

FLOWS = """
import asyncio, sys, warnings
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
        await asyncio.Event().wait()

class Hang(Node):
    def exec(self, prep_res):
        print("waiting", flush=True)
        sys.stdin.readline()

class Ask(AsyncNode):
    name = "Ask"
    async def exec_async(self, prep_res):
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
slow = AsyncFlow(work)
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


@pytest.fixture
def pf(tmp_path: Path) -> Run:
    """Runs `python -m pocketflow WORDS` in a folder with flows.py and a pipeline."""
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "hello_world.py").write_text(PIPELINE)
    (tmp_path / "setup.py").write_text("def word():\n    return 'Good day'\n")

    def run(*words: str, stdin: str = "", **more: str) -> Done:
        command = [sys.executable, "-m", "pocketflow", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment(), **more}, input=stdin, capture_output=True, text=True,
            encoding="utf-8", check=False, timeout=60,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def answer_command(err: str) -> list[str]:
    """The words of the command that a paused run tells, after `python -m pocketflow`."""
    [command] = re.findall(r"answer with: python -m pocketflow (.*)", err)
    return shlex.split(command)


def resume_command(err: str) -> list[str]:
    [command] = re.findall(r"resume with: python -m pocketflow (.*)", err)
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


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_json_does_not_know_is_printed_as_its_repr(pf: Run, encoding: str):
    assert json.loads(pf("run", "flows.py:odd", PYTHONIOENCODING=encoding).out) == {
        "a_set": "{1}", "number": "nan", "me": "...", "key": {"(1, 2)": "名"}, "half": "\ud800",
    }  # fmt: skip


def test_the_last_action_is_told_on_stderr_and_warnings_take_one_line(pf: Run):
    assert pf("run", "flows.py:loses") == (
        0, "{}\n", "warning: Flow ends: 'lost' not found in ['default']\naction: lost\n",
    )  # fmt: skip


def test_a_failing_flow_exits_1_with_the_error_and_where_it_arose(pf: Run):
    error = "ValueError: no such page\n  at Flow > Fail, attempts: 1, params: {}\n"
    assert pf("run", "flows.py:fails") == (1, "", error)
    done = pf("run", "flows.py:fails", "--traceback")
    assert done.code == 1
    assert 'raise ValueError("no such page")' in done.err


def test_a_journal_error_of_a_node_is_a_failure_like_any_other(pf: Run):
    done = pf("run", "flows.py:own")
    assert done.code == 1
    assert done.err.startswith("pocketflow.journal.JournalError: a journal of the node's own\n  at Flow > Own")


def test_events_are_streamed_as_json_lines(pf: Run):
    done = pf("run", "flows.py:count", "--stream")
    assert (done.code, done.err) == (0, "")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["type"] for event in events] == ["node_start", "chunk", "chunk", "chunk", "node_end"]
    assert [event["chunk"] for event in events if event["type"] == "chunk"] == [0, 1, 2]


def test_a_stream_of_a_failing_flow_ends_with_its_error(pf: Run):
    done = pf("run", "flows.py:breaks", "--stream")
    assert [json.loads(line)["type"] for line in done.out.splitlines()] == ["node_start", "chunk", "error"]
    assert (done.code, done.err.splitlines()[0]) == (1, "ValueError: no such page")


def test_a_reader_that_goes_away_ends_a_stream_without_a_traceback(pf: Run, tmp_path: Path):
    command = [sys.executable, "-m", "pocketflow", "run", "flows.py:forever", "--stream"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["type"] == "node_start"
        process.stdout.close()
        assert process.stderr.read() == "stopped\n"
    assert process.returncode == 141


def test_a_full_disk_at_the_other_end_of_stdout_is_one_line(pf: Run, tmp_path: Path):
    command = [sys.executable, "-m", "pocketflow", "draw", "flows.py:flow"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
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
    assert "DEBUG pipe: greeting" in pf(*words, "--log-level", "DEBUG").err


def test_without_final_vars_all_values_are_printed(pf: Run):
    assert json.loads(pf("run", "hello_world", "setup", "--set", "name=Ada").out) == {
        "word": "Good day", "greeting": "Good day, ", "full_greeting": "Good day, Ada!",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hello_world", "setup"], "full_greeting needs 'name'"),
        (["hello_world", "--set", "greeting=Hi"], "the input 'greeting' is what a task stores: rename one"),
        (["hello_world", "--final-vars", "full_greting"], "did you mean 'full_greeting'?"),
        (["helo_world"], "no module 'helo_world' in "),
        (["hello_world", "broken"], "broken.py:2: ZeroDivisionError: division by zero"),
        (["hello_world.py"], "hello_world.py: write FILE.py:NAME for a flow; a dataflow is made of names of modules"),
        (["flows.py:flow", "--with", "setup"], "flows.py:flow goes alone"),
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
            "flows.py:flwo: there is no 'flwo' (did you mean 'flow'?); flows and nodes there: ['flow', ",
        ),
        (["nofile.py:flow"], "nofile.py: no such file"),
        (["nomodule:flow"], "No module named 'nomodule'"),
        (["flows.py:number"], "flows.py:number is 5, which is neither a flow nor a node"),
        (["flows.py:make_none"], "flows.py:make_none is None, which is neither a flow nor a node"),
        (["flows.py:make_with"], "flows.py:make_with cannot be called: missing a required argument: 'model'"),
        (["flows.py:make_later"], "flows.py:make_later is async: name a plain function that makes the flow"),
        (["flows.py:make_wrong"], "TypeError: a class is no node: write start=Greet()"),
        (["zero.py:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["zero:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["uses_zero.py:flow"], "zero.py:3: ZeroDivisionError: division by zero"),
        (["uses_json.py:flow"], "uses_json.py:2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (["syntax.py:flow"], "syntax.py:2: SyntaxError: "),
        (["leaves.py:flow"], "leaves.py:1: SystemExit: bye"),
        (["flows.py:flow", "--set", "name"], "--set name: write --set key=value"),
        (["flows.py:flow", "--shared", "none.json"], "none.json: No such file or directory"),
        (["flows.py:flow", "--shared", "zero.py"], "zero.py holds no JSON: "),
        (["flows.py:flow", "--shared", "list.json"], "list.json: write a JSON object"),
        (["flows.py:flow", "--stream"], "Flow is not async: --stream needs an AsyncFlow"),
        (["flows.py:flow", "--trace", "run.txt"], "--trace run.txt: write a name that ends in .html or .json"),
        (["flows.py:flow", "--trace", "no/run.html"], "--trace no/run.html: there is no folder no"),
        (["flows.py:flow", "--journal", "r.db"], "--journal FILE and --run-id ID belong together"),
        (["flows.py:flow", "--run-id", "1"], "--journal FILE and --run-id ID belong together"),
        (["flows.py:flow", "--answer", "1"], "--answer, --takeover and --allow-changes need --journal FILE"),
        (["flows.py:flow", "--journal", "r.db", "--run-id", "1", "--answer", "1"], "r.db: no such file"),
        (["flows.py:flow", "--at", "Flow"], "--at PATH says which question --answer VALUE is for"),
        (["flows.py:flow", "--wat"], "unrecognized arguments: --wat; see python -m pocketflow --help"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exits_2(pf: Run, tmp_path: Path, words: list[str], message: str):
    files = {
        "zero.py": "import json\nx = 1\nx / 0\n", "uses_zero.py": "import zero\n",
        "uses_json.py": "import json\njson.loads('x')\n", "syntax.py": "x = 1\ndef (\n",
        "leaves.py": "raise SystemExit('bye')\n", "list.json": "[]",
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
        'paused   tea 1\n         AsyncFlow/1:Ask/exec asks "Ask: may it go out?"\n'
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
    assert "node  Flow/0:Greet" in history
    assert pf("runs", "r.db").out == "finished 1\n"


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
    assert [json.loads(event)["type"] for event in events].count("node_end") == 3


@pytest.mark.parametrize("words", [["none.db"], ["none.db", "1"], ["flows.py"], ["r.db", "2"]])
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
def waiting(tmp_path: Path, *words: str) -> Iterator[tuple[Any, list[str]]]:
    """A run in which a node has printed that it waits, and the lines on stderr until then."""
    command, pipe = [sys.executable, "-u", "-m", "pocketflow", "run", *words], subprocess.PIPE
    process: Any = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    with process:
        yield process, list(itertools.takewhile(lambda line: line != "waiting\n", process.stderr))


def interrupted(tmp_path: Path, *words: str) -> Done:
    """Press Ctrl-C when a node waits."""
    with waiting(tmp_path, *words) as (process, told):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, "".join(told) + err)


@pytest.mark.parametrize("flow", ["hangs", "slow"])
def test_ctrl_c_exits_130_in_one_line(pf: Run, tmp_path: Path, flow: str):
    done = interrupted(tmp_path, f"flows.py:{flow}", "--trace", "run.json")
    assert (done.code, done.out, done.err.splitlines()[-1]) == (130, "", "interrupted")
    assert "Traceback" not in done.err
    assert (tmp_path / "run.json").exists()


@pytest.mark.parametrize("more", [[], ["--stream"]])
def test_a_journaled_run_that_is_interrupted_goes_on_where_it_stopped(pf: Run, tmp_path: Path, more: list[str]):
    done = interrupted(tmp_path, "flows.py:slow", "--set", "a=1", "--journal", "r.db", "--run-id", "1", *more)
    assert (done.code, done.err.splitlines()[:2]) == (130, ["worked", "interrupted"])
    again = interrupted(tmp_path, *resume_command(done.err)[1:])
    assert (again.code, again.err.splitlines()[0]) == (130, "interrupted")  # what worked before does not work again


def test_a_run_that_another_process_has_is_refused(pf: Run, tmp_path: Path):
    words = ["flows.py:slow", "--journal", "r.db", "--run-id", "1"]
    with waiting(tmp_path, *words) as (process, _):
        done = pf("run", *words)
        assert (done.code, done.err.count("\n")) == (2, 1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


# draw, check, and the words


def test_a_flow_is_drawn(pf: Run):
    assert pf("draw", "flows.py:typo").out == (
        'flowchart TD\n    n0(["Decide"])\n    n1["Greet"]\n    n0 -->|"serach"| n1\n'
    )
    assert "greeting" in pf("draw", "hello_world", "--with", "setup").out


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
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "['pocketflow.__main__']\n"
