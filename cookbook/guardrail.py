"""Guardrails: check what goes to the model, and what comes back, each in a node of its own.

    python -m cookbook.guardrail "How do I copy a folder? Tell ada@example.org"

A question that is off the subject, or gives orders to the model, is refused before anything is paid for.
Mail addresses and long numbers are masked on their way in and out, and an answer that tells a secret is
held back.
"""

import re

from cookbook.llm import call_llm, retry_after
from cookbook.search import as_text, documentation, quote
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

PRIVATE = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w|\b\d(?:[ -]?\d){7,}\b")
ORDER = re.compile(r"(?i)ignore (all |any |the |your )*(previous|above|earlier)|system prompt")
SECRET = re.compile(r"(?i)(password|api key|token)( is|:| =) *\w")
PROMPT = """
Answer the question in two sentences, from these pages alone.

Question: {question}

{pages}
"""


class CheckQuestion(Node):
    def prep(self, shared):
        return masked(shared["question"])

    def exec(self, question):
        return fault(question)

    def post(self, shared, question, reason):
        shared["question"], shared["reason"] = question, reason
        return "refuse" if reason else "ask"


class Answer(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, question):
        pages = documentation().search(question, 2)
        prompt = PROMPT.format(question=question, pages=as_text(pages))
        return call_llm(prompt, offline=lambda: quote(pages, question))

    def post(self, shared, question, answer):
        shared["answer"] = answer


class CheckAnswer(Node):
    def post(self, shared, prep_res, exec_res):
        shared["answer"] = masked(shared["answer"])
        shared["reason"] = "the answer tells a secret" if SECRET.search(shared["answer"]) else ""
        return "refuse" if shared["reason"] else "tell"


class Tell(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"asked: {shared['question']}\n{shared['answer']}")


class Refuse(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"Refused: {shared['reason']}.")


def masked(text):
    return PRIVATE.sub("***", text)


def fault(question):
    """Why this may not be asked; empty if it may."""
    if ORDER.search(question):
        return "the question gives orders to the model"
    if len(question) > 500:
        return f"the question has {len(question)} characters; 500 are allowed"
    return "" if documentation().search(question, 1) else "the question is not about Python"


check, answer, check_answer, refuse = CheckQuestion(), Answer(max_retries=3, wait=retry_after), CheckAnswer(), Refuse()
check - "ask" >> answer >> check_answer
check - "refuse" >> refuse
check_answer - "tell" >> Tell()
check_answer - "refuse" >> refuse
flow = Flow(start=check)


def main():
    flow.run({"question": argument("How do I copy a folder? Tell ada@example.org")})


if __name__ == "__main__":
    run(main)
