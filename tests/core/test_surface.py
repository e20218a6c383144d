"""The public surface: what is exported, what stands on what, and that the core is one file to copy and to read."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

import pocketflow as pf
from tests.processes import finished

CORE = Path(pf.__file__)
PACKAGE = CORE.parent
EXPORTED = {
    "nodes": ["BaseNode", "Node", "BatchNode", "AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode"],
    "flows": ["Flow", "BatchFlow", "AsyncFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow", "AsyncParallelFlow"],
    "for companions": ["FlowWarning", "name_of", "warn", "watcher"],
}
STANDS_ON = {  # beside the core and the hooks, on which all may stand
    "__init__": set(),
    "hooks": set(),
    "stream": set(),
    "executors": set(),
    "modules": set(),
    "graph": set(),
    "text": set(),
    "progress": {"text"},
    "otel": set(),
    "trace": {"graph", "text"},
    "dataflow": {"executors", "modules", "text"},
    "journal": {"stream", "graph", "text"},
    "serve": {"stream", "journal", "trace", "graph", "modules", "text"},
    "__main__": None,  # on all
}
EXTRAS = {
    "progress": {"rich"},
    "otel": {"opentelemetry"},
    "executors": {"distributed", "dask"},
    "journal": {"psycopg"},
    "serve": {"starlette", "uvicorn"},
    "__main__": {"uvicorn"},
}
OVERRIDE_POINTS = {"_run", "_run_async", "_exec", "_orch", "_orch_async"}


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: itself, or its folder."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    return [*ast.walk(ast.parse(path.read_text()))]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does."""
    package = ["pocketflow", *path.relative_to(PACKAGE).parts[:-1]]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            base = base if node.level else str(node.module)
            yield base
            if base == "pocketflow":  # `from pocketflow import graph` is an import of graph
                yield from (f"pocketflow.{alias.name}" for alias in node.names if alias.name in STANDS_ON)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_stands_on_what(path: Path):
    part = part_of(path)
    modules = set(imported(path))
    ours = {module.split(".")[1] for module in modules if module.startswith("pocketflow.")}
    allowed = STANDS_ON[part]
    if part == "__init__":
        assert not any(module.split(".")[0] == "pocketflow" for module in modules)
    elif allowed is not None:
        assert ours <= allowed | {"hooks", part}
    others = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names)
    assert others <= {"pocketflow"} | EXTRAS.get(part, set())


def private(name: str) -> bool:
    return re.fullmatch("_[^_].*", name) is not None


@functools.cache
def private_names(path: Path) -> tuple[set[str], set[str]]:
    """Those that a file defines, and those that it uses of something else."""
    defined, used = set(), set()
    for node in nodes_of(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute):
            (defined if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("pocketflow"):
            used |= {alias.name for alias in node.names}
    return set(filter(private, defined)), set(filter(private, used))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_private_name_of_another_file_is_used(path: Path):
    own, used = private_names(path)
    of_others = set().union(*(private_names(other)[0] for other in FILES if other != path))
    allowed = OVERRIDE_POINTS | set(dir(namedtuple("Plain", "")))  # the methods of every named tuple
    assert not (used & of_others) - own - allowed


def test_what_is_exported_is_what_exists():
    names = [name for kind in EXPORTED.values() for name in kind]
    assert sorted(pf.__all__) == sorted(names)
    assert all(hasattr(pf, name) for name in names)


def test_the_core_works_alone_in_another_place_under_another_name(tmp_path: Path):
    shutil.copy(CORE, tmp_path / "agentflow.py")
    program = """
import agentflow, warnings
class Greet(agentflow.Node):
    def exec(self, prep_res): return "hello"
    def post(self, shared, prep_res, exec_res): shared["said"] = exec_res; return "lost"
greet, shared = Greet(), {}
greet - "on" >> agentflow.Node()
with warnings.catch_warnings(record=True) as caught:
    agentflow.Flow(greet).run(shared)
print(shared, caught[0].filename)
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    done = finished([sys.executable, script], cwd=tmp_path, env={})
    assert done.stdout == f"{{'said': 'hello'}} {script}\n"


def test_the_package_imports_nothing_but_the_standard_library_and_starts_with_the_core_alone():
    code = "import sys, pocketflow; print([name for name in sys.modules if name.startswith('pocketflow')])"
    command = [sys.executable, "-S", "-c", code]  # without site-packages
    done = finished(command, cwd=PACKAGE.parent)
    assert done.stdout == "['pocketflow']\n"


def lines_of_code(source: str) -> int:
    """Lines that are neither blank nor a comment nor of a docstring."""
    lines = {n for n, line in enumerate(source.splitlines(), 1) if line.strip() and not line.strip().startswith("#")}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_the_core_can_be_read_in_one_sitting():
    """Whoever wants more of it takes something out."""
    source = CORE.read_text()
    assert len(source.splitlines()) < 730
    assert lines_of_code(source) < 460
    assert max(map(len, source.splitlines())) <= 120


def test_every_public_name_has_a_docstring():
    classes = [value for name in pf.__all__ if isinstance(value := getattr(pf, name), type)]
    for cls in classes:
        assert cls.__doc__
        for name, method in vars(cls).items():
            if callable(method) and not name.startswith("_"):
                assert method.__doc__, f"{cls.__name__}.{name}"


@pytest.mark.parametrize("name", EXPORTED["nodes"] + EXPORTED["flows"])
def test_a_constructor_names_its_parameters_and_refuses_a_misspelt_one(name: str):
    with pytest.raises(TypeError, match="max_retires"):
        getattr(pf, name)(max_retires=3)


def test_help_shows_every_parameter_of_a_constructor_and_no_address():
    for name in EXPORTED["nodes"] + EXPORTED["flows"]:
        signature = str(inspect.signature(getattr(pf, name)))
        assert "kwargs" not in signature
        assert " at 0x" not in signature
    assert list(inspect.signature(pf.AsyncParallelBatchNode).parameters) == ["max_retries", "wait", "max_concurrency"]
