"""Map and reduce: every file on its own, then all results at once.

    python -m cookbook.map_reduce [FILE ...]     (without a FILE: the guides of this project)

Each file is summed up by one call; one file that fails is told and costs nothing of the others.
Without a model the sentence is the one that holds the file's most frequent words.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.search import extract, keywords, sentences
from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node

PROMPT = """
Sum up this text in one sentence.

<text>
{text}
</text>
"""


class Summarize(BatchNode):
    def prep(self, shared):
        return shared["files"]

    def exec(self, file):
        text = Path(file).read_text()[:8000]
        return call_llm(PROMPT.format(text=text), offline=lambda: main_sentence(text))

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


def main_sentence(text):
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    frequent = Counter(word for line in prose.splitlines() for word in keywords(line)).most_common(8)
    short = "\n\n".join(sentence for sentence in sentences(prose) if len(sentence) < 200)
    return extract(short, " ".join(word for word, _ in frequent), 1)[0]


def wait(attempt, error):
    """A file that cannot be read will not be there on the next attempt either."""
    return None if isinstance(error, OSError) else retry_after(attempt, error)


summarize = Summarize(max_retries=2, wait=wait)
summarize >> Reduce()
flow = Flow(start=summarize)


def main():
    flow.run({"files": sys.argv[1:] or sorted(str(file) for file in Path(__file__).parent.glob("*.md"))})


if __name__ == "__main__":
    run(main)
