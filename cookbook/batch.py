"""A batch: one exec for every chunk of a file that need not fit into memory.

    python -m cookbook.batch [FILE.csv] [COLUMN]     (without a FILE: the sizes of Python's own modules)

`prep` returns an iterator of chunks, pulled as they are needed; `post` gets the results in order.
"""

import csv
import itertools
import os
import sys
from pathlib import Path

from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node

ROWS = 50  # in a chunk


class Measure(BatchNode):
    def prep(self, shared):
        return chunks(shared["rows"])

    def exec(self, rows):
        return [float(row[self.params["column"]]) for row in rows]

    def post(self, shared, rows, chunks_of_numbers):
        shared["chunks"] = len(chunks_of_numbers)
        shared["numbers"] = list(itertools.chain.from_iterable(chunks_of_numbers))


class Report(Node):
    def post(self, shared, prep_res, exec_res):
        numbers = shared["numbers"]
        print(f"{len(numbers)} rows in {shared['chunks']} chunks")
        if numbers:
            total, largest = sum(numbers), max(numbers)
            print(f"total {total:,.15g}, mean {total / len(numbers):,.2f}, largest {largest:,.15g}")


def chunks(rows):
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, ROWS)):
        yield chunk


def module_sizes():
    for file in sorted(Path(os.__file__).parent.glob("*.py")):
        yield {"module": file.stem, "bytes": file.stat().st_size}


measure = Measure()
measure >> Report()
flow = Flow(start=measure)


def main():
    if len(sys.argv) == 1:
        flow.set_params({"column": "bytes"})
        flow.run({"rows": module_sizes()})
        return
    with open(sys.argv[1], newline="") as file:
        rows = csv.DictReader(file)
        flow.set_params({"column": sys.argv[2] if len(sys.argv) > 2 else (rows.fieldnames or [""])[-1]})
        flow.run({"rows": rows})


if __name__ == "__main__":
    run(main)
