"""Batches within batches: every class of a school, and in each class every pupil.

    python -m cookbook.nested_batch [FOLDER]     (a folder CLASS/PUPIL.txt of marks, one a line)

The entries of a batch flow are dicts of params; those of the inner flow are merged over those of
the outer one, so the node at the bottom reads both.
"""

import sys
import tempfile
from pathlib import Path
from statistics import mean

from cookbook.terminal import run
from pocketflow import BatchFlow, Node

SCHOOL = {"class_a": {"ada": [1, 2, 1], "bob": [3, 2, 4]}, "class_b": {"cyd": [2, 2, 2], "dan": [5, 3, 4]}}


class Average(Node):
    def prep(self, shared):
        file = Path(shared["folder"], self.params["class"], self.params["pupil"])
        return [float(mark) for mark in file.read_text().split()]

    def exec(self, marks):
        return mean(marks)

    def post(self, shared, marks, average):
        print(f"  {Path(self.params['pupil']).stem}: {average:.2f}")
        shared["averages"].setdefault(self.params["class"], []).append(average)


class Pupils(BatchFlow):
    def prep(self, shared):
        print(self.params["class"])
        return [{"pupil": file.name} for file in sorted(Path(shared["folder"], self.params["class"]).glob("*.txt"))]


class Classes(BatchFlow):
    def prep(self, shared):
        return [{"class": folder.name} for folder in sorted(Path(shared["folder"]).iterdir()) if folder.is_dir()]

    def post(self, shared, entries, nothing):
        averages = [mean(of_class) for of_class in shared["averages"].values()]
        print(f"school: {mean(averages):.2f}" if averages else "no marks")


flow = Classes(start=Pupils(start=Average()))


def write_school(folder):
    for name, pupils in SCHOOL.items():
        Path(folder, name).mkdir()
        for pupil, marks in pupils.items():
            Path(folder, name, f"{pupil}.txt").write_text("\n".join(map(str, marks)))


def main():
    if len(sys.argv) > 1:
        flow.run({"folder": sys.argv[1], "averages": {}})
        return
    with tempfile.TemporaryDirectory() as folder:
        write_school(folder)
        flow.run({"folder": folder, "averages": {}})


if __name__ == "__main__":
    run(main)
