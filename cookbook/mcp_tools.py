"""An agent that finds its tools in an MCP server, calls them, and goes on when one fails or the server dies.

    pip install 'mcp>=2.1'
    python -m cookbook.mcp_tools "How do I sort and shuffle a list?"
    python -m cookbook.mcp_tools "QUESTION" COMMAND ...     (any other server over stdio, as npx or uvx start them)

What a tool raises goes back to the model as text, as in cookbook.tool_calling. If the server dies
during a call it is restarted and the model is told, as only the model can know whether repeating the
call is safe. Without a model, rules look the question up with the tools of cookbook.mcp_server.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import shlex
import sys
import textwrap

from cookbook.llm import asking_for, call_with_tools_async, retry_after
from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, Node

try:
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.types import CONNECTION_CLOSED
except ImportError:
    sys.exit(print("needs the MCP SDK: pip install 'mcp>=2.1'", file=sys.stderr) or 2)

SERVER = [sys.executable, "-m", "cookbook.mcp_server"]
QUESTION = "How do I sort and shuffle a list?"
SECONDS = 60  # how long a server may take to answer
MAX_ROUNDS = 5
SYSTEM = {"role": "system", "content": "Use the tools to find out, then answer in three sentences."}
DIED = "error: the server died during this call. Another one was started: call again, or answer without."


class Connect(AsyncNode):
    """Start the server and list its tools."""

    async def prep_async(self, shared):
        await shared["stack"].aclose()  # closes what a server that died has left
        return shared["stack"], shared["command"]

    async def exec_async(self, inputs):
        stack, (command, *arguments) = inputs
        environment = dict(os.environ) if [command, *arguments] == SERVER else None  # a stranger gets no keys of ours
        server = StdioServerParameters(command=command, args=arguments, env=environment)
        client = await stack.enter_async_context(Client(server, read_timeout_seconds=SECONDS))
        return client, (await client.list_tools()).tools  # of a long list the first page

    async def post_async(self, shared, inputs, found):
        shared["client"], tools = found
        shared["tools"] = [schema(tool) for tool in tools]
        print(f"tools: {', '.join(tool.name for tool in tools)}")


class Decide(AsyncNode):
    async def prep_async(self, shared):
        return list(shared["messages"]), shared["tools"]

    async def exec_async(self, inputs):
        messages, tools = inputs
        return await call_with_tools_async([SYSTEM, *messages], tools, offline=lambda: next_message(messages))

    async def post_async(self, shared, inputs, message):
        shared["messages"].append(message)
        asked = sum(message["role"] == "assistant" for message in shared["messages"])
        return "call" if message.get("tool_calls") and asked <= MAX_ROUNDS else "answer"


class CallTools(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [(shared["client"], call["function"]) for call in shared["messages"][-1]["tool_calls"]]

    async def exec_async(self, item):
        client, function = item
        try:
            arguments = json.loads(function["arguments"] or "{}")
            tell = functools.partial(show, function["name"])
            result = await client.call_tool(function["name"], arguments, progress_callback=tell)
        except Exception as error:  # whatever it is, the model may know better next time
            return DIED if getattr(error, "code", None) == CONNECTION_CLOSED else f"error: {error}"
        text = "\n".join(part.text for part in result.content if part.type == "text")
        return f"error: {text}" if result.is_error else text

    async def post_async(self, shared, items, results):
        calls = shared["messages"][-1]["tool_calls"]
        for call, result in zip(calls, results, strict=True):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            print(f"{name}({arguments}) -> {textwrap.shorten(result, 100)}")
            shared["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": result})
        return "server died" if DIED in results else "default"


class Answer(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"\n{shared['messages'][-1].get('content') or 'No answer.'}")


def schema(tool):
    """A tool of MCP, as the protocol of chat completions has it."""
    about = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
    return {"type": "function", "function": about}


async def show(tool, progress, total, message):
    print(f"  {tool}: {message or progress}")


def next_message(messages):
    """Research the question, once more if the server died; ask for the signature of each [name] found; say both."""
    asked = [call["function"]["name"] for message in messages for call in message.get("tool_calls", [])]
    results = [message["content"] for message in messages if message["role"] == "tool"]
    found = [result for result in results if not result.startswith("error: ")]
    if results in ([], [DIED]):
        return asking_for([("research", {"question": messages[0]["content"]})])
    if found and "signature" not in asked:
        names = dict.fromkeys(re.findall(r"\[([\w.]+)\]", found[0]))
        return asking_for([("signature", {"name": name}) for name in names])
    answer, *signatures = found or ["The tools found nothing."]
    for signature in signatures:
        answer = answer.replace(f"[{signature.partition('(')[0]}]", f"[{signature}]")
    return {"role": "assistant", "content": answer}


connect, decide, call_tools = Connect(), Decide(max_retries=3, wait=retry_after), CallTools()
connect >> decide
decide - "call" >> call_tools >> decide
call_tools - "server died" >> connect
decide - "answer" >> Answer()
flow = AsyncFlow(start=connect)


async def ask(question, command):
    stack = contextlib.AsyncExitStack()
    try:
        await flow.run_async({"messages": [{"role": "user", "content": question}], "command": command, "stack": stack})
    finally:
        await stack.aclose()  # ends the server


def main():
    question, *command = sys.argv[1:] or [QUESTION]
    try:
        asyncio.run(ask(question, command or SERVER))
    except* MCPError as errors:
        raise SystemExit(f"the MCP server did not start: {shlex.join(command or SERVER)}") from errors


if __name__ == "__main__":
    run(main)
