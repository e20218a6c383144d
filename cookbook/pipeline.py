"""Functions as a pipeline: two modules, joined by the names of their parameters.

    python -m cookbook.pipeline [PACKAGE ...]

Reports on the packages that are installed in this Python, or on those that are named. It shows
modules that are joined by name, a resource that is opened once and closed at the end, the choice of
a final value, and an override: a value in place of a function's result, so that the function does
not run. `files` and `requirements` do not depend on each other, so they run at the same time.
"""

import sqlite3
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from cookbook.terminal import run
from pocketflow.dataflow import Dataflow


def open_db():
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("CREATE TABLE package (name TEXT, files INTEGER, requirements INTEGER)")
    yield db
    db.close()


pipeline = Dataflow(
    "packages",
    "report",
    base_dir=Path(__file__).parent / "pipelines",
    resources={"db": open_db},
    final_vars=["report"],
)


def main() -> None:
    named = sys.argv[1:]
    try:
        print(pipeline.execute(overrides={"names": named} if named else None)["report"])
    except PackageNotFoundError as error:
        raise SystemExit(print(f"{error.name}: no such package is installed", file=sys.stderr) or 2) from None


if __name__ == "__main__":
    run(main)
