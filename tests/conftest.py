from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.kits import KITS, SyncKit


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> SyncKit:
    """Runs the test with the sync classes, the async ones and the parallel ones, each with and without a hook."""
    return request.param()  # type: ignore[no-any-return]  # pytest hands over the class from KITS


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: each collection of garbage during a test is quicker without a look at it


@pytest.fixture
def traced() -> Iterator[None]:
    """In this test `tests.memory.memory` tells what is in use."""
    gc.freeze()  # also what other tests imported and keep
    tracemalloc.start()
    yield
    tracemalloc.stop()
