from __future__ import annotations

import pytest

from tests.kits import KITS, SyncKit


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> SyncKit:
    """Runs the test with the sync classes, the async ones and the parallel ones, each with and without a hook."""
    return request.param()  # type: ignore[no-any-return]  # pytest hands over the class from KITS
