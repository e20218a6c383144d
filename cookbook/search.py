"""A real search for the recipes: SQLite FTS5, over this Python's own documentation or any pages.

    python -m cookbook.search how do I cache the results of a function

Replaces a web search, so that every recipe runs without a network and finds the same pages every time.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import math
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
    a about all an and any are as ask at be best between by can compute difference do does explain find for from get
    give has have hello hi how i if in into is it its lacks make me my of on one or our out over please python self
    should tell that the their them there they this to two use used using want was way we what when where which who
    why will with without work works you your
""".split()  # noqa: SIM905  # a list of words reads best as words
LIBRARY = """
    builtins argparse array asyncio base64 bisect calendar collections concurrent.futures configparser contextlib
    contextvars cProfile csv dataclasses datetime decimal difflib enum filecmp fnmatch functools getpass glob gzip
    hashlib heapq hmac html itertools json logging lzma math mimetypes multiprocessing operator os.cpu_count
    os.getcwd os.getenv os.getpid os.kill os.listdir os.makedirs os.path.abspath os.path.basename os.path.dirname
    os.path.exists os.path.expanduser os.path.getmtime os.path.getsize os.path.isdir os.path.isfile os.path.join
    os.path.split os.path.splitext os.rename os.walk pathlib pickle pprint queue random re sched secrets selectors
    shelve shutil signal socket sqlite3 ssl statistics string struct subprocess tarfile tempfile textwrap threading
    time timeit tomllib traceback unicodedata unittest urllib.parse urllib.request uuid warnings wave weakref
    webbrowser zipfile zlib zoneinfo
""".split()  # noqa: SIM905  # what people ask about, of a library of three hundred modules
WITH_METHODS = """
    str list dict set datetime.date datetime.datetime pathlib.Path asyncio.Queue asyncio.Lock sqlite3.Connection
    threading.Thread
""".split()  # noqa: SIM905
SYNONYMS = {
    "average": "mean", "catch": "try", "create": "makedirs", "debug": "debugger", "delete": "remove",
    "download": "retrieve", "error": "exception", "folder": "directory", "folders": "directory", "http": "url",
    "iterator": "iter", "largest": "max", "length": "len", "log": "filehandler", "merge": "update",
    "parse": "deserialize", "pick": "choose", "read": "open", "regex": "regular", "string": "str", "test": "unittest",
    "write": "open",
}  # fmt: skip
CODE = re.compile(
    r"\s*(>>>|\.\.|[|#]|XXX|===|\*\*Source code|(New|Added|Changed) in version|\w+ = )|[\w.]+\([^\n]*(->.*|\))\s*(\n|$)"
    r"|.*\n *\*{3,}|.*::="
)
HEADING = re.compile(r"^(\w.*)\n(?:={3,}|-{3,}|~{3,})$", re.MULTILINE)
ITALICS = re.compile(r"(?<![\w*])\*([a-z][a-z -]{2,30})\*(?![\w*])")
MARKUP = re.compile(r":\w+:(?=`)|`|(?<!\w)\*+(?=\w)|(?<=[\w.])\*+(?!\w)|^[\w, ]+ -> ")
TABLE = "CREATE VIRTUAL TABLE pages USING fts5(name, summary, prose, text UNINDEXED, tokenize='porter')"
COUNT = "SELECT count(*) FROM pages WHERE pages MATCH ?"
FIND = "SELECT name, summary, prose, text FROM pages WHERE pages MATCH ? ORDER BY bm25(pages, 4, 3, 1), name LIMIT 200"

Forms = tuple[str, str]  # a word of a question, and its synonym or itself


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
        """`least`: the share of a question that a page must hold, with rare words counting for more."""
        self.least, self.db = least, sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.db.close)  # Python 3.13 complains of what is only dropped
        self.db.execute(TABLE)
        for page in pages:
            summary, *others = sentences(page.text) or [""]
            self.db.execute("INSERT INTO pages VALUES (?, ?, ?, ?)", (page.name, summary, " ".join(others), page.text))

    def search(self, question: str, limit: int = 3) -> list[Page]:
        """The best pages for the words of a question, best first; none for common words alone."""
        words: list[Forms] = [(word, SYNONYMS.get(word, word)) for word in keywords(question)]
        weights = {forms: self._weight(forms) for forms in words}
        found = []
        for name, summary, prose, text in self.db.execute(FIND, (_any_of(*words),)) if words else ():
            shared = sum(weight * _holds(forms, name, summary, prose) for forms, weight in weights.items())
            if shared >= self.least * sum(weights.values()):
                last_part = re.split("[.:] ?", name)[-1]
                fit = shared * (1 + _made_of(words, last_part))
                found.append(((fit, _made_of(words, name), -name.count(".")), Page(name, text)))
        found.sort(key=lambda pair: pair[0], reverse=True)  # what fits equally stays in the order of bm25
        return [page for _, page in found[:limit]]

    def _weight(self, forms: Forms) -> float:
        """The fewer pages hold a word, the more it says."""
        counted = self.db.execute("SELECT count(*) FROM pages UNION ALL " + COUNT, (_any_of(forms),))
        total, count = (number for (number,) in counted)
        return math.log(1 + total / (1 + count))


