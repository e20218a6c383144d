"""Tests of the core run under PocketFlow 0.0.3 too: what is marked has to fail there, all else to pass.

pytest tests/core -o pythonpath=FOLDER --import-mode=importlib, with PocketFlow 0.0.3 in FOLDER.
"""

from __future__ import annotations

import sys

import pytest

import pocketflow as pf

IS_003 = not hasattr(pf, "FlowWarning")
collect_ignore = ["test_surface.py", "test_twins.py"] if IS_003 else []
if sys.version_info < (3, 12):
    collect_ignore.append("test_eager_tasks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if IS_003:  # which leaves coroutines behind where it fails: told whenever the garbage is collected
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"))
        fixed = item.get_closest_marker("fixed")
        if IS_003 and (item.get_closest_marker("new") or (fixed and runs_with(item, fixed.args))):
            item.add_marker(pytest.mark.xfail(strict=True, reason="PocketFlow 0.0.3"))


def runs_with(item: pytest.Item, kits: tuple[str, ...]) -> bool:
    """Whether a test is run with one of these kits; of no names, all are meant."""
    kit = getattr(item, "callspec", None) and item.callspec.params.get("kit")  # type: ignore[attr-defined]  # of a parametrized test
    return not kits or (kit is not None and kit.name in kits)
