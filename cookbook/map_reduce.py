"""Map and reduce: every file on its own, then all results at once.

    python -m cookbook.map_reduce [FILE ...]     (without a FILE: this project's README and LICENSE)

Each file is summed up in one sentence by one call; one file that fails is told and costs nothing
of the others. Without a model the sentence is the one that holds the file's most frequent words.
"""

import sys
from collections import Counter
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.search import extract, keywords
from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node


class Summarize(BatchNode):
    def prep(self, shared):
        return shared["files"]

    def exec(self, file):
        return call_llm(f"Sum up in one sentence:\n\n{Path(file).read_text()[:8000]}", offline=summarize_by_rule)

    def exec_fallback(self, file, error):
        return f"({type(error).__name__})"

    def post(self, shared, files, summaries):
        shared["summaries"] = dict(zip(files, summaries, strict=True))


class Reduce(Node):
    def post(self, shared, prep_res, exec_res):
        for file, summary in shared["summaries"].items():
            print(f"{Path(file).name}: {summary}")
        words = Counter(word for summary in shared["summaries"].values() for word in keywords(summary))
        most = ", ".join(word for word, _ in words.most_common(3))
        print(f"{len(shared['summaries'])} files, above all about: {most}")


def summarize_by_rule(prompt):
    """The sentence with most of the words that come up most."""
    text = prompt.split("\n\n", 1)[1]
    frequent = Counter(word for line in text.splitlines() for word in keywords(line)).most_common(8)
    return extract(text, " ".join(word for word, _ in frequent), 1)[0]


def wait(attempt, error):
    """A file that cannot be read will not be there on the next attempt either."""
    return None if isinstance(error, OSError) else retry_after(attempt, error)


summarize = Summarize(max_retries=2, wait=wait)
summarize >> Reduce()
flow = Flow(start=summarize)


def main():
    project = Path(__file__).parent.parent
    flow.run({"files": sys.argv[1:] or [str(project / "README.md"), str(project / "LICENSE")]})


if __name__ == "__main__":
    run(main)