def _any_of(*words: Forms) -> str:
    """A query in the language of FTS5."""
    return " OR ".join(f'"{form}"' for forms in words for form in forms)


def _holds(forms: Forms, name: str, summary: str, prose: str) -> float:
    """1 if a form of a word is in the name or in the first sentence; a third if it comes later."""
    if any(stem(form) in name.lower() for form in forms) or _in_prose(forms, summary):
        return 1
    return 1 / 3 if _in_prose(forms, prose) else 0


def _in_prose(forms: Forms, text: str) -> bool:
    """Whether a word of the text begins like one of these; what looks like code, such as `self.name`, is no word."""
    starts = "|".join(stem(form) for form in forms)
    return bool(re.search(rf"(?<![\w.])({starts})(?!\w*[.(]\w)", text, re.IGNORECASE))


def _made_of(words: list[Forms], name: str) -> float:
    """Near 1 for a name that is made of these words, up to a letter; near 0 for one with others in it."""
    covered = sum(max((len(form) for form in forms if stem(form) in name.lower()), default=0) for forms in words)
    return min(1.0, (covered + 1) / len(name)) ** 2.0 if covered else 0.0


def keywords(text: str) -> list[str]:
    """The words that say something, in lower case, each once.

    >>> keywords("How do I sort a list of dicts?")
    ['sort', 'list', 'dicts']
    """
    return [word for word in dict.fromkeys(re.findall(r"[^\W_]+", text.lower())) if word not in COMMON]


def stem(word: str) -> str:
    """The word without an ending such as that of a plural, so that words agree.

    >>> [stem(word) for word in ("files", "caching", "cached", "queries")]
    ['file', 'cach', 'cach', 'quer']
    """
    return re.sub(r"(?<=\w{4})(ies|ing|ed|es|e|s|y)$", "", word)


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

    Of pages that say the same, only the first counts.

    >>> quote([Page("tea", "A drink. It grows. Boil the water for three minutes.")], "How to boil it?")
    'A drink. Boil the water for three minutes. [tea]'
    """
    lines: dict[str, str] = {}  # by what they say
    for page in pages:
        first, *others = sentences(page.text) or [" ".join(page.text.split())]
        short = (part for part in others if 25 < len(part) < 150 and part.endswith("."))
        second = max(short, key=lambda part: _in_common(part, question), default="")
        said = f"{first} {second}" if _in_common(second, question) else first
        lines.setdefault(said, f"{said[:1].upper()}{said[1:]} [{page.name}]")
    return "\n".join(lines.values())


def as_text(pages: Iterable[Page]) -> str:
    """Pages as a part of a prompt, each cut at three thousand characters."""
    return "\n\n".join(f"[{page.name}]\n{page.text[:3000]}" for page in pages)


@functools.cache
def documentation() -> Index:
    """The documentation of this Python's language and of the library that people ask about."""
    pages = {page.text: page for page in reversed(list(_library()))}  # of one text under many names, the first
    return Index(pages.values(), least=0.6)


def _library() -> Iterator[Page]:
    for topic, text in topics.items():
        yield from _topic(topic, text)
    for name in LIBRARY:
        with contextlib.suppress(ImportError, AttributeError):  # of another platform
            thing = pkgutil.resolve_name(name)
            yield from _members(name, thing) if isinstance(thing, ModuleType) else _page(name, thing)


def _topic(topic: str, text: str) -> Iterator[Page]:
    """A topic of the language reference, its sections, and the paragraphs that begin with a new term, in italics."""
    yield Page(topic, text)
    _, *parts = HEADING.split(text)
    for heading, section in zip(parts[::2], parts[1::2], strict=True):
        if heading.lower() != topic:
            yield Page(f"{topic}: {heading}", section.strip())
    for paragraph in re.split(r"\n\s*\n(?=\w)", text):
        for term in ITALICS.findall(re.split(r"\.\s", paragraph)[0]):
            yield Page(f"{topic}: {term}", paragraph)


def _members(of: str, module: ModuleType) -> Iterator[Page]:
    yield from _page(of, module)
    for name in getattr(module, "__all__", None) or vars(module):
        thing = getattr(module, name, None)
        if name.startswith("_") or not callable(thing) or not _is_at_home(thing, module) or name.endswith("Error"):
            continue
        path = name if module is builtins else f"{of}.{name}"
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
