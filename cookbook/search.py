"""A real search for the recipes: SQLite FTS5, over this Python's own documentation or any pages.

    python -m cookbook.search how do I cache the results of a function

In place of a search on the web, so that every recipe runs without a network and finds the same.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import inspect
import re
import sqlite3
import sys
import weakref
from collections.abc import Iterable, Iterator
from pydoc_data.topics import topics
from types import ModuleType
from typing import Any, NamedTuple

COMMON = """
    a about all an and any are as at be best between by can difference do does explain for from get give has have how i
    if in into is it its make me my of on one or our please python should tell that the their them there they this to
    use used using want was way we what when where which who why will with work works write you your
""".split()  # noqa: SIM905  # a list of words reads best as words
MODULES = """
    builtins argparse array asyncio base64 bisect calendar collections concurrent.futures configparser contextlib
    contextvars copy csv dataclasses datetime decimal difflib email.message enum fileinput fnmatch fractions functools
    getpass glob gzip hashlib heapq hmac html inspect io itertools json locale logging lzma math mimetypes
    multiprocessing operator os os.path pathlib pickle pprint queue random re sched secrets selectors shelve shlex
    shutil signal smtplib socket sqlite3 ssl statistics string struct subprocess sys tarfile tempfile textwrap threading
    time timeit tomllib traceback types unicodedata urllib.parse urllib.request uuid warnings wave weakref webbrowser
    zipfile zlib zoneinfo
""".split()  # noqa: SIM905  # what people ask about, of a library of three hundred
WITH_METHODS = {"asyncio", "builtins", "collections", "datetime", "pathlib", "sqlite3", "threading"}
SYNONYMS = {"folder": "directory", "folders": "directory", "mail": "message", "pick": "choose", "download": "retrieve"}
CODE = re.compile(r"\s*(>>>|\.\.|[|#]|XXX)|[\w.]+\(.*(->.*|\))\s*$|.*\n *\*{3,}|.*::=")


class Page(NamedTuple):
    name: str  # such as "functools.lru_cache"
    text: str


class Index:
    """Pages in a database in memory, found by their words; the name and the first sentence weigh more.

    >>> index = Index([Page("tea", "Boil the water first."), Page("bread", "Bake it for an hour.")])
    >>> index.search("How do I boil waters?")
    [Page(name='tea', text='Boil the water first.')]
    """

    def __init__(self, pages: Iterable[Page]) -> None:
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.db.close)  # Python 3.13 complains of what is only dropped
        self.db.execute("CREATE VIRTUAL TABLE pages USING fts5(name, summary, text, tokenize='porter unicode61')")
        rows = ((page.name, "".join(sentences(page.text)[:1]), page.text) for page in pages)
        self.db.executemany("INSERT INTO pages VALUES (?, ?, ?)", rows)

    def search(self, question: str, limit: int = 3) -> list[Page]:
        """The best pages for any of the question's words, best first; none for common words alone."""
        words = keywords(question)
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in {*words, *(SYNONYMS[word] for word in words if word in SYNONYMS)})
        found = "SELECT * FROM pages WHERE pages MATCH ? ORDER BY bm25(pages, 4, 3, 1), name LIMIT 40"
        rows = self.db.execute(found, (query,)).fetchall()
        rows.sort(key=lambda row: -_fit(words, row[0].lower(), row[1].lower()))  # of one rank the order stays
        return [Page(name, text) for name, _, text in rows[:limit]]


def _fit(words: list[str], name: str, summary: str) -> float:
    """How many words come up, by their first letters or those of a synonym; half a point for a name that is one."""
    stems = [{stem(word), stem(SYNONYMS.get(word, word))} for word in words]
    shared = sum(any(part in f"{name} {summary}" for part in either) for either in stems)
    return shared + 0.5 * any(name.rpartition(".")[2] in either for either in stems)


