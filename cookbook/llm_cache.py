"""Never pay for the same prompt twice: a cache of fifteen lines, outside of the nodes, in SQLite.

    python -m cookbook.llm_cache [FILE]     (default: a cache in memory; run it twice with a FILE)

A hook sees every exec before it starts. Where it knows the input it answers with a `Skip`, and the
exec is not called. So one cache serves all flows of a program, sync and async, and no node has
to know about it. The prompt is a part of that input, so a changed prompt is asked anew.
"""

import json
import sqlite3
import sys

from cookbook.llm import call_llm
from cookbook.search import documentation, quote
from cookbook.terminal import run
from pocketflow import BatchNode, Flow
from pocketflow.hooks import Hook, Skip

PROMPT = """
Answer in one sentence, for someone who learns Python.

Question: {question}
"""
QUESTIONS = ["How do I sort a list?", "How do I shuffle a list?", "How do I sort a list?"]


class Cache(Hook):
    """Keeps what exec returned, by the name of its node and its input; both have to be JSON."""

    def __init__(self, file):
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS answers (key PRIMARY KEY, answer)")

    def on_start(self, step):
        if step.kind == "exec":
            for (answer,) in self.db.execute("SELECT answer FROM answers WHERE key = ?", (self.key(step),)):
                return Skip(json.loads(answer))

    def on_end(self, step, result):
        if step.kind == "exec" and not step.skipped:
            self.db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (self.key(step), json.dumps(result)))

    def key(self, step):
        return json.dumps([step.name, step.input], sort_keys=True)


class Answer(BatchNode):
    def prep(self, shared):
        return [(question, PROMPT.format(question=question)) for question in shared["questions"]]

    def exec(self, item):
        question, prompt = item
        print(f"paid for: {question}")
        return call_llm(prompt, offline=lambda: look_up(question))

    def post(self, shared, items, answers):
        shared["answers"] = answers


def look_up(question):
    return quote(documentation().search(question, 1), question)


def main():
    file, shared = sys.argv[1] if len(sys.argv) > 1 else ":memory:", {"questions": QUESTIONS}
    try:
        cache = Cache(file)
    except sqlite3.Error as error:
        raise SystemExit(print(f"{file}: {error}", file=sys.stderr) or 2) from None
    with cache:
        Flow(start=Answer()).run(shared)
    cache.db.close()
    for answer in shared["answers"]:
        print(answer)


if __name__ == "__main__":
    run(main)
