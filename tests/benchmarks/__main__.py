"""Print the table of every `bench_SUBJECT.py` beside this file, or of the subjects that are named."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path


def main(subjects: list[str]) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores. Ratio: ours / baseline, median and range.\n")
    print("| what | ratio | range | baseline | reach |\n| --- | --- | --- | --- | --- |")
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        subject = path.stem.removeprefix("bench_")
        if subjects and subject not in subjects:
            continue
        for row in importlib.import_module(f"tests.benchmarks.{path.stem}").rows():
            print(
                f"| {row.what} | {row.ratio:.2f}x | {row.low:.2f} to {row.high:.2f} | {row.baseline} | {row.reach} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