def keywords(text: str) -> list[str]:
    """The words that say something, in lower case, each once.

    >>> keywords("How do I sort a list of dicts?")
    ['sort', 'list', 'dicts']
    """
    return [word for word in dict.fromkeys(re.findall(r"[^\W_]+", text.lower())) if word not in COMMON]


def stem(word: str) -> str:
    """The first five letters without a plural's "s", by which words agree."""
    return word.removesuffix("s")[:5]


def sentences(text: str) -> list[str]:
    """The sentences of a text, without signatures and code.

    >>> sentences("sorted(x) -> list\\n\\nReturn a list. It is\\nnew.\\n\\n    >>> sorted('b')")
    ['Return a list.', 'It is new.']
    """
    blocks = (block for block in re.split(r"\n\s*\n", text) if not CODE.match(block))
    return [part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(block.split())) if part]


def extract(text: str, question: str, count: int = 2) -> list[str]:
    """The sentences that share most words with the question, best first; words agree by their `stem`.

    >>> extract("Sets have no order. A list is sorted by sort. Bye.", "How to sort a list?", 1)
    ['A list is sorted by sort.']
    """
    wanted = {stem(word) for word in keywords(question)}
    parts = sentences(text) or [" ".join(text.split())]
    return sorted(parts, key=lambda part: -len(wanted & {stem(word) for word in keywords(part)}))[:count]


def quote(pages: Iterable[Page], question: str) -> str:
    """What can be said without a model: of every page its first sentence, the one that fits best, and its name.

    >>> quote([Page("tea", "A drink. It grows. Boil the water.")], "How to boil it?")
    'A drink. Boil the water. [tea]'
    """
    lines = []
    for page in pages:
        first, *others = sentences(page.text) or [" ".join(page.text.split())]
        best = [sentence for sentence in extract(" ".join(others), question, 1) if sentence and len(sentence) < 200]
        lines.append(f"{' '.join([first, *best])} [{page.name}]")
    return "\n".join(lines)


def as_text(pages: Iterable[Page]) -> str:
    """Pages as a part of a prompt, each cut at three thousand characters."""
    return "\n\n".join(f"[{page.name}]\n{page.text[:3000]}" for page in pages)


@functools.cache
def documentation() -> Index:
    """The documentation of this Python's language and of the library that people ask about."""
    pages = {page.text: page for page in reversed(list(_library()))}  # of one text under many names, the first
    return Index(pages.values())


def _library() -> Iterator[Page]:
    for topic, text in topics.items():
        yield Page(topic, text)
    for name in MODULES:
        with contextlib.suppress(ImportError):  # of another platform
            yield from _members(importlib.import_module(name))


def _members(module: ModuleType) -> Iterator[Page]:
    yield from _page(module.__name__, module)
    for name in getattr(module, "__all__", None) or vars(module):
        thing = getattr(module, name, None)
        if name.startswith("_") or not callable(thing) or not _is_at_home(thing, module) or name.endswith("Error"):
            continue
        path = name if module is builtins else f"{module.__name__}.{name}"
        yield from _page(path, thing)
        if isinstance(thing, type) and module.__name__ in WITH_METHODS:
            for method in vars(thing):
                if not method.startswith("_"):
                    yield from _page(f"{path}.{method}", getattr(thing, method, None))


def _is_at_home(thing: Any, module: ModuleType) -> bool:
    """Whether the module says that this is its own, by `__all__` or because it was defined there."""
    home = (getattr(thing, "__module__", "") or "").lstrip("_")
    return hasattr(module, "__all__") or home == module.__name__


def _page(name: str, thing: Any) -> Iterator[Page]:
    text = getattr(thing, "__doc__", None)
    if isinstance(text, str) and " " in text.strip():  # a slot is documented by its name alone
        yield Page(name, inspect.cleandoc(text))


if __name__ == "__main__":
    question = " ".join(sys.argv[1:]) or "How do I sort a list?"
    print(quote(documentation().search(question), question))
