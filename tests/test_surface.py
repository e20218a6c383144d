"""The public surface: what is exported, what is imported, and that one file is enough."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pocketflow as pf

CORE = Path(pf.__file__)
EXPORTED = """
    AsyncBatchFlow AsyncBatchNode AsyncFlow AsyncNode AsyncParallelBatchFlow AsyncParallelBatchNode AsyncParallelFlow
    BaseNode BatchFlow BatchNode Flow FlowWarning Hook Node Skip Step emit hooked
""".split()


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("." * node.level + (node.module or ""))
    return modules


def test_what_is_exported_is_what_exists():
    assert sorted(pf.__all__) == sorted(EXPORTED)
    assert all(hasattr(pf, name) for name in EXPORTED)


def test_the_core_imports_the_standard_library_only():
    modules = {module.split(".")[0] for module in imported(CORE)}
    assert modules <= set(sys.stdlib_module_names)


COMPANIONS = sorted(path for path in CORE.parent.glob("*.py") if path.stem not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", COMPANIONS, ids=lambda path: path.stem)
def test_a_companion_imports_the_core_and_the_standard_library_only(path: Path):
    allowed = {"pocketflow", "."} | ({"pocketflow.executors", ".executors"} if path.stem == "dataflow" else set())
    foreign = {module for module in imported(path) if module.split(".")[0] not in sys.stdlib_module_names}
    assert foreign <= allowed


@pytest.mark.parametrize("path", COMPANIONS, ids=lambda path: path.stem)
def test_a_companion_uses_no_private_name_of_the_core(path: Path):
    override_points = {"_run", "_run_async", "_exec", "_orch", "_orch_async"}
    own = {name for name in vars(pf) if name.startswith("_") and not name.startswith("__")}
    own |= {name for cls in (pf.Step, pf.Node, pf.AsyncFlow) for name in vars(cls) if name.startswith("_")}
    private = {name for name in own if not name.endswith("__")} - override_points
    tree = ast.parse(path.read_text())
    taken = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    taken |= {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self"
    }
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not (taken & private) - defined


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
