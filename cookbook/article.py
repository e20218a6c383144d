"""Three writers at once, and a person who decides: a flow to start, watch and answer in the studio.

    pip install starlette uvicorn
    python -m pocketflow serve cookbook.article:flow --journal runs.db     (and open http://127.0.0.1:8000)
    python -m cookbook.article [SUBJECT]                                   (the same in the terminal)

The writers stream what they write, so the studio shows each word of each as it comes. The run then
stops until someone says "publish"; "again" starts over. Without a model each writer quotes a page of
Python's documentation.
"""

import asyncio
import tempfile

from cookbook.llm import has_model, retry_after, stream_llm
from cookbook.search import documentation, sentences
from cookbook.terminal import argument, run
from pocketflow import AsyncFlow, AsyncNode, Node
from pocketflow.journal import Journal, JournalError, Paused, pause

SUBJECT = "asyncio queue"
PROMPT = """
You write one paragraph of an article about {subject}, for people who learn Python.
{task}

From the documentation:
{page}
"""
PAUSE = 0.03  # seconds between two words, where no model sets the pace


class Research(Node):
    def prep(self, shared):
        return shared.get("subject", SUBJECT)

    def exec(self, subject):
        return [page.text for page in documentation().search(subject, 3)]

    def post(self, shared, subject, pages):
        shared["subject"], shared["pages"] = subject, pages
        shared["paragraphs"] = {}
        return "write" if len(pages) == 3 else "give up"


class Write(AsyncNode):
    def __init__(self, name, number, task):
        super().__init__(max_retries=3, wait=retry_after)
        self.name, self.number, self.task = name, number, task

    async def prep_async(self, shared):
        return shared["subject"], shared["pages"][self.number]

    async def exec_async(self, inputs):
        subject, page = inputs
        prompt = PROMPT.format(subject=subject, task=self.task, page=page)
        async for piece in stream_llm(prompt, offline=lambda: " ".join(sentences(page)[:3])):
            yield piece
            await asyncio.sleep(0 if has_model() else PAUSE)

    async def post_async(self, shared, inputs, pieces):
        shared["paragraphs"][self.name] = "".join(pieces).strip()


class Join(Node):
    def prep(self, shared):
        return [shared["paragraphs"][writer.name] for writer in writers]

    def exec(self, paragraphs):
        return "\n\n".join(paragraphs)

    def post(self, shared, paragraphs, article):
        shared["article"] = article


class Approve(Node):
    def prep(self, shared):
        return shared["subject"]

    def exec(self, subject):
        return pause(f"Publish the article about {subject}?", choices=["publish", "again"])

    def post(self, shared, subject, answer):
        return answer


class Publish(Node):
    def post(self, shared, prep_res, exec_res):
        shared["published"] = True


class GiveUp(Node):
    def post(self, shared, prep_res, exec_res):
        shared["article"] = f"There is too little about {shared['subject']}."


class Article(AsyncFlow):
    """Three write about a subject at once, and you say what is published. Start with {"subject": "asyncio queue"}."""


writers = [
    Write("Explain", 0, "Say what it is."),
    Write("Compare", 1, "Say what else there is, and when to take that."),
    Write("Warn", 2, "Say what goes wrong most often."),
]
research, approve = Research(), Approve()
research - "write" >> writers >> Join() >> approve
research - "give up" >> GiveUp()
approve - "publish" >> Publish()
approve - "again" >> research
flow = Article(start=research)


def run_until_asked(journal, shared):
    """Run the flow until it asks, and return what; None at its end."""
    try:
        asyncio.run(journal.run_async(flow, shared, run_id="article"))
    except Paused as paused:
        return paused


def answer(journal, paused):
    print(f"{journal.load('article')['article']}\n")
    try:
        journal.answer("article", input(f"{paused.question} {' or '.join(paused.choices)}: ").strip())
    except JournalError as error:  # none of the choices: the run asks again
        print(error)


def main():
    shared = {"subject": argument(SUBJECT)}
    with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/runs.db") as journal:
        while paused := run_until_asked(journal, shared):
            answer(journal, paused)
    print("Published." if shared.get("published") else shared["article"])


if __name__ == "__main__":
    run(main)
