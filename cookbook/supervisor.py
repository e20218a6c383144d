"""A supervisor: an agent's answer is checked by another node, and sent back with the reason.

    python -m cookbook.supervisor "How do I compress and encrypt a file?"

The worker is a flow of its own, here a search that reads one page further each time; the
supervisor accepts an answer that speaks of every word of the question, or the third one.
"""

import re

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import documentation, extract, keywords
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MOST_TRIES = 3


class Search(Node):
    def post(self, shared, prep_res, exec_res):
        shared["tries"] += 1
        shared["pages"] = documentation().search(shared["question"] + " " + shared["reason"], shared["tries"])


class Answer(Node):
    def prep(self, shared):
        pages = "\n\n".join(page.text[:3000] for page in shared["pages"])
        return f"Answer from the pages. {shared['reason']}\nQuestion: {shared['question']}\nPages:\n{pages}"

    def exec(self, prompt):
        return call_llm(prompt, offline=answer_by_rule)

    def post(self, shared, prompt, answer):
        shared["answer"] = answer


class Supervise(Node):
    def prep(self, shared):
        return (
            'Is this a full answer? Answer in JSON: {"accept": bool, "reason": text}.\n'
            f"Question: {shared['question']}\nAnswer: {shared['answer']}"
        )

    def exec(self, prompt):
        return ask_for_data(prompt, lambda data: (data["accept"], data["reason"]), offline=supervise_by_rule)

    def post(self, shared, prompt, verdict):
        accept, shared["reason"] = verdict
        print(f"try {shared['tries']}: {'accepted' if accept else shared['reason']}")
        return "accept" if accept or shared["tries"] == MOST_TRIES else "again"


class Publish(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"\n{shared['answer']}")


def answer_by_rule(prompt):
    question, pages = re.search(r"Question: (.*)\nPages:\n(.*)", prompt, re.DOTALL).groups()
    return " ".join(extract(pages, question, 3)) or "Nothing was found."


def supervise_by_rule(prompt):
    """Every word of the question has to come up in the answer."""
    question, answer = re.search(r"Question: (.*)\nAnswer: (.*)", prompt, re.DOTALL).groups()
    missing = [word for word in keywords(question) if word[:5] not in answer.lower()]
    return f'{{"accept": {str(not missing).lower()}, "reason": "It lacks: {", ".join(missing)}"}}'


search, supervise = Search(), Supervise(max_retries=3, wait=retry_after)
search >> Answer(max_retries=3, wait=retry_after)
worker = Flow(start=search)
worker >> supervise
supervise - "again" >> worker
supervise - "accept" >> Publish()
flow = Flow(start=worker)


def main():
    flow.run({"question": argument("How do I compress and encrypt a file?"), "tries": 0, "reason": ""})


if __name__ == "__main__":
    run(main)
