"""Map and reduce: every file on its own, then all results at once.

    python -m cookbook.map_reduce [FILE ...]     (without a FILE: the guides of this project)

Each file is summed up by a call of its own. A file that fails is named, and the others go on. Without
a model, the summary of a file is its first sentence.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.search import keywords, sentences
from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node

PROMPT = """
Sum up this text in one sentence.

<text>
{text}
</text>
"""
COMBINE = """
Say in one sentence what these files have in common.

{summaries}
"""


class Summarize(BatchNode):
    def prep(self, shared):
        return shared["files"]

    def exec(self, file):
        text = Path(file).read_text()[:8000]
        return call_llm(PROMPT.format(text=text), offline=lambda: first_sentence(text))

    def exec_fallback(self, file, error):
        print(f"{Path(file).name}: {type(error).__name__}")

    def post(self, shared, files, summaries):
        shared["summaries"] = {file: summary for file, summary in zip(files, summaries, strict=True) if summary}
        return "reduce" if shared["summaries"] else "nothing"


class Reduce(Node):
    def prep(self, shared):
        return shared["summaries"]

    def exec(self, summaries):
        listing = "\n".join(f"{Path(file).name}: {summary}" for file, summary in summaries.items())
        overall = call_llm(COMBINE.format(summaries=listing), offline=lambda: common_words(summaries))
        return f"{listing}\n\n{overall}"

    def post(self, shared, summaries, report):
        print(report)


def common_words(summaries):
    counts = Counter(word for summary in summaries.values() for word in keywords(summary))
    shared = [word for word, count in counts.most_common(3) if count > 1]
    return f"Several speak of: {', '.join(shared)}" if shared else "No two speak of the same."


def first_sentence(text):
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return next(iter(sentences(prose)), "(no prose)")


def wait(attempt, error):
    """A file that cannot be read will not be there on the next attempt either."""
    return None if isinstance(error, OSError) else retry_after(attempt, error)


summarize = Summarize(max_retries=2, wait=wait)
summarize - "reduce" >> Reduce(max_retries=2, wait=retry_after)
summarize - "nothing" >> None
flow = Flow(start=summarize)


def main():
    flow.run({"files": sys.argv[1:] or sorted(str(file) for file in Path(__file__).parent.glob("*.md"))})


if __name__ == "__main__":
    run(main)
