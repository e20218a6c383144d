"""Modules, files, flows and functions, found by the names that users write."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import pocketflow as pf
from pocketflow.modules import (
    NotFound,
    closest,
    flow_of,
    flows_of,
    functions_of,
    module_named,
    module_of,
    module_of_file,
    read_again,
    split,
)

SHOP = """
from os.path import join  # imported, so none of ours
from pocketflow import AsyncFlow, Flow, Node

class Pay(Node):
    class Inner:
        pay = Node()

class Shop(Flow):
    def __init__(self):
        super().__init__(Pay())

orders = Flow(Pay())
returned = again = Flow(Pay())
_hidden = Flow(Pay())
node = Pay()
number = 5

def make_flow() -> AsyncFlow:
    return AsyncFlow(node)

def make_from(node) -> Flow:
    return Flow(node)

def unannotated():
    return Flow(node)

async def make_async() -> Flow:
    return Flow(node)

def _helper(): ...
"""


pytestmark = pytest.mark.usefixtures("forgets_imports")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


# Targets


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("shop.flow:orders", ("shop.flow", "orders")),
        ("shop/flow.py:orders.main", ("shop/flow.py", "orders.main")),
        ("shop.flow", ("shop.flow", "")),
        ("shop.py", ("shop.py", "")),
        (r"C:\shop\flow.py", (r"C:\shop\flow.py", "")),
        (r"C:\shop\flow.py:orders", (r"C:\shop\flow.py", "orders")),
    ],
)
def test_a_target_is_a_source_and_an_attribute(target: str, parts: tuple[str, str]):
    assert split(target) == parts


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("orders", pf.Flow),
        ("node", pf.Node),
        ("Pay", pf.Node),
        ("Pay.Inner.pay", pf.Node),
        ("Shop", pf.Flow),
        ("make_flow", pf.AsyncFlow),
        ("unannotated", pf.Flow),
    ],
)
def test_a_target_names_a_flow_or_node_or_what_makes_one_without_arguments(folder: Path, attribute: str, kind: type):
    assert isinstance(flow_of(f"{folder}/shop.py:{attribute}"), kind)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("order", r"there is no 'order' \(did you mean 'orders'\?\); flows and nodes there: orders, returned"),
        ("number", "is 5, which is neither a flow nor a node"),
        ("make_async", "is async: name a plain function that makes the flow"),
        ("make_from", "needs arguments: name a function that makes the flow without any"),
        ("_helper", "is None, which is neither a flow nor a node"),
    ],
)
def test_what_is_no_flow_is_refused_in_one_line_that_says_what_there_is(folder: Path, attribute: str, message: str):
    with pytest.raises(NotFound, match=message) as refused:
        flow_of(f"{folder}/shop.py:{attribute}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", ".", "./shop", "..shop", "shop."])
def test_what_is_not_the_name_of_a_module_is_told(folder: Path, name: str):
    with pytest.raises(NotFound, match=f"{name!r} is not the name of a module: write package.module, or folder"):
        module_of(name, folder)


def test_without_an_attribute_it_is_the_only_flow_there(folder: Path):
    (folder / "one.py").write_text("from pocketflow import Flow, Node\nflow = Flow(Node())")
    assert flow_of(f"{folder}/one.py") is module_of(f"{folder}/one.py").flow
    (folder / "none.py").write_text("def f(): ...")
    with pytest.raises(NotFound, match="none.py: no flow there"):
        flow_of(f"{folder}/none.py")
    with pytest.raises(NotFound, match=r"name one of its flows, as in .*shop.py:orders: orders, returned, make_flow"):
        flow_of(f"{folder}/shop.py")


def test_what_can_run_but_is_no_node_of_ours_is_put_into_a_flow(folder: Path):
    (folder / "duck.py").write_text("class Duck:\n    successors = {}\n    def _run(self, shared): ...\nduck = Duck()")
    assert isinstance(flow_of(f"{folder}/duck.py:duck"), pf.Flow)


def test_flows_are_the_public_ones_once_each_and_what_says_that_it_makes_one(folder: Path):
    assert list(flows_of(module_of(f"{folder}/shop.py"))) == ["orders", "returned", "make_flow"]


def test_functions_are_the_public_ones_that_a_module_defines_and_its_tasks(folder: Path):
    source = """
