"""The public surface: what is exported, what is imported, and that one file is enough."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

import pocketflow as pf

CORE = Path(pf.__file__)
EXPORTED = {
    "nodes": ["BaseNode", "Node", "BatchNode", "AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode"],
    "flows": ["Flow", "BatchFlow", "AsyncFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow", "AsyncParallelFlow"],
    "hooks": ["Hook", "Skip", "Step", "emit", "hooked", "FlowWarning"],
}


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("." * node.level + (node.module or ""))
    return modules


def test_what_is_exported_is_what_exists():
    names = [name for kind in EXPORTED.values() for name in kind]
    assert sorted(pf.__all__) == sorted(names)
    assert all(hasattr(pf, name) for name in names)


def test_the_core_imports_the_standard_library_only():
    modules = {module.split(".")[0] for module in imported(CORE)}
    assert modules <= set(sys.stdlib_module_names)


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
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True, env={})
    assert done.stdout == f"{{'said': 'hello'}} {script}\n"


COMPANIONS = sorted(path for path in CORE.parent.glob("*.py") if path.stem not in ("__init__", "__main__"))
OVERRIDE_POINTS = {"_run", "_run_async", "_exec", "_orch", "_orch_async"}


@pytest.mark.parametrize("path", COMPANIONS, ids=lambda path: path.stem)
def test_a_companion_imports_the_core_and_the_standard_library_only(path: Path):
    allowed = {"pocketflow"} | ({"pocketflow.executors"} if path.stem == "dataflow" else set())
    assert {module for module in imported(path) if module.split(".")[0] not in sys.stdlib_module_names} <= allowed


@pytest.mark.parametrize("path", COMPANIONS, ids=lambda path: path.stem)
def test_a_companion_uses_no_private_name_of_the_core(path: Path):
    classes = [value for value in vars(pf).values() if isinstance(value, type) and value.__module__ == "pocketflow"]
    private = {name for owner in (pf, *classes) for name in vars(owner) if re.fullmatch("_[^_].*", name)}
    private -= set(dir(namedtuple("Plain", "")))  # the methods of every named tuple
    tree = ast.parse(path.read_text())
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, definitions)}
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not (imports & private)
    assert not (attributes & private) - OVERRIDE_POINTS - own


def test_the_core_can_still_be_read_in_one_sitting():
    """Whoever wants more of it takes something out."""
    assert len(CORE.read_text().splitlines()) <= 1110
