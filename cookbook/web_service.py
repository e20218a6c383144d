"""A web service: one limit and one timeout for the calls of all requests, in plain Python.

    pip install fastapi httpx
    python -m cookbook.web_service     (asks the service twelve times at once, in this process)

An `asyncio.Semaphore` that all requests share bounds the calls to the model, and `asyncio.timeout`
one attempt; the time spent waiting for a slot does not count. `aiolimiter.AsyncLimiter` in its place
limits the calls a minute. To serve it: `pip install uvicorn`, `uvicorn cookbook.web_service:app`.
"""

import asyncio
import sys

from cookbook.llm import call_llm_async, retry_after
from cookbook.search import documentation, quote
from cookbook.terminal import run
from pocketflow import AsyncFlow, AsyncNode

try:
    import httpx
    from fastapi import FastAPI, HTTPException
except ImportError:
    sys.exit(print("needs FastAPI: pip install fastapi httpx", file=sys.stderr) or 2)

SECONDS = 30  # how long one attempt may take
PROMPT = """
Answer in one sentence, for someone who learns Python.

Question: {question}
"""
llm_slots = asyncio.Semaphore(3)


class Answer(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]

    async def exec_async(self, question):
        async with llm_slots, asyncio.timeout(SECONDS):
            return await call_llm_async(PROMPT.format(question=question), offline=lambda: look_up(question))

    async def post_async(self, shared, question, answer):
        shared["answer"] = answer


def look_up(question):
    return quote(documentation().search(question, 1), question)


app = FastAPI()
flow = AsyncFlow(start=Answer(max_retries=2, wait=retry_after))


@app.post("/answer")
async def answer(question: str):
    shared = {"question": question}
    try:
        await flow.run_async(shared)
    except TimeoutError:
        raise HTTPException(504, "the model took too long") from None
    return {"answer": shared["answer"]}


async def ask_twelve_times():
    questions = [f"How do I {task} a list?" for task in ("sort", "copy", "shuffle", "reverse")] * 3
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        requests = (client.post("/answer", params={"question": question}) for question in questions)
        responses = await asyncio.gather(*requests)
    for question, response in zip(questions[:4], responses, strict=False):
        print(f"{question} {response.json()['answer']}")
    answered = sum(response.is_success for response in responses)
    print(f"{len(responses)} requests at once, {answered} answered.")


def main():
    asyncio.run(ask_twelve_times())


if __name__ == "__main__":
    run(main)
