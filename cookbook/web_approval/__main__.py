"""Human in the loop, on the web: a draft waits for a person, and no restart of the server loses it.

    pip install 'fastapi>=0.135' uvicorn
    python -m cookbook.web_approval [PORT]     then open http://127.0.0.1:8000, or without the page:

    curl localhost:8000/drafts --json '{"message": "The lamp arrived broken."}'
    curl localhost:8000/drafts/RUN_ID/answer --json '{"value": "approve", "by": "Ada"}'

Kill the server while a draft waits, and start it again: the draft is there and is not written again,
and who approved it is in the history. http://127.0.0.1:8000/studio/ shows every run step by step.
The runs are kept in web_approval.db, in the current folder.
"""

import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from cookbook.llm import call_llm, retry_after
from cookbook.terminal import number, run
from pocketflow import Flow, Node
from pocketflow.journal import Journal, JournalError, Paused, pause

try:
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse
    from fastapi.staticfiles import StaticFiles
    from pydantic import BaseModel, Field

    from pocketflow import serve
except ImportError:
    sys.exit(print("needs FastAPI: pip install 'fastapi>=0.135' uvicorn", file=sys.stderr) or 2)

FILE = "web_approval.db"
PROMPT = """
Draft a friendly answer to this customer, in two sentences.

Customer: {message}
"""


class Draft(Node):
    def prep(self, shared):
        return shared["message"]

    def exec(self, message):
        print("(drafting)")
        return call_llm(PROMPT.format(message=message), offline=lambda: write_draft(message))

    def post(self, shared, message, draft):
        shared["draft"] = draft


class Approve(Node):
    def exec(self, prep_res):
        return pause("Send this answer?", choices=["approve", "reject"])  # stops the run, until somebody has answered

    def post(self, shared, prep_res, choice):
        return choice


class Send(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Sent: {shared['draft']}")


def write_draft(message):
    about = message.split(",")[0].rstrip(".!")
    return f"Thank you for telling us, and we are sorry to read: {about!r}. You get your money back within three days."


draft, approve = Draft(max_retries=3, wait=retry_after), Approve()
draft >> approve
approve - "approve" >> Send()
approve - "reject" >> None
flow = Flow(start=draft)


class Message(BaseModel):
    message: str = Field(min_length=1)


class Decision(BaseModel):
    value: str
    by: str = Field(min_length=1)  # in a service of your own, whoever is logged in


def build_app(journal):
    studio = serve.app({"reply": flow}, journal)  # where each run is seen step by step
    app = FastAPI(lifespan=studio.router.lifespan_context)

    def go_on(run_id, shared):
        """Run to the question or to the end; what is recorded already is not done again."""
        with suppress(Paused):
            journal.run(flow, shared, run_id=run_id, tags={"flow": "reply"})  # as the studio calls it
        return {"run_id": run_id}

    @app.get("/drafts")
    def drafts():
        """Every run, with what is in its store and who answered."""
        return [
            {**known, "shared": journal.load(known["run_id"]), "history": journal.history(known["run_id"])}
            for known in journal.runs()
        ]

    @app.post("/drafts")
    def begin(body: Message):
        return go_on(f"reply-{uuid4().hex[:12]}", body.model_dump())

    @app.post("/drafts/{run_id}/answer")
    def answer(run_id: str, decision: Decision):
        journal.answer(run_id, decision.value, by=decision.by)
        return go_on(run_id, {})

    @app.post("/drafts/{run_id}/resume")
    def resume(run_id: str):
        """Resume a run that failed, or was running when the server died."""
        return go_on(run_id, {})

    @app.exception_handler(JournalError)
    def refuse(request, error):
        """For example, somebody else answered first."""
        return JSONResponse({"detail": str(error)}, 409)

    app.mount("/studio", studio)
    app.mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True))
    return app


def main():
    with Journal(FILE) as journal:
        app = build_app(journal)
        uvicorn.run(app, port=number(8000), timeout_graceful_shutdown=1)  # second; who watches a run does not leave


if __name__ == "__main__":
    run(main)
