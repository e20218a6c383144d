"""A flow offered as a tool, to any program that speaks the Model Context Protocol.

    pip install 'mcp>=2.1'
    python -m cookbook.mcp_server     (a client starts it and talks to its stdin, as cookbook.mcp_tools does)

The flow is that of cookbook.deep_research, as it is. Each node is reported to the client as progress;
if the client gives up the call, the run is cancelled. A ToolError is for the model to read; any other
exception goes to stderr, and the model learns only that the tool failed.
"""

import builtins
import contextlib
import inspect
import pydoc
import sys

from cookbook.deep_research import DEPTH, research_flow
from cookbook.search import LIBRARY
from cookbook.terminal import run
from pocketflow.stream import stream

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:
    sys.exit(print("needs the MCP SDK: pip install 'mcp>=2.1'", file=sys.stderr) or 2)

server = MCPServer("python-documentation", log_level="WARNING")


@server.tool()
async def research(question: str, context: Context) -> str:
    """Look a question up in Python's documentation, part by part; each finding ends with its [name]."""
    shared, begun = {"question": question, "depth": DEPTH}, 0
    async with contextlib.aclosing(stream(research_flow, shared)) as events:
        async for event in events:
            if event["type"] == "node_start" and event["kind"] == "node":
                begun += 1
                await context.report_progress(begun, message=event["node"])
    if not shared["findings"]:
        raise ToolError(f"the documentation has nothing about {question!r}: ask with other words")
    return shared["findings"]


@server.tool()
def signature(name: str) -> str:
    """The parameters of a function or class of Python's library, such as shutil.copy."""
    first = name.partition(".")[0]
    known = hasattr(builtins, first) or any(first == module.partition(".")[0] for module in LIBRARY)
    try:
        return f"{name}{inspect.signature(pydoc.locate(name) if known else None)}"
    except (TypeError, ValueError):
        raise ToolError(f"Python knows no signature of {name}") from None


def main():
    server.run()


if __name__ == "__main__":
    run(main)
