"""A real search for the recipes: SQLite FTS5, over this Python's own documentation or any pages.

    python -m cookbook.search how do I cache the results of a function

In place of a search on the web, so that every recipe runs without a network and finds the same.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import pkgutil
import re
import sqlite3
import sys
import weakref
from collections.abc import Iterable, Iterator
from pydoc_data.topics import topics
from types import ModuleType
from typing import Any, NamedTuple

COMMON = """
    a about all an and any are as at be best between by can difference do does explain find for from get give has have
    hello hi how i if in into is it its make me my of on one or our please python should tell that the their them there
    they this to two use used using want was way we what when where which who why will with work works you your
""".split()  # noqa: SIM905  # a list of words reads best as words
LIBRARY = """
    builtins argparse array asyncio base64 bisect calendar collections concurrent.futures configparser contextlib
    contextvars csv dataclasses datetime decimal difflib enum fnmatch functools getpass glob gzip
    hashlib heapq hmac html inspect itertools json logging lzma math mimetypes multiprocessing operator
    os.cpu_count os.getcwd os.getenv os.getpid os.kill os.listdir os.makedirs os.path os.rename os.walk pathlib pickle
    pprint queue random re sched secrets selectors shelve shutil signal socket sqlite3 ssl statistics string struct
    subprocess tarfile tempfile textwrap threading time timeit tomllib traceback unicodedata urllib.parse
    urllib.request uuid warnings wave weakref webbrowser zipfile zlib zoneinfo
""".split()  # noqa: SIM905  # what people ask about, of a library of three hundred modules
WITH_METHODS = """
    str list dict set datetime.date datetime.datetime pathlib.Path asyncio.Queue asyncio.Lock sqlite3.Connection
    threading.Thread
""".split()  # noqa: SIM905
SYNONYMS = {"delete": "remove", "download": "retrieve", "folder": "directory", "folders": "directory",
            "generator": "yield", "largest": "max", "parse": "deserialize", "pick": "choose", "read": "open",
            "string": "str", "write": "open"}  # fmt: skip
CODE = re.compile(r"\s*(>>>|\.\.|[|#]|XXX|\w+ = )|[\w.]+\([^\n]*(->.*|\))\s*(\n|$)|.*\n *\*{3,}|.*::=")
MARKUP = re.compile(r":\w+:(?=`)|`|(?<!\w)\*+(?=\w)|(?<=[\w.])\*+(?!\w)|^[\w, ]+ -> ")
TABLE = "CREATE VIRTUAL TABLE pages USING fts5(name, summary, prose, text UNINDEXED, tokenize='porter')"
FIND = "SELECT name, summary, text FROM pages WHERE pages MATCH ? ORDER BY bm25(pages, 4, 3, 1), name LIMIT 200"


class Page(NamedTuple):
    name: str  # such as "functools.lru_cache"
    text: str


class Index:
    """Pages in a database in memory, found by their words; the name and the first sentence weigh more.

    >>> index = Index([Page("tea", "Boil the water first."), Page("bread", "Bake it for an hour.")])
    >>> index.search("How do I boil waters?")
    [Page(name='tea', text='Boil the water first.')]
    """

    def __init__(self, pages: Iterable[Page], least: float = 0) -> None:
        """`least`: the share of a question's words that the name and the first sentence of a page must hold."""
        self.least, self.db = least, sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.db.close)  # Python 3.13 complains of what is only dropped
        self.db.execute(TABLE)
        for page in pages:
            summary, *others = sentences(page.text) or [""]
            self.db.execute("INSERT INTO pages VALUES (?, ?, ?, ?)", (page.name, summary, " ".join(others), page.text))

    def search(self, question: str, limit: int = 3) -> list[Page]:
        """The best pages for any of the question's words, best first; none for common words alone."""
        words = keywords(question)
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in {*words, *(SYNONYMS[word] for word in words if word in SYNONYMS)})
        rows = self.db.execute(FIND, (query,)).fetchall()
        found = [(_fit(words, name.lower(), summary.lower()), Page(name, text)) for name, summary, text in rows]
        found.sort(key=lambda pair: -pair[0])  # pages that fit equally stay in the order of bm25
        return [page for fit, page in found[:limit] if fit >= self.least * len(words)]


