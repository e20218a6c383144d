"""The recipes that speak MCP and A2A: real servers in processes of their own, and real HTTP on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from pocketflow import AsyncFlow, Node
from tests.cookbook.held_server import SECONDS, Held
from tests.cookbook.runner import NEEDS, OFFLINE, ROOT, call, environment, run_process
from tests.model_server import Raw, model_server, tool_call
from tests.processes import started
from tests.serve.flows import Stopped

CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell may have off


class Broken(Node):
    def exec(self, prep_res: Any) -> None:
        raise OSError("the disk of this very server is full")


def agent(listener: socket.socket, model: dict[str, str]) -> AbstractContextManager[subprocess.Popen[str]]:
    """The recipe `mcp_tools` with the held server, in a process that is killed if it is still there."""
    recipe = CTRL_C + "import runpy; runpy.run_module('cookbook.mcp_tools', run_name='__main__')"
    port = str(listener.getsockname()[1])
    server = [sys.executable, "-W", "error", "-m", "tests.cookbook.held_server", port]
    command = [sys.executable, "-W", "error", "-c", recipe, "What is new?", *server]
    pipe = subprocess.PIPE
    return started(command, cwd=ROOT, env=environment(model), stdout=pipe, stderr=pipe)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_mcp_tools_finds_the_tools_of_mcp_server_and_answers_with_what_they_say():
    """And goes on where one of them fails: Python knows no signature of `min`."""
    pytest.importorskip("mcp", reason=NEEDS)
    done = run_process("mcp_tools", "shuffle a list, take the min", PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, 2 * OFFLINE)  # the agent's and the server's
    steps, answer = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert steps[0] == "tools: research, signature"
    assert {"  research: Split", "  research: Research", "  research: LookUp"} < set(steps)
    assert 'signature({"name": "random.shuffle"}) -> random.shuffle(x)' in steps
    assert any(step.startswith('signature({"name": "min"}) -> error: ') for step in steps)
    assert answer[0] == "Shuffle list x in place, and return None. [random.shuffle(x)]"
    assert any(line.endswith(" [min]") for line in answer)


def test_mcp_tools_by_rule_says_so_where_the_tools_find_nothing():
    pytest.importorskip("mcp", reason=NEEDS)
    from cookbook.mcp_tools import next_message

    messages = [{"role": "user", "content": "zzyzx"}, {"role": "tool", "content": "error: nothing"}]
    assert next_message(messages) == {"role": "assistant", "content": "The tools found nothing."}


@dataclass
class Run:
    """What came of a run of the agent whose model calls tools in six ways that fail."""

    output: str
    requests: list[dict[str, Any]]  # that its model got
    environment: list[str]  # the names that its server sees


@pytest.fixture(scope="module")
def failing() -> Run:
    pytest.importorskip("mcp", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)
    arguments = ["", '{"sheets": 3}', '{"sheets": "many"}', '{"sheets', "[3]"]
    calls = [tool_call(number, "fail", text) for number, text in enumerate(arguments)] + [tool_call(5, "nope")]
    replies = iter([{"content": None, "tool_calls": calls}, {"content": "Nothing is."}])
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        model_server(lambda prompt: next(replies)) as model,
        agent(listener, {**model.environment, "OPENAI_API_KEY": "ours"}) as process,
        Held(listener) as server,
    ):
        output, errors = process.communicate(timeout=SECONDS)
        server.wait_for_end()
    assert (process.returncode, errors) == (0, "")
    return Run(output, model.requests, server.environment)


def test_mcp_tools_tells_the_model_what_went_wrong_with_its_calls_and_goes_on(failing: Run):
    told = [message["content"] for message in failing.requests[1]["messages"] if message["role"] == "tool"]
    assert all(text.startswith("error: ") for text in told)
    fragments = ["sheets\n  Field required", "out of paper: 3 sheets wanted", "valid integer", "Unterminated string",
                 "valid dictionary", "Unknown tool: nope"]  # fmt: skip
    assert [fragment in text for fragment, text in zip(fragments, told, strict=True)] == [True] * 6
    assert failing.output.endswith("\n\nNothing is.\n")


def test_mcp_tools_gives_the_model_what_the_server_says_of_its_tools(failing: Run):
    functions = [tool["function"] for tool in failing.requests[0]["tools"]]
    assert [(function["name"], function["description"]) for function in functions] == [
        ("hold", "Wait for the test to answer."),
        ("fail", "Fail as tools do."),
    ]
    assert functions[1]["parameters"]["properties"]["sheets"]["type"] == "integer"


def test_mcp_tools_gives_no_key_to_a_server_that_is_not_its_own(failing: Run):
    assert "PATH" in failing.environment
    assert not [name for name in failing.environment if name.startswith("OPENAI")]


def test_mcp_tools_starts_a_server_anew_that_is_killed_in_mid_call_and_tells_the_model(listener: socket.socket):
    pytest.importorskip("mcp", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)
    from cookbook.mcp_tools import DIED

    call = {"content": None, "tool_calls": [tool_call(1, "hold")]}
    with (
        model_server(lambda prompt: {"content": "I see."} if prompt == "released" else call) as model,
        agent(listener, model.environment) as process,
    ):
        with Held(listener) as first:
            first.wait_for_call()
            first.kill()
            first.wait_for_end()
        with Held(listener) as second:
            second.wait_for_call()
            second.answer("released")
            second.wait_for_end()
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert output.count("tools: hold, fail\n") == 2
    assert output.endswith("\n\nI see.\n")
    assert [request["messages"][-1]["content"] for request in model.requests] == ["What is new?", DIED, "released"]
    assert second.pid != first.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_mcp_tools_that_ends_in_mid_call_leaves_no_server_behind(number: signal.Signals, listener: socket.socket):
    pytest.importorskip("mcp", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)
    call = {"content": None, "tool_calls": [tool_call(1, "hold")]}
    with (
        model_server(lambda prompt: call) as model,
        agent(listener, model.environment) as process,
        Held(listener) as server,
    ):
        server.wait_for_call()
        process.send_signal(number)
        server.wait_for_end()
        _, errors = process.communicate(timeout=SECONDS)
    if number == signal.SIGINT:
        assert (process.returncode, errors) == (130, "")


def test_mcp_tools_ends_at_ctrl_c_while_the_model_is_silent(listener: socket.socket):
    pytest.importorskip("mcp", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)
    asked, ended = threading.Event(), threading.Event()

    def reply(prompt: str) -> str:
        asked.set()
        ended.wait(2 * SECONDS)  # longer than the test waits for the agent
        return "Too late."

    with model_server(reply) as model, agent(listener, model.environment) as process, Held(listener) as server:
        try:
            assert asked.wait(SECONDS)
            process.send_signal(signal.SIGINT)
            server.wait_for_end()
            _, errors = process.communicate(timeout=SECONDS)
        finally:
            ended.set()
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize(
    ("command", "status", "line"),
    [
        ([sys.executable, "-c", "pass"], 1, f"the MCP server did not start: {sys.executable} -c pass\n"),
        (["/no/such/server"], 2, "/no/such/server: No such file or directory\n"),
    ],
)
def test_mcp_tools_says_in_one_line_that_a_server_does_not_start(command: list[str], status: int, line: str):
    pytest.importorskip("mcp", reason=NEEDS)
    done = run_process("mcp_tools", "What is new?", *command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", line)


async def test_mcp_server_cancels_the_run_of_a_call_that_its_client_gives_up(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mcp", reason=NEEDS)
    from mcp import Client

    from cookbook import mcp_server

    node = Stopped()
    monkeypatch.setattr(mcp_server, "research_flow", AsyncFlow(node))
    async with asyncio.timeout(SECONDS), Client(mcp_server.server) as client:
        call = asyncio.create_task(client.call_tool("research", {"question": "Why?"}))
        await node.reached.wait()
        call.cancel()
        await node.stopped.wait()


async def test_mcp_server_keeps_the_error_of_a_broken_flow_to_itself(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mcp", reason=NEEDS)
    from mcp import Client

    from cookbook import mcp_server

    monkeypatch.setattr(mcp_server, "research_flow", AsyncFlow(Broken()))
    async with asyncio.timeout(SECONDS), Client(mcp_server.server) as client:
        result = await client.call_tool("research", {"question": "Why?"})
    assert (result.is_error, result.content[0].text) == (True, "Error executing tool research")


@pytest.mark.parametrize("name", ["min", "for", "json", "os.environ", "no.such", "", "tests.kits.SyncKit"])
async def test_mcp_server_knows_no_signature_of_what_is_no_function_of_the_library(name: str):
    pytest.importorskip("mcp", reason=NEEDS)
    from mcp import Client

    from cookbook.mcp_server import server

    async with asyncio.timeout(SECONDS), Client(server) as client:
        result = await client.call_tool("signature", {"name": name})
    assert result.is_error
    assert result.content[0].text == f"Error executing tool signature: Python knows no signature of {name}"


def test_a2a_shows_the_steps_of_the_agent_and_its_answer():
    pytest.importorskip("a2a", reason=NEEDS)
    done = run_process("a2a", "How do I shuffle a list?")
    assert (done.returncode, done.stderr) == (0, OFFLINE)
    lines = done.stdout.splitlines()
    assert lines[0] == "Documentation: Answers questions about Python from its documentation."
    assert [line for line in lines if line.startswith("  ")] == ["  Decide", "  Search", "  Decide", "  Answer"]
    assert "Shuffle list x in place, and return None. [random.shuffle]" in lines


def test_a2a_says_in_one_line_that_nobody_answers_at_a_url():
    pytest.importorskip("a2a", reason=NEEDS)
    done = run_process("a2a", "Why?", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("no answer from the agent: ")


@pytest.mark.parametrize("words", [[""], ["How", "do", "I", "sort?"]])
def test_a2a_says_in_one_line_what_it_takes(words: list[str]):
    pytest.importorskip("a2a", reason=NEEDS)
    assert call("a2a", *words) == (2, "", "write one question, in quotes, and one URL at most\n")


def test_a2a_tells_that_the_flow_failed_and_keeps_the_reason_to_its_log():
    pytest.importorskip("a2a", reason=NEEDS)
    pytest.importorskip("openai", reason=NEEDS)
    refusal = Raw(json.dumps({"error": {"message": "no such model"}}), status=400)
    with model_server(lambda prompt: refusal) as model:
        done = run_process("a2a", "Why?", **model.environment)
    assert done.returncode == 1
    log, _, told = done.stderr.rstrip("\n").rpartition("\n")
    assert told == "no answer from the agent: it failed: BadRequestError"
    assert log.startswith("the flow failed\n")
    assert "no such model" in log


@pytest.fixture
def a2a() -> Any:
    """The package's parts that a client of one's own needs."""
    return pytest.importorskip("a2a.types", reason=NEEDS)


async def test_a2a_answers_a_message_that_is_not_streamed_with_the_finished_task(a2a: Any):
    import httpx

    from cookbook.a2a import serving

    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "How do I shuffle a list?"}]}
    request = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with asyncio.timeout(SECONDS), serving() as url, httpx.AsyncClient(base_url=url) as http:
        card = (await http.get("/.well-known/agent-card.json")).json()
        answer = (await http.post("/", json=request, headers={"A2A-Version": "1.0"})).json()
    assert (card["name"], card["supportedInterfaces"][0]["url"]) == ("Documentation", url)
    task = answer["result"]["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "[random.shuffle]" in task["artifacts"][0]["parts"][0]["text"]


async def test_a2a_stops_the_run_of_a_task_that_is_cancelled(a2a: Any, monkeypatch: pytest.MonkeyPatch):
    from a2a.client import create_client
    from a2a.helpers import new_text_message

    from cookbook import a2a as recipe

    node = Stopped()
    monkeypatch.setattr(recipe, "flow", AsyncFlow(node))
    async with asyncio.timeout(SECONDS), recipe.serving() as url, await create_client(url) as client:
        request = a2a.SendMessageRequest(message=new_text_message("Why?", role=a2a.Role.ROLE_USER))
        async with contextlib.aclosing(client.send_message(request)) as events:
            task = (await anext(events)).task
            await node.reached.wait()
            cancelled = await client.cancel_task(a2a.CancelTaskRequest(id=task.id))
            states = [event.status_update.status.state async for event in events]
        await node.stopped.wait()
    assert cancelled.status.state == states[-1] == a2a.TaskState.TASK_STATE_CANCELED


@pytest.mark.parametrize(
    ("recipe", "package", "line"),
    [
        ("mcp_server", "mcp", "needs the MCP SDK: pip install 'mcp>=2.1'\n"),
        ("mcp_tools", "mcp", "needs the MCP SDK: pip install 'mcp>=2.1'\n"),
        ("a2a", "a2a", "needs the A2A SDK: pip install 'a2a-sdk[http-server]>=1.1' uvicorn\n"),
    ],
)
def test_a_recipe_of_a_protocol_without_its_package_says_what_to_install(
    recipe: str, package: str, line: str, monkeypatch: pytest.MonkeyPatch
):
    for module in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    assert call(recipe) == (2, "", line)
