"""Structured output: a pydantic model says what is wanted, and a retry tells what was wrong.

    pip install pydantic
    python -m cookbook.structured_output [FILE]     (without a FILE: a short letter)

The schema of `Person` goes into the prompt, and `Person.model_validate` reads the answer. If it does
not fit, the attempt fails, and the node's next attempt tells the model why. Without a model, a rule
writes a skill wrong on its first attempt, as models do, so that you see the repair.
"""

import json
import re
import sys
from pathlib import Path
from typing import Literal

from cookbook.llm import ask_for_data, retry_after
from cookbook.terminal import run
from pocketflow import Flow, Node

try:
    from pydantic import BaseModel, Field, ValidationError
except ImportError:
    sys.exit(print("needs pydantic: pip install pydantic", file=sys.stderr) or 2)

LETTER = """Ada Lovelace
ada@example.org

I have worked with engines since 1833, and I know Python, SQL and French.
"""
PROMPT = """
Read the letter of someone who applies for a job.

<letter>
{letter}
</letter>

Answer with one JSON object that fits this schema:
{schema}
"""


class Person(BaseModel):
    name: str = Field(min_length=1)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    skills: list[Literal["python", "sql", "rust", "french", "german"]]


class Extract(Node):
    def prep(self, shared):
        return shared["letter"]

    def exec(self, letter):
        prompt = PROMPT.format(letter=letter, schema=json.dumps(Person.model_json_schema()))
        return ask_for_data(prompt, check, offline=lambda: read(letter, tidy=self.cur_retry > 0))

    def post(self, shared, letter, person):
        shared["person"] = person
        print(f"accepted at attempt {self.cur_retry + 1}")


def check(data):
    """The person; or what is wrong with the data, as the next attempt tells it to the model."""
    try:
        return Person.model_validate(data)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        print(f"rejected: {'; '.join(faults)}")
        raise ValueError("; ".join(faults)) from None


def read(letter, tidy):
    """The first line is the name; the rest is found by its form."""
    email = re.search(r"\S+@\S+\w", letter)
    skills = re.findall(r"\b(?:Python|SQL|Rust|French|German)\b", letter)
    return {
        "name": (letter.strip().splitlines() or [""])[0],
        "email": email[0] if email else "",
        "skills": [skill if skill == "SQL" and not tidy else skill.lower() for skill in skills],
    }


flow = Flow(start=Extract(max_retries=3, wait=retry_after))


def main():
    shared = {"letter": Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else LETTER}
    try:
        flow.run(shared)
    except ValueError as error:
        raise SystemExit(f"gave up after three attempts: {error}") from None
    print(shared["person"].model_dump_json(indent=2))


if __name__ == "__main__":
    run(main)
