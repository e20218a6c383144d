"""A chat in the browser: tokens as they come, a stop button, and a run that ends when its reader leaves.

    pip install 'fastapi>=0.135' uvicorn
    python -m cookbook.web_chat [PORT]     then open http://127.0.0.1:8000

The page sends the whole conversation each time, so the server remembers nothing: it can be restarted,
or run as several processes, and no chat waits for another. Without a model the answers come from the
documentation of Python, and "more" asks for the next page on the same question.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

from cookbook.llm import has_model, retry_after, stream_llm
from cookbook.search import documentation, sentences
from cookbook.terminal import number, run
from pocketflow import AsyncFlow, AsyncNode
from pocketflow.stream import stream

try:
    import uvicorn
    from fastapi import Depends, FastAPI
    from fastapi.staticfiles import StaticFiles
    from pydantic import BaseModel
except ImportError:
    sys.exit(print("needs FastAPI: pip install 'fastapi>=0.135' uvicorn", file=sys.stderr) or 2)

SYSTEM = {"role": "system", "content": "You help people who learn Python. Answer in one paragraph, as plain text."}
REMEMBERED = 40  # of the messages, the last that a model is sent
PAUSE = 0.03  # seconds between two words, where no model sets the pace
ADVICE = {
    401: "The model's server refused the key: set OPENAI_API_KEY and start the chat's server again.",
    404: "The model's server knows no such model: set OPENAI_MODEL and start the chat's server again.",
    429: "The model is busy, or its quota is used up: wait a moment, then send it again.",
}


class Answer(AsyncNode):
    async def prep_async(self, shared):
        return [SYSTEM, *shared["messages"][-REMEMBERED:]]

    async def exec_async(self, messages):
        async for piece in stream_llm(messages, offline=lambda: look_up(messages)):
            yield piece
            await asyncio.sleep(0 if has_model() else PAUSE)


def look_up(messages):
    """The page of the documentation that fits the question best; after a "more", the next one."""
    asked = [message["content"].lower() for message in messages if message["role"] == "user"]
    more = len(list(takewhile(lambda line: line == "more", reversed(asked))))
    question = asked[-1 - more] if more < len(asked) else ""
    page, *others = documentation().search(question, more + 2)[more:] or [None]
    if page is None:
        return "I know nothing more about that." if more else "I know nothing about that. Ask me about Python."
    prose = [sentence for sentence in sentences(page.text) if sentence.endswith(".")][:6]
    hint = f'\n\nSay "more" for {others[0].name}.' if others else ""
    return f"{' '.join(prose) or page.text} [{page.name}]{hint}"


flow = AsyncFlow(start=Answer(max_retries=3, wait=retry_after))
app = FastAPI()


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str


async def events_of(messages: list[Message]):
    """The events of one answer. However the request ends, FastAPI closes what it depends on, and that cancels the run.

    An `aclosing` in `chat` is not enough: it never learns that a client left while output was waiting to be sent.
    """
    async with aclosing(stream(flow, {"messages": [message.model_dump() for message in messages]})) as events:
        yield events


@app.post("/chat")
async def chat(events: Annotated[AsyncIterator, Depends(events_of)]):
    """One line of JSON for each thing that is yielded, sent as it comes."""
    try:
        async for event in events:
            if event["type"] == "chunk":
                yield {"text": event["chunk"]}
            elif event["type"] == "node_retry":  # the answer begins anew
                yield {"retry": event["wait"]}
    except Exception as error:
        logging.getLogger("uvicorn.error").exception("an answer failed")
        yield {"error": explain(error)}


def explain(error):
    """What went wrong, and what to do about it, for the person at the page."""
    other = f"The model did not answer: {error}. See whether its server runs (OPENAI_BASE_URL), then send it again."
    return ADVICE.get(getattr(error, "status_code", None), other)


app.mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True))


def main():
    documentation()  # is read once, before anybody waits for it
    uvicorn.run(app, port=number(8000))


if __name__ == "__main__":
    run(main)
