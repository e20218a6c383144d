"""A supervisor: an agent's answer is checked by another node, and sent back with the reason.

    python -m cookbook.supervisor "How do I sort and shuffle a list?"

The worker is a flow of its own. The supervisor accepts the answer or says what it lacks, which the
worker's next search takes into account; the third answer is accepted as it is. Without a model, an
answer has to mention every word of the question.
"""

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import as_text, documentation, keywords, quote
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MAX_TRIES = 3
ANSWER = """
Answer the question from these pages. {advice}

Question: {question}

{pages}
"""
SUPERVISE = """
You check the work of an assistant.

Question: {question}
Its answer: {answer}

Does it answer all of the question? Reply with JSON:
{{"accept": true or false, "advice": "what it lacks"}}
"""


class Search(Node):
    def prep(self, shared):
        return shared["advice"] or shared["question"]

    def exec(self, query):
        return documentation().search(query, 1)

    def post(self, shared, query, pages):
        shared["pages"] += [page for page in pages if page not in shared["pages"]]


class Answer(Node):
    def prep(self, shared):
        return shared["question"], shared["advice"], shared["pages"]

    def exec(self, inputs):
        question, advice, pages = inputs
        prompt = ANSWER.format(question=question, advice=advice, pages=as_text(pages))
        return call_llm(prompt, offline=lambda: quote(pages, question) or "Nothing was found.")

    def post(self, shared, inputs, answer):
        shared["answer"] = answer
        shared["tries"] += 1


class Supervise(Node):
    def prep(self, shared):
        return shared["question"], shared["answer"]

    def exec(self, inputs):
        question, answer = inputs
        prompt = SUPERVISE.format(question=question, answer=answer)
        return ask_for_data(prompt, check, offline=lambda: compare(question, answer))

    def post(self, shared, inputs, verdict):
        accepted, shared["advice"] = verdict
        print(f"try {shared['tries']}: {'accepted' if accepted else shared['advice']}")
        return "accept" if accepted or shared["tries"] == MAX_TRIES else "again"


class Publish(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"\n{shared['answer']}")


def check(verdict):
    if not isinstance(verdict["accept"], bool):
        raise ValueError(f'"accept" must be true or false, not {verdict["accept"]!r}')
    return verdict["accept"], str(verdict["advice"])


def compare(question, answer):
    """Every word of the question has to come up in the answer."""
    missing = [word for word in keywords(question) if word[:5] not in answer.lower()]
    return {"accept": not missing, "advice": f"It lacks: {', '.join(missing)}."}


search = Search()
search >> Answer(max_retries=3, wait=retry_after)
worker, supervise = Flow(start=search), Supervise(max_retries=3, wait=retry_after)
worker >> supervise
supervise - "again" >> worker
supervise - "accept" >> Publish()
flow = Flow(start=worker)


def main():
    flow.run({"question": argument("How do I sort and shuffle a list?"), "pages": [], "tries": 0, "advice": ""})


if __name__ == "__main__":
    run(main)
