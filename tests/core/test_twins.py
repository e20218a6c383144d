"""The sync and the async half differ in `async` and `await` alone."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import pocketflow as pf


class AsSync(ast.NodeTransformer):
    """Rewrites an async function to the sync one it should be the twin of."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.generic_visit(ast.FunctionDef(**dict(ast.iter_fields(node))))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node) == "asyncio.sleep":
            return ast.parse("time.sleep", mode="eval").body
        node.attr = node.attr.removesuffix("_async")
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = node.id.removeprefix("Async")
        return node


def body(function: Callable[..., Any], transform: bool = False) -> list[str]:
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = AsSync().visit(tree).body[0] if transform else tree.body[0]
    statements = definition.body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    return [ast.unparse(ast.fix_missing_locations(statement)) for statement in statements]


def as_sync(function: Callable[..., Any]) -> str:
    return "\n".join(body(function, transform=True))


@pytest.mark.parametrize(
    ("sync", "twin"),
    [(pf.Node.exec_fallback, pf.AsyncNode.exec_fallback_async), (pf.Flow.post, pf.AsyncFlow.post_async)],
    ids=lambda function: function.__qualname__,
)
def test_the_async_twin_is_the_sync_method_with_await(sync: Any, twin: Any):
    assert body(twin, transform=True) == body(sync)


@pytest.mark.parametrize(
    ("sync", "twin"),
    [(pf.BaseNode._run, pf.AsyncNode._run_async), (pf.Flow._run, pf.AsyncFlow._run_async)],
    ids=lambda function: function.__qualname__,
)
def test_the_twins_differ_in_a_name_for_prep_that_keeps_the_line_short(sync: Any, twin: Any):
    assert as_sync(twin).replace("prep = self.prep\n", "").replace("(prep(shared)", "(self.prep(shared)").replace(
        "= prep(", "= self.prep("
    ).replace("self, prep, shared", "self, self.prep, shared") == "\n".join(body(sync))


def test_the_loops_over_the_nodes_differ_only_in_which_half_a_node_belongs_to():
    twin = as_sync(pf.AsyncFlow._orch_async)
    for half in (
        "node._run(shared) if isinstance(node, Node) else node._run(shared)",
        "node._run if isinstance(node, Node) else node._run",
    ):
        assert half in twin
        twin = twin.replace(half, half.split(" if ")[0])
    for line in "\n".join(body(pf.Flow._orch)).splitlines():
        if "watch" not in line:  # which is one line there and four here
            assert line in twin


def test_the_retry_loops_differ_only_in_how_exec_is_called_and_the_attempt_kept():
    sync, twin = "\n".join(body(pf.Node._exec)).splitlines(), as_sync(pf.AsyncNode._exec).splitlines()
    only_sync = [line.strip() for line in sync if line.strip() not in {other.strip() for other in twin}]
    only_async = [line.strip() for line in twin if line.strip() not in {other.strip() for other in sync}]
    assert only_sync == [
        "return self.exec(prep_res)",
        "if watch:",
        "watch.tell('on_retry', error, len(failures) - 1, wait)",
    ]
    assert only_async == [
        "outer = None",
        "result = self.exec(prep_res)",
        "return result if type(result) is CoroutineType else _outcome(self, result)",
        "if watch and (held := watch.tell('on_retry', error, len(failures) - 1, wait)):",
        "held",
        "outer = outer or _retrying.get()",
        "_retrying.set((self, len(failures)))",
        "finally:",
        "if outer:",
        "self.cur_retry = 0",
        "_retrying.set(outer)",
    ]


def test_run_and_run_async_differ_in_the_advice_alone():
    twin = as_sync(pf.AsyncNode.run_async).replace("Use AsyncFlow.", "Use Flow.").replace("run = self._run\n", "")
    assert twin.replace("run(shared)", "self._run(shared)").replace(
        "self, run, shared", "self, self._run, shared"
    ).replace("    ", "") == "\n".join(body(pf.BaseNode.run)).replace("    ", "")
