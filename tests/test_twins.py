"""The sync and the async half differ in `async` and `await` alone."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import pocketflow as pf

SYNC_NAMES = {
    "asyncio.sleep": "time.sleep",
    "_do_async": "_do",
}


class AsSync(ast.NodeTransformer):
    """Rewrites an async function to the sync one it should be the twin of."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self.generic_visit(ast.FunctionDef(**dict(ast.iter_fields(node))))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_If(self, node: ast.If) -> Any:
        """Which half a node belongs to is decided by its class: keep the async branch."""
        if ast.unparse(node.test) == "isinstance(node, AsyncNode)":
            return [self.visit(statement) for statement in node.body]
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        renamed = SYNC_NAMES.get(ast.unparse(node))
        if renamed:
            return ast.parse(renamed, mode="eval").body
        node.attr = SYNC_NAMES.get(node.attr, node.attr.removesuffix("_async"))
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = SYNC_NAMES.get(node.id, node.id)
        return node


def body(function: Callable[..., Any], transform: bool) -> list[str]:
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = AsSync().visit(tree).body[0] if transform else tree.body[0]
    statements = definition.body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    return [ast.unparse(ast.fix_missing_locations(statement)) for statement in statements]


TWINS = [
    (pf.BaseNode._run, pf.AsyncNode._run_async),
    (pf.Node._exec, pf.AsyncNode._exec),
    (pf.Node.exec_fallback, pf.AsyncNode.exec_fallback_async),
    (pf.Flow._orch, pf.AsyncFlow._orch_async),
    (pf.Flow._run, pf.AsyncFlow._run_async),
    (pf.Flow.post, pf.AsyncFlow.post_async),
    (pf.BatchNode._run, pf.AsyncBatchNode._run_async),
    (pf.BatchNode._run, pf.AsyncParallelBatchNode._run_async),
]


@pytest.mark.parametrize(("sync", "twin"), TWINS, ids=lambda function: function.__qualname__)
def test_the_async_twin_is_the_sync_method_with_await(sync: Any, twin: Any):
    assert body(twin, transform=True) == body(sync, transform=False)


def test_the_retry_loops_differ_only_in_how_exec_is_called_and_awaited():
    sync, twin = body(pf.Node._retry, transform=False), body(pf.AsyncNode._retry, transform=True)
    call = "result = self.exec(prep_res)"
    awaited = "return result if type(result) is CoroutineType else _outcome(self, result)"
    assert twin[:-1] == sync[:-1]
    assert twin[-1].replace(f"{call}\n{' ' * 8}{awaited}", "return self.exec(prep_res)") == sync[-1]


def test_run_and_run_async_differ_in_the_advice_alone():
    sync, twin = body(pf.BaseNode.run, transform=False), body(pf.AsyncNode.run_async, transform=True)
    assert [line.replace("Use AsyncFlow.", "Use Flow.") for line in twin] == sync
