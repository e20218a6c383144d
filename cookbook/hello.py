"""The whole idea in sixty lines: read from the store, call a model, write to the store, pick the next node.

    python -m cookbook.hello "How do I shuffle a list?"

Expect one sentence and its source: without a model, a page of Python's own documentation.
"""

from cookbook.llm import call_llm, retry_after
from cookbook.search import documentation, quote
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

PROMPT = """
Answer in one sentence, for someone who learns Python.

Question: {question}
"""


class Answer(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, question):
        prompt = PROMPT.format(question=question)
        return call_llm(prompt, offline=lambda: look_up(question))

    def post(self, shared, question, answer):
        shared["answer"] = answer
        return "known" if answer else "unknown"


class Tell(Node):
    def post(self, shared, prep_res, exec_res):
        print(shared["answer"])


class Apologize(Node):
    def post(self, shared, prep_res, exec_res):
        print("I do not know.")


def look_up(question):
    return quote(documentation().search(question, 1), question)


answer = Answer(max_retries=3, wait=retry_after)
answer - "known" >> Tell()
answer - "unknown" >> Apologize()
flow = Flow(start=answer)


def main():
    flow.run({"question": argument("How do I shuffle a list?")})


if __name__ == "__main__":
    run(main)
