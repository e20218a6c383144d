"""Structured output: data out of text, checked, and asked for again with what was wrong.

    python -m cookbook.structured_output [FILE]     (without a FILE: a short letter)

`ask_for_data` reads the JSON (or YAML) of the answer and hands it to `check`; what `check`
raises fails the attempt, and the node's next attempt tells it to the model.
"""

import json
import re
import sys
from pathlib import Path

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import run
from pocketflow import Flow, Node

LETTER = """Ada Lovelace
ada@example.org

I have worked with engines since 1833, and I know Python, SQL and French.
"""
SKILLS = ("Python", "SQL", "Rust", "French", "German")


class Extract(Node):
    def prep(self, shared):
        return (
            'Give as JSON {"name": text, "email": text, "skills": [text]} what this letter says.\n'
            f"Skills are any of: {', '.join(SKILLS)}.\nLetter:\n{shared['letter']}"
        )

    def exec(self, prompt):
        return ask_for_data(prompt, check, offline=extract_by_rule)

    def post(self, shared, prompt, person):
        shared["person"] = person


def check(person):
    if "@" not in person["email"]:
        raise ValueError(f"no e-mail address: {person['email']!r}")
    unknown = set(person["skills"]) - set(SKILLS)
    if unknown:
        raise ValueError(f"unknown skills: {sorted(unknown)}")
    return {"name": person["name"], "email": person["email"], "skills": person["skills"]}


def extract_by_rule(prompt):
    """The first line is the name; the rest is found by its form."""
    letter = prompt.split("Letter:\n")[1]
    email = re.search(r"[\w.+-]+@[\w-]+\.[\w.-]*\w", letter)
    skills = [skill for skill in SKILLS if re.search(rf"\b{skill}\b", letter)]
    name = (letter.strip().splitlines() or [""])[0]
    return json.dumps({"name": name, "email": email[0] if email else "", "skills": skills})


flow = Flow(start=Extract(max_retries=3, wait=retry_after))


def main():
    shared = {"letter": Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else LETTER}
    try:
        flow.run(shared)
    except ValueError as error:
        raise SystemExit(f"gave up after three attempts: {error}") from None
    print(json.dumps(shared["person"], indent=2))


if __name__ == "__main__":
    run(main)
