"""An agent: decide, search, decide again, and answer from what was found.

    python -m cookbook.agent "How do I cache the results of a function?"

The search is real, over the documentation of this very Python, and so is the answer: without a
model, rules choose the words to search for and quote the sentences that fit, with their source.
Expect two lines about what the agent does, then the answer.
"""

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import as_text, documentation, keywords, quote
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MAX_SEARCHES = 3
DECIDE = """
You answer questions about Python from its documentation, which you can search.

Question: {question}
Searches so far: {searches}
Found so far:
{found}

Is that enough to answer? Reply with JSON, either
{{"action": "answer"}} or {{"action": "search", "query": "words to search for"}}
"""
ANSWER = """
Answer the question in three sentences, from these pages alone, and name them.

Question: {question}

{found}
"""


class Decide(Node):
    def prep(self, shared):
        return shared["question"], shared["searches"], shared["pages"]

    def exec(self, inputs):
        question, searches, pages = inputs
        prompt = DECIDE.format(question=question, searches=", ".join(searches) or "none", found=as_text(pages))
        return ask_for_data(prompt, check, offline=lambda: choose(question, searches, pages))

    def post(self, shared, inputs, decision):
        if decision["action"] == "search" and len(shared["searches"]) < MAX_SEARCHES:
            shared["searches"].append(decision["query"])
            return "search"
        return "answer"


class Search(Node):
    def prep(self, shared):
        return shared["searches"][-1]

    def exec(self, query):
        return documentation().search(query)

    def post(self, shared, query, pages):
        print(f"searched: {query} -> {', '.join(page.name for page in pages) or 'nothing'}")
        shared["pages"] += [page for page in pages if page not in shared["pages"]]


class Answer(Node):
    def prep(self, shared):
        return shared["question"], shared["pages"]

    def exec(self, inputs):
        question, pages = inputs
        prompt = ANSWER.format(question=question, found=as_text(pages))
        return call_llm(prompt, offline=lambda: quote(pages[:2], question) or "The documentation says nothing of it.")

    def post(self, shared, inputs, answer):
        shared["answer"] = answer


def check(decision):
    if decision["action"] == "search" and not decision["query"]:
        raise ValueError('"query" must say what to search for')
    if decision["action"] not in ("search", "answer"):
        raise ValueError('"action" must be "search" or "answer"')
    return decision


def choose(question, searches, pages):
    """Search for the question's words, then for those that no page holds."""
    found = as_text(pages).lower()
    missing = " ".join(word for word in keywords(question) if word[:5] not in found)
    return {"action": "search", "query": missing} if missing and missing not in searches else {"action": "answer"}


decide, answer = Decide(max_retries=3, wait=retry_after), Answer(max_retries=3, wait=retry_after)
decide - "search" >> Search() >> decide
decide - "answer" >> answer
flow = Flow(start=decide)


def main():
    shared = {"question": argument("How do I cache the results of a function?"), "searches": [], "pages": []}
    flow.run(shared)
    print(f"\n{shared['answer']}")


if __name__ == "__main__":
    run(main)
