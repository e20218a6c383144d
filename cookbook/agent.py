"""An agent: decide, search, decide again, and answer from what was found.

    python -m cookbook.agent "How do I cache the results of a function?"

The search is real, over the documentation of this very Python, and so is the answer: without a
model, rules choose the words to search for and quote the sentences that fit, with their source.
Expect two lines about what the agent does, then the answer.
"""

import json
import re

from cookbook.llm import ask_for_data, call_llm, retry_after
from cookbook.search import documentation, extract, keywords
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MOST_SEARCHES = 3


class Decide(Node):
    def prep(self, shared):
        found = "\n".join(f"[{page.name}] {page.text[:600]}" for page in shared["pages"])
        return (
            "Decide how to go on. You can search the documentation of Python.\n"
            f"Question: {shared['question']}\nSearches so far: {json.dumps(shared['searches'])}\n"
            'Answer in JSON: {"action": "search", "query": "..."} or {"action": "answer"}.\n'
            f"Found so far:\n{found}"
        )

    def exec(self, prompt):
        return ask_for_data(prompt, self.check, offline=decide_by_rule)

    def check(self, decision):
        if decision["action"] not in ("search", "answer"):
            raise ValueError('"action" must be "search" or "answer"')
        return decision["action"], decision["query"] if decision["action"] == "search" else ""

    def post(self, shared, prompt, decision):
        action, query = decision
        if action == "answer" or len(shared["searches"]) == MOST_SEARCHES:
            return "answer"
        shared["searches"].append(query)
        return "search"


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
        found = "\n\n".join(f"[{page.name}]\n{page.text[:3000]}" for page in shared["pages"])
        return (
            "Answer in three sentences, from these pages alone, and name them.\n"
            f"Question: {shared['question']}\n\nPages:\n\n{found}"
        )

    def exec(self, prompt):
        return call_llm(prompt, offline=answer_by_rule)

    def post(self, shared, prompt, answer):
        shared["answer"] = answer


def decide_by_rule(prompt):
    """Search for the question's words, then for those that no page holds, one search at the most each."""
    words = keywords(re.search(r"Question: (.*)", prompt)[1])
    searches = json.loads(re.search(r"Searches so far: (.*)", prompt)[1])
    found = prompt.split("Found so far:\n")[1].lower()
    missing = " ".join(word for word in words if word[:5] not in found)
    query = missing if searches else " ".join(words)
    done = not query or query in searches
    return json.dumps({"action": "answer"} if done else {"action": "search", "query": query})


def answer_by_rule(prompt):
    """Quote the sentences that fit the question, of each page its best."""
    question = re.search(r"Question: (.*)", prompt)[1]
    pages = re.findall(r"^\[([\w.-]+)\]\n(.*?)(?=\n\n\[[\w.-]+\]\n|\Z)", prompt, re.DOTALL | re.MULTILINE)
    quotes = [f"{name}: {' '.join(extract(text, question))}" for name, text in pages[:3]]
    return "\n".join(quotes) or "The documentation says nothing about that."


decide = Decide(max_retries=3, wait=retry_after)
decide - "search" >> Search() >> decide
decide - "answer" >> Answer(max_retries=3, wait=retry_after)
flow = Flow(start=decide)


def main():
    shared = {"question": argument("How do I cache the results of a function?"), "searches": [], "pages": []}
    flow.run(shared)
    print(f"\n{shared['answer']}")


if __name__ == "__main__":
    run(main)
