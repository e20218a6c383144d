"""The whole idea in thirty lines: read a text, count its words line by line, report. No LLM.

    python -m cookbook.hello [FILE]     (without a FILE: this very program)
"""

import sys
from collections import Counter
from pathlib import Path

from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node


class CountWords(BatchNode):
    def prep(self, shared):
        return Path(shared["file"]).read_text().splitlines()

    def exec(self, line):
        return Counter(word.lower() for word in line.split() if word.isalpha())

    def post(self, shared, lines, counters):
        shared["words"] = sum(counters, Counter())
        return "report" if shared["words"] else "empty"


class Report(Node):
    def post(self, shared, prep_res, exec_res):
        for word, times in shared["words"].most_common(3):
            print(f"{times:4} {word}")


class Empty(Node):
    def post(self, shared, prep_res, exec_res):
        print(f"{shared['file']} holds no words.")


count = CountWords()
count - "report" >> Report()
count - "empty" >> Empty()
flow = Flow(start=count)

if __name__ == "__main__":
    run(lambda: flow.run({"file": sys.argv[1] if len(sys.argv) > 1 else __file__}))
