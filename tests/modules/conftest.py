from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def forgets_imports() -> Iterator[None]:
    """What this test imports is forgotten afterwards, and so are the folders that it was imported from."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for module in set(sys.modules) - before:
        del sys.modules[module]
    sys.path[:] = path
