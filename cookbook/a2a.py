"""A flow offered as an agent over the Agent2Agent protocol, and a client that asks it.

    pip install 'a2a-sdk[http-server]>=1.1' uvicorn
    python -m cookbook.a2a "How do I cache the results of a function?"
    python -m cookbook.a2a QUESTION URL         (asks any other agent)
    uvicorn --factory cookbook.a2a:app          (serves this one alone, on port 8000)

The flow is that of cookbook.agent, as it is. The client sees each node as a status update of its task,
and the answer as the task's artifact; cancelling the task stops the run. Expect the name of the agent,
its steps, and the answer, all of them over HTTP on a free port of this machine.
"""

import asyncio
import contextlib
import logging
import socket
import sys

from cookbook.agent import flow
from cookbook.terminal import run
from pocketflow.stream import stream

try:
    import httpx
    import uvicorn
    from a2a.client import A2ACardResolver, ClientConfig, create_client
    from a2a.helpers import get_stream_response_text, new_task_from_user_message, new_text_message, new_text_part
    from a2a.server.agent_execution import AgentExecutor
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
    from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Role, SendMessageRequest, TaskState
    from a2a.utils.errors import A2AError
    from starlette.applications import Starlette
except ImportError:
    sys.exit(print("needs the A2A SDK: pip install 'a2a-sdk[http-server]>=1.1' uvicorn", file=sys.stderr) or 2)

QUESTION = "How do I cache the results of a function?"
SECONDS = 60  # how long an agent may be silent


class FlowAgent(AgentExecutor):
    async def execute(self, context, queue):
        """Run the flow for a message."""
        task = new_task_from_user_message(context.message)
        await queue.enqueue_event(task)
        updater = TaskUpdater(queue, task.id, task.context_id)
        try:
            answer = await self.answer(context.get_user_input(), updater)
        except Exception as error:
            logging.getLogger(__name__).exception("the flow failed")  # the asker is told less
            await updater.failed(updater.new_agent_message([new_text_part(type(error).__name__)]))
        else:
            await updater.add_artifact([new_text_part(answer)], name="answer")
            await updater.complete()

    async def answer(self, question, updater):
        shared = {"question": question, "searches": [], "pages": []}
        async with contextlib.aclosing(stream(flow, shared)) as events:
            async for event in events:
                if event["type"] == "node_start" and event["kind"] == "node":
                    await updater.start_work(updater.new_agent_message([new_text_part(event["node"])]))
        return shared["answer"]

    async def cancel(self, context, queue):
        """Tell that a task is cancelled; its `execute` has been."""
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


def app(url="http://127.0.0.1:8000"):
    """The agent as an ASGI app, which others reach at `url`."""
    about = "Answers questions about Python from its documentation."
    card = AgentCard(
        name="Documentation",
        description=about,
        version="1.0",
        supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="answer", name="Answer", description=about, tags=["python"], examples=[QUESTION])],
    )
    handler = DefaultRequestHandler(FlowAgent(), InMemoryTaskStore(), card)
    return Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")])


@contextlib.asynccontextmanager
async def serving():
    """Serve the agent on a free port; the value is its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app(url), log_level="warning", timeout_graceful_shutdown=1))
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield url
        finally:
            server.should_exit = True
            await serve


async def ask(question, url):
    """Print what the agent at `url` tells while it works, and its answer."""
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        print(f"{card.name}: {card.description}")
        agent = await create_client(card, ClientConfig(httpx_client=http))
        request = SendMessageRequest(message=new_text_message(question, role=Role.ROLE_USER))
        async with contextlib.aclosing(agent.send_message(request)) as events:
            async for event in events:
                text = get_stream_response_text(event)
                if event.status_update.status.state == TaskState.TASK_STATE_FAILED:
                    raise A2AError(f"it failed: {text}")
                if text:
                    print(f"  {text}" if event.HasField("status_update") else text)


async def serve_and_ask(question):
    async with serving() as url:
        await ask(question, url)


def main():
    question, *url = sys.argv[1:] or [QUESTION]
    if not question.strip() or url[1:]:
        sys.exit(print("write one question, in quotes, and one URL at most", file=sys.stderr) or 2)
    try:
        asyncio.run(ask(question, *url) if url else serve_and_ask(question))
    except A2AError as error:
        raise SystemExit(f"no answer from the agent: {error}") from None


if __name__ == "__main__":
    run(main)