def _fit(words: list[str], name: str, summary: str) -> float:
    """How many words come up, themselves or a synonym; and up to half a point for a name that is made of them."""
    forms = [(stem(word), stem(SYNONYMS.get(word, word))) for word in words]
    shared = sum(any(form in f"{name} {summary}" for form in either) for either in forms)
    covered = sum(max((len(form) for form in either if form in name), default=0) for either in forms)
    return shared + min(0.5, covered / len(name) / 2)


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
    blocks = (MARKUP.sub("", block) for block in re.split(r"\n\s*\n", text) if not CODE.match(block))
    return [part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(block.split())) if part]


def extract(text: str, question: str, count: int = 2) -> list[str]:
    """The sentences that share most words with the question, best first; words agree by their `stem`.

    >>> extract("Sets have no order. A list is sorted by sort. Bye.", "How to sort a list?", 1)
    ['A list is sorted by sort.']
    """
    parts = sentences(text) or [" ".join(text.split())]
    return sorted(parts, key=lambda part: -_in_common(part, question))[:count]


def _in_common(text: str, question: str) -> int:
    """How many words two texts share."""
    return len({stem(word) for word in keywords(text)} & {stem(word) for word in keywords(question)})


def quote(pages: Iterable[Page], question: str) -> str:
    """What can be said without a model: of every page its first sentence, the one that fits best, and its name.

    >>> quote([Page("tea", "A drink. It grows. Boil the water.")], "How to boil it?")
    'A drink. Boil the water. [tea]'
    """
    lines = []
    for page in pages:
        first, *others = sentences(page.text) or [" ".join(page.text.split())]
        short = (part for part in others if 25 < len(part) < 120 and part.endswith("."))
        second = max(short, key=lambda part: _in_common(part, question), default="")
        said = f"{first} {second}" if _in_common(second, question) else first
        lines.append(f"{said[:1].upper()}{said[1:]} [{page.name}]")
    return "\n".join(lines)


def as_text(pages: Iterable[Page]) -> str:
    """Pages as a part of a prompt, each cut at three thousand characters."""
    return "\n\n".join(f"[{page.name}]\n{page.text[:3000]}" for page in pages)


@functools.cache
def documentation() -> Index:
    """The documentation of this Python's language and of the library that people ask about."""
    pages = {page.text: page for page in reversed(list(_library()))}  # of one text under many names, the first
    return Index(pages.values(), least=0.5)


def _library() -> Iterator[Page]:
    for topic, text in topics.items():
        yield Page(topic, text)
    for name in LIBRARY:
        with contextlib.suppress(ImportError, AttributeError):  # of another platform
            thing = pkgutil.resolve_name(name)
            yield from _members(thing) if isinstance(thing, ModuleType) else _page(name, thing)


def _members(module: ModuleType) -> Iterator[Page]:
    yield from _page(module.__name__, module)
    for name in getattr(module, "__all__", None) or vars(module):
        thing = getattr(module, name, None)
        if name.startswith("_") or not callable(thing) or not _is_at_home(thing, module) or name.endswith("Error"):
            continue
        path = name if module is builtins else f"{module.__name__}.{name}"
        yield from _page(path, thing)
        if path in WITH_METHODS:
            for method in vars(thing):
                if not method.startswith("_") and callable(getattr(thing, method)):
                    yield from _page(f"{path}.{method}", getattr(thing, method))


def _is_at_home(thing: Any, module: ModuleType) -> bool:
    """Whether the module says that this is its own, by `__all__` or because it was defined there."""
    home = (getattr(thing, "__module__", "") or "").lstrip("_")
    return module is builtins or hasattr(module, "__all__") or home == module.__name__


def _page(name: str, thing: Any) -> Iterator[Page]:
    text = getattr(thing, "__doc__", None)
    if isinstance(text, str) and sentences(inspect.cleandoc(text)):  # more than a signature
        yield Page(name, inspect.cleandoc(text))


if __name__ == "__main__":
    question = " ".join(sys.argv[1:]) or "How do I sort a list?"
    print(quote(documentation().search(question), question))
