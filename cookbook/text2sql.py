"""A question becomes SQL, the database's own error repairs it, and the data cannot be changed.

    python -m cookbook.text2sql [QUESTION]

The database is real: the packages installed in this Python. SQLite asks `reads` about each step of a
query, and refuses all that does more than read. Without a model, a rule writes the SQL; its first try
guesses a column's name, so that you see the loop repair it from the error.
"""

import re
import sqlite3
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.terminal import argument, run
from pocketflow import Flow, Node

MAX_TRIES = 3
SCHEMA = "CREATE TABLE package (name TEXT, version TEXT, files INTEGER, requirements INTEGER)"
PROMPT = """
Write one SQLite query that answers the question.

{schema}

Question: {question}
{complaint}
Reply with the query alone.
"""
COMPLAINT = """
Your last query failed with {error}. Fix it:
{sql}
"""
READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


class Write(Node):
    def prep(self, shared):
        return shared["question"], shared["failure"]

    def exec(self, inputs):
        question, failure = inputs
        complaint = COMPLAINT.format(**failure) if failure else ""
        prompt = PROMPT.format(schema=SCHEMA, question=question, complaint=complaint)
        answer = call_llm(prompt, offline=lambda: guess(question, failure))
        return re.sub(r"```\w*", "", answer).strip()

    def post(self, shared, inputs, sql):
        shared["sql"] = sql
        print(sql)


class Execute(Node):
    def prep(self, shared):
        return shared["database"], shared["sql"]

    def exec(self, inputs):
        file, sql = inputs
        db = sqlite3.connect(file)
        db.set_authorizer(reads)
        try:
            return db.execute(sql).fetchmany(10)
        finally:
            db.close()

    def exec_fallback(self, inputs, error):
        if isinstance(error, sqlite3.Error):
            return error
        raise error

    def post(self, shared, inputs, rows):
        shared["tries"] += 1
        if isinstance(rows, sqlite3.Error):
            print(f"   error: {rows}")
            shared["failure"] = {"error": str(rows), "sql": shared["sql"]}
            return "repair" if shared["tries"] < MAX_TRIES else "give up"
        shared["rows"] = rows
        return "show"


class Show(Node):
    def post(self, shared, prep_res, exec_res):
        for row in shared["rows"]:
            print("  ", *row)


class GiveUp(Node):
    def post(self, shared, prep_res, exec_res):
        print("No query that works.")


def reads(action, *what):
    """Allow what only reads; refuse all else, such as a second file or a copy of the database."""
    return sqlite3.SQLITE_OK if action in READS else sqlite3.SQLITE_DENY


def guess(question, failure):
    """Order by the column that the question is about; the first try asks for one that is not there."""
    column = "requirements" if re.search(r"need|requir|depend", question.lower()) else "files"
    limit = next(iter(re.findall(r"\d+", question)), "3")
    if not failure:
        column = {"files": "size", "requirements": "dependencies"}[column]
    return f"SELECT name, {column} FROM package ORDER BY {column} DESC, name LIMIT {limit}"


write, execute = Write(max_retries=3, wait=retry_after), Execute()
write >> execute
execute - "repair" >> write
execute - "show" >> Show()
execute - "give up" >> GiveUp()
flow = Flow(start=write)


def fill(file):
    rows = {(d.metadata["Name"], d.version, len(d.files or []), len(d.requires or [])) for d in distributions()}
    db = sqlite3.connect(file)
    with db:
        db.execute(SCHEMA)
        db.executemany("INSERT INTO package VALUES (?, ?, ?, ?)", rows)
    db.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "packages.db"
        fill(file)
        question = argument("Which 3 packages have the most files?")
        flow.run({"question": question, "failure": None, "tries": 0, "database": str(file)})


if __name__ == "__main__":
    run(main)
