"""A real search for the recipes: SQLite FTS5, over this Python's own documentation or any pages.

    python -m cookbook.search how do I cache the results of a function
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import inspect
import pkgutil
import re
import sqlite3
import sys
import warnings
import weakref
from collections.abc import Iterable, Iterator
from pydoc_data.topics import topics
from types import ModuleType
from typing import Any, NamedTuple

COMMON = frozenset("""
    a about an and any are as at be best between by can difference do does explain for from get give has have how i if
    in into is it its make me my of on one or our please python should tell that the their them there they this to use
    used using want was way we what when where which who why will with work works write you your
""".split())  # noqa: SIM905  # a list of words reads best as words
NOT_IMPORTED = {"antigravity", "distutils", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
CODE = re.compile(r"\s*(>>>|\.\.)|[\w.]+\(.*(->.*|\))\s*$|.*\n *\*{3,}|.*::=")


class Page(NamedTuple):
    name: str  # such as "functools.lru_cache"
    text: str


class Index:
    """Pages in a database in memory, found by their words; a match in the name weighs more.

    >>> index = Index([Page("tea", "Boil the water first."), Page("bread", "Bake it for an hour.")])
    >>> index.search("How do I boil waters?")
    [Page(name='tea', text='Boil the water first.')]
    """

    def __init__(self, pages: Iterable[Page]) -> None:
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.db.close)  # Python 3.13 complains of what is only dropped
        self.db.execute("CREATE VIRTUAL TABLE pages USING fts5(name, text, tokenize='porter unicode61')")
        self.db.executemany("INSERT INTO pages VALUES (?, ?)", pages)

    def search(self, question: str, limit: int = 3) -> list[Page]:
        """The best pages for any of the question's words, best first; none for common words alone."""
        query = " OR ".join(f'"{word}"' for word in keywords(question))
        found = "SELECT name, text FROM pages WHERE pages MATCH ? ORDER BY bm25(pages, 2, 1), name LIMIT ?"
        return [Page(*row) for row in self.db.execute(found, (query, limit))] if query else []


def keywords(text: str) -> list[str]:
    """The words that say something, in lower case, each once.

    >>> keywords("How do I sort a list of dicts?")
    ['sort', 'list', 'dicts']
    """
    return [word for word in dict.fromkeys(re.findall(r"[^\W_]+", text.lower())) if word not in COMMON]


def sentences(text: str) -> list[str]:
    """The sentences of a text, without signatures and code.

    >>> sentences("sorted(x) -> list\\n\\nReturn a list. It is\\nnew.\\n\\n    >>> sorted('b')")
    ['Return a list.', 'It is new.']
    """
    blocks = (block for block in re.split(r"\n\s*\n", text) if not CODE.match(block))
    return [part for block in blocks for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(block.split())) if part]


def extract(text: str, question: str, count: int = 2) -> list[str]:
    """The sentences that share most words with the question, best first; words agree by their first five letters.

    >>> extract("Sets have no order. A list is sorted by sort. Bye.", "How to sort a list?", 1)
    ['A list is sorted by sort.']
    """
    wanted = {word[:5] for word in keywords(question)}
    parts = sentences(text) or [" ".join(text.split())]
    return sorted(parts, key=lambda part: -len(wanted & {word[:5] for word in keywords(part)}))[:count]


@functools.cache
def documentation() -> Index:
    """The documentation of this Python's language and standard library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some modules say on import that they will go
        pages = {page.text: page for page in reversed(list(_library()))}  # of one text under many names, the first
        return Index(pages.values())


def _library() -> Iterator[Page]:
    for topic, text in topics.items():
        yield Page(topic, text)
    for name in sorted(sys.stdlib_module_names - NOT_IMPORTED):
        for module in _with_submodules(name):
            yield from _members(module)


def _with_submodules(name: str) -> Iterator[ModuleType]:
    """The module and, of a package, its public modules; nothing for what is of another platform."""
    if name.startswith("_"):
        return
    with contextlib.suppress(ImportError):
        module = importlib.import_module(name)
        yield module
        for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
            yield from _with_submodules(f"{name}.{part.name}") if part.name[0] != "_" else ()


def _members(module: ModuleType) -> Iterator[Page]:
    yield from _page(module.__name__, module)
    for name in getattr(module, "__all__", None) or vars(module):
        thing = getattr(module, name, None)
        if name.startswith("_") or not callable(thing) or not _is_at_home(thing, module):
            continue
        path = name if module is builtins else f"{module.__name__}.{name}"
        yield from _page(path, thing)
        for method in vars(thing) if isinstance(thing, type) else ():
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
    for page in documentation().search(" ".join(sys.argv[1:]) or "How do I sort a list?"):
        print(f"{page.name}: {' '.join(sentences(page.text)[:1])}")
