"""A workflow: three nodes in a row, each reading what the one before it wrote.

    python -m cookbook.workflow "temporary files"

Outlines an article about a subject in Python, writes its sections, and puts them together as Markdown.
Without a model, the article is made of sentences from the documentation, each with its source.
"""

from cookbook.llm import call_llm, retry_after
from cookbook.search import documentation, quote, sentences
from cookbook.terminal import argument, run
from pocketflow import BatchNode, Flow, Node

OUTLINE = """
Plan a short article for programmers about {subject} in Python.
List its three headings, one a line, and nothing else.
"""
SECTION = """
You write one section of an article for programmers about {subject} in Python.

Write two sentences below the heading "{heading}".
"""


class Outline(Node):
    def prep(self, shared):
        return shared["subject"]

    def exec(self, subject):
        prompt = OUTLINE.format(subject=subject)
        text = call_llm(prompt, offline=lambda: "\n".join(three_pages(subject)))
        return [line.strip("-* 0123456789.") for line in text.splitlines() if line.strip()]

    def post(self, shared, subject, headings):
        shared["headings"] = headings


class Write(BatchNode):
    def prep(self, shared):
        return [(shared["subject"], heading) for heading in shared["headings"]]

    def exec(self, item):
        subject, heading = item
        prompt = SECTION.format(subject=subject, heading=heading)
        return call_llm(prompt, offline=lambda: look_up(subject, heading))

    def post(self, shared, items, sections):
        shared["sections"] = sections


class Assemble(Node):
    def post(self, shared, prep_res, exec_res):
        parts = [f"## {head}\n\n{text}" for head, text in zip(shared["headings"], shared["sections"], strict=True)]
        parts = parts or ["The documentation says nothing of it."]
        shared["article"] = "\n\n".join([f"# {shared['subject'].capitalize()}", *parts])


def three_pages(subject):
    """The names of the three best pages that begin differently, so that the article says nothing twice."""
    names = {}
    for page in documentation().search(subject, 10):
        names.setdefault(sentences(page.text)[0].split(";")[0].rstrip("."), page.name)
    return list(names.values())[:3]


def look_up(subject, heading):
    """What the page of that name says about the subject."""
    pages = [page for page in documentation().search(f"{subject} {heading}", 20) if page.name == heading]
    return quote(pages, subject)


outline = Outline(max_retries=3, wait=retry_after)
outline >> Write(max_retries=3, wait=retry_after) >> Assemble()
flow = Flow(start=outline)


def main():
    shared = {"subject": argument("temporary files")}
    flow.run(shared)
    print(shared["article"])


if __name__ == "__main__":
    run(main)
