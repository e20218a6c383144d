"""Print the table of every `bench_SUBJECT.py` beside this file, or of the subjects that are named."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from pathlib import Path

FILES = {path.stem.removeprefix("bench_"): path.stem for path in sorted(Path(__file__).parent.glob("bench_*.py"))}


def main(subjects: list[str]) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores. Ratio: ours / baseline, median and range.\n")
    print("| what | ratio | range | baseline | reach |\n| --- | --- | --- | --- | --- |")
    for subject in subjects or FILES:
        for row in importlib.import_module(f"tests.benchmarks.{FILES[subject]}").rows():
            print(
                f"| {row.what} | {row.ratio:.2f}x | {row.low:.2f} to {row.high:.2f} | {row.baseline} | {row.reach} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"one of {', '.join(FILES)}; all without one")
    subjects = parser.parse_args().subjects
    for subject in subjects:
        if subject not in FILES:
            parser.error(f"no subject {subject!r}: write one of {', '.join(FILES)}")
    main(subjects)
