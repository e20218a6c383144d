"""The search of the recipes finds what a Python programmer would name, or says that there is nothing."""

from __future__ import annotations

import doctest

import pytest

from cookbook import search
from cookbook.search import Index, Page, documentation, quote

FOUND = {
    "What is a decorator?": "compound: decorator",
    "What is a lambda?": "lambda",
    "What is None?": "types: None",
    "What is a set?": "set",
    "What is a tuple?": "tuple",
    "What is an enum?": "enum.Enum",
    "What is a dataclass?": "dataclasses.dataclass",
    "What is a context manager?": "context-managers: context manager",
    "How do I use a regex?": "re",
    "How do I use a queue?": "queue",
    "How do I use threads?": "threading.Thread",
    "How do I start a thread?": "threading.Thread.start",
    "How do I run coroutines at once?": "asyncio.run",
    "How do I run a subprocess?": "subprocess.run",
    "How do I sleep?": "time.sleep",
    "How do I get today's date?": "datetime.date.today",
    "How do I parse a date?": "datetime.datetime.strptime",
    "How do I get the current time?": "time.time",
    "How do I pick a random number?": "random.choice",
    "How do I shuffle a list?": "random.shuffle",
    "How do I sort a list?": "list.sort",
    "How do I reverse a list?": "list.reverse",
    "How do I reverse a string?": "reversed",
    "How do I join strings?": "str.join",
    "How do I split a string?": "str.split",
    "How do I make a string upper case?": "str.upper",
    "How do I convert a string to an int?": "int",
    "How do I round to two decimals?": "round",
    "How do I compute the average?": "statistics.mean",
    "How do I zip files?": "zipfile",
    "How do I zip two lists?": "zip",
    "How do I read a file?": "open",
    "How do I delete a file?": "pathlib.Path.unlink",
    "How do I copy a folder?": "shutil.copytree",
    "How do I download a file?": "urllib.request.urlretrieve",
    "How do I make an HTTP request?": "urllib.request",
    "How do I read a CSV file?": "csv.reader",
    "How do I write JSON to a file?": "json.dump",
    "How do I read a password?": "getpass",
    "How do I get an environment variable?": "os.getenv",
    "How do I raise an error?": "raise",
    "How do I catch an exception?": "try",
    "How do I ask the user for input?": "input",
    "How do I cache the results of a function?": "functools.lru_cache",
    "How do I test my code?": "unittest",
    "How do I debug a program?": "debugger",
    "How do I log to a file?": "logging.FileHandler",
    "How do I profile my code?": "cProfile",
    "How do I compare two files?": "filecmp",
    "How do I create a folder?": "os.makedirs",
}
NOT_THERE = [
    "How do I install a package?",
    "How do I sort a dict by value?",
    "How do I send an email?",
    "How do I bake bread?",
    "What is the GIL?",
    "What is self?",
    "Who won the world cup?",
]  # fmt: skip


@pytest.mark.parametrize("question", FOUND)
def test_the_first_page_is_the_one_that_a_programmer_would_name(question: str):
    assert documentation().search(question)[0].name == FOUND[question]


@pytest.mark.parametrize("question", NOT_THERE)
def test_nothing_is_found_where_the_pages_hold_less_than_the_rare_words_of_the_question(question: str):
    assert documentation().search(question) == []


def test_a_generator_is_explained_where_the_language_reference_uses_the_term():
    question = "What is a generator?"
    answer = quote(documentation().search(question, 1), question)
    assert answer.startswith("Yield expressions and statements are only used when defining a generator function")


def test_what_the_reference_says_above_a_text_is_not_quoted():
    answer = quote(documentation().search("debugger", 1), "How do I debug a program?")
    assert answer.startswith('The module "pdb" defines an interactive source code debugger for Python programs.')


def test_of_pages_that_say_the_same_only_the_first_is_quoted():
    pages = [Page("tea", "Boil the water."), Page("drinks: tea", "Boil the water."), Page("bread", "Bake it.")]
    assert quote(pages, "How to boil it?") == "Boil the water. [tea]\nBake it. [bread]"


def test_pages_that_fit_equally_come_in_the_order_of_how_often_they_say_the_word():
    pages = [Page("a", "Rain. It is wet, and a long text says so."), Page("b", "Rain, rain. It is wet.")]
    assert [page.name for page in Index(pages).search("rain?")] == ["b", "a"]


def test_the_examples_of_its_docstrings_hold():
    assert doctest.testmod(search).failed == 0
