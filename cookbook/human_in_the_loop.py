"""Human in the loop: a run that stops for an answer, and goes on in another process, days later if need be.

    python -m cookbook.human_in_the_loop [REQUEST ...]     starts, and stops with a question
    python -m cookbook.human_in_the_loop --answer yes      goes on; "no" ends it, and any other
                                                           answer is taken as instructions for a new draft

The draft before the question is not made again: the journal has it. No process waits for the
answer. The run is kept in human_in_the_loop.db, in the current folder; one that was killed goes on
when it is started without a REQUEST.
"""

import sys
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.terminal import run
from pocketflow import Flow, Node
from pocketflow.journal import Journal, Paused, pause

FILE, RUN = Path("human_in_the_loop.db"), "refund"
REQUEST = "The lamp arrived broken, I want my money back."
PROMPT = """
Draft a friendly answer to this customer, in two sentences.

Customer: {request}

The editor's wish: {wish}
"""


class Draft(Node):
    def prep(self, shared):
        return shared["request"], shared.get("wish", "none")

    def exec(self, inputs):
        request, wish = inputs
        print("(drafting)")
        return call_llm(PROMPT.format(request=request, wish=wish), offline=lambda: write_draft(request, wish))

    def post(self, shared, inputs, draft):
        shared["draft"] = draft


class Approve(Node):
    def prep(self, shared):
        return shared["draft"]

    def exec(self, draft):
        return pause(f"Send this?\n\n  {draft}\n")  # stops the run; the next one goes on with the answer

    def post(self, shared, draft, answer):
        shared["wish"] = answer
        return {"yes": "send", "no": "drop"}.get(answer, "again")


class Send(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Sent: {shared['draft']}")


class Drop(Node):
    def post(self, shared, prep_res, exec_res):
        print("Not sent.")


def write_draft(request, wish):
    text = f'We are sorry that you had to write "{request}" Your money is on its way.'
    return text if wish == "none" else f"{text} P.S. {wish}"


draft, approve = Draft(max_retries=3, wait=retry_after), Approve()
draft >> approve
approve - "again" >> draft
approve - "send" >> Send()
approve - "drop" >> Drop()


def main():
    words, has_begun = sys.argv[1:], FILE.exists()  # at its end the run removes the file
    is_answer = words[:1] == ["--answer"]
    if words and is_answer != has_begun:
        told = "A run has begun: go on without a request." if has_begun else "No run waits for an answer."
        print(told, file=sys.stderr)
        raise SystemExit(2)
    shared = {} if has_begun else {"request": " ".join(words) or REQUEST}
    with Journal(FILE) as journal:
        asked = any(begun["questions"] for begun in journal.runs(run_id=RUN))
        if is_answer and asked:  # else it was killed before it could ask: first it does that
            journal.answer(RUN, " ".join(words[1:]))
        try:
            journal.run(Flow(start=draft), shared, run_id=RUN)
        except Paused as paused:
            print(f"{paused.question}\nAnswer with: python -m cookbook.human_in_the_loop --answer yes")
            return
    FILE.unlink()


if __name__ == "__main__":
    run(main)
