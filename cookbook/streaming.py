"""Tokens as they come, and a run that stops the moment you want it to.

    python -m cookbook.streaming [QUESTION]

Press Enter to stop, also while the model is silent. `aclosing` cancels the run and waits for it, so
nothing is left running: not the node, and not the request to the model.
"""

import asyncio
import sys
from contextlib import aclosing

from cookbook.llm import has_model, stream_llm
from cookbook.search import documentation, sentences
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode
from pocketflow.stream import stream

PROMPT = """
Answer in one paragraph, for someone who learns Python.

Question: {question}
"""
QUESTION = "What is a context manager?"
PAUSE = 0.02  # seconds between two words, where no model sets the pace


class Answer(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]

    async def exec_async(self, question):
        prompt = PROMPT.format(question=question)
        async with aclosing(stream_llm(prompt, offline=lambda: look_up(question))) as pieces:  # ends the request, too
            async for piece in pieces:
                yield piece
                await asyncio.sleep(0 if has_model() else PAUSE)

    async def post_async(self, shared, question, pieces):
        shared["answer"] = "".join(pieces)


def look_up(question):
    pages = documentation().search(question, 1)
    return " ".join(sentence for page in pages for sentence in sentences(page.text)[:3]) or "I know nothing about that."


flow = AsyncFlow(start=Answer())


async def show(shared):
    """Print what comes until it ends, or until this task is cancelled."""
    async with aclosing(stream(flow, shared)) as events:
        async for event in events:
            if event["type"] == "chunk":
                print(event["chunk"], end="", flush=True)


async def answer():
    loop, showing = asyncio.get_running_loop(), asyncio.create_task(show({"question": argument(QUESTION)}))

    def stop():
        loop.remove_reader(sys.stdin)
        showing.cancel()

    if sys.stdin.isatty():
        loop.add_reader(sys.stdin, stop)
    await asyncio.wait([showing])
    if showing.cancelled():
        print("\n(stopped; nothing is left running)")
    else:
        showing.result()  # raises what went wrong
        print()


def main():
    asyncio.run(answer())


if __name__ == "__main__":
    run(main)
