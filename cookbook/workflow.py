"""A workflow: three nodes in a row, each reading what the one before it wrote.

    python -m cookbook.workflow generators

Outlines an article about a subject of Python, writes its sections, and sets them as Markdown.
Without a model the article is made of sentences of the documentation, each with its source.
"""

import re

from cookbook.llm import call_llm, retry_after
from cookbook.search import documentation, extract
from cookbook.terminal import argument, run
from pocketflow import BatchNode, Flow, Node


class Outline(Node):
    def prep(self, shared):
        return f"List three headings of an article, one a line.\nSubject: {shared['subject']}"

    def exec(self, prompt):
        return call_llm(prompt, offline=outline_by_rule)

    def post(self, shared, prompt, outline):
        shared["headings"] = [line.strip("-* 0123456789.") for line in outline.splitlines() if line.strip()]


class Write(BatchNode):
    def prep(self, shared):
        return [f"Write two sentences.\nSubject: {shared['subject']}\nHeading: {h}" for h in shared["headings"]]

    def exec(self, prompt):
        return call_llm(prompt, offline=write_by_rule)

    def post(self, shared, prompts, sections):
        shared["sections"] = sections


class Style(Node):
    def post(self, shared, prep_res, exec_res):
        parts = [f"## {h}\n\n{text}" for h, text in zip(shared["headings"], shared["sections"], strict=True)]
        shared["article"] = "\n\n".join([f"# {shared['subject'].capitalize()}", *parts])


def outline_by_rule(prompt):
    """The three pages that fit the subject best are its headings."""
    subject = re.search(r"Subject: (.*)", prompt)[1]
    return "\n".join(page.name for page in documentation().search(subject, 3))


def write_by_rule(prompt):
    """What the page of that name says about the subject."""
    subject, heading = re.search(r"Subject: (.*)\nHeading: (.*)", prompt).groups()
    pages = [page for page in documentation().search(f"{subject} {heading}", 20) if page.name == heading]
    return " ".join(sentence for page in pages for sentence in extract(page.text, subject))


outline = Outline(max_retries=3, wait=retry_after)
outline >> Write(max_retries=3, wait=retry_after) >> Style()
flow = Flow(start=outline)


def main():
    shared = {"subject": argument("generators")}
    flow.run(shared)
    print(shared["article"])


if __name__ == "__main__":
    run(main)