from os.path import join
from pocketflow.dataflow import task
def f(): ...
@task(name="other")
def g(): ...
def _helper(): ...
class NoFunction: ...
"""
    (folder / "functions.py").write_text(source)
    assert list(functions_of(module_of(f"{folder}/functions.py"))) == ["f", "g"]


# Files


def test_a_file_is_imported_once_by_any_way_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    module = module_of_file(folder / "shop.py")
    monkeypatch.chdir(folder)
    assert module_of_file("shop.py") is module is importlib.import_module("shop")
    with pytest.raises(NotFound, match="nothing.py: no such file"):
        module_of_file("nothing.py")


def test_what_stands_beside_a_file_can_be_imported_also_while_it_runs(folder: Path):
    (folder / "beside_it.py").write_text("answer = 42")
    (folder / "late.py").write_text("def f():\n    import beside_it\n    return beside_it.answer")
    assert module_of_file(folder / "late.py").f() == 42


def test_a_file_in_a_package_may_import_the_package_from_base_dir(folder: Path):
    (folder / "shops").mkdir()
    (folder / "shops" / "prices.py").write_text("price = 42")
    (folder / "shops" / "sale.py").write_text("from shops.prices import price")
    assert module_of(str(folder / "shops" / "sale.py"), folder).price == 42


def test_a_file_that_is_called_like_a_module_of_python_stands_for_none(folder: Path):
    (folder / "colorsys.py").write_text("import fractions\nmine = True")
    (folder / "fractions.py").write_text("raise AssertionError('taken by accident')")
    assert module_of_file(folder / "colorsys.py").mine
    assert not hasattr(importlib.import_module("colorsys"), "mine")


def test_two_files_of_one_name_are_two_modules(folder: Path):
    (folder / "other").mkdir()
    (folder / "other" / "shop.py").write_text("other = True")
    first, second = module_of_file(folder / "shop.py"), module_of_file(folder / "other" / "shop.py")
    assert (hasattr(first, "other"), hasattr(second, "other")) == (False, True)
    assert sys.modules[second.__name__] is second


def test_a_file_that_fails_is_not_taken_for_imported(folder: Path):
    (folder / "broken.py").write_text("raise KeyError('own error')")
    for _ in range(2):
        with pytest.raises(KeyError, match="own error"):
            module_of_file(folder / "broken.py")


# Names


def test_a_name_that_is_not_found_says_all_that_was_tried(folder: Path):
    tried = "no-such, no_such, pipelines.no-such, pipelines.no_such"
    with pytest.raises(NotFound, match=f"no module 'no-such' in {folder} or to import: tried {tried}") as error:
        module_named("no-such", folder)
    assert isinstance(error.value, ImportError)


def test_base_dir_comes_first_and_its_modules_are_importable_by_other_processes(folder: Path):
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "my_report.py").write_text("def f(): ...")
    module = module_named("my-report", base_dir=folder)
    assert Path(str(module.__file__)) == folder / "pipelines" / "my_report.py"
    assert sys.modules[module.__name__] is module
    assert module_named("shop", base_dir=folder).__name__ == "shop"


def test_a_module_that_is_read_again_is_what_its_source_says_now(folder: Path):
    (folder / "changing.py").write_text("a = 1\nb = 2")
    module = module_of_file(folder / "changing.py")
    (folder / "changing.py").write_text("a = 3")
    read_again(module)
    assert (module.a, hasattr(module, "b")) == (3, False)
    (folder / "changing.py").write_text("a = 4\nraise KeyError")
    with pytest.raises(KeyError):
        read_again(module)
    assert module.a == 3


def test_closest_is_what_to_add_to_an_error():
    assert closest("pirce", ["price", "name"]) == " (did you mean 'price'?)"
    assert closest("zzz", ["price"]) == ""
