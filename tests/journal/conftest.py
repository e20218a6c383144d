from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketflow.journal import Journal
from tests.journal import server


@pytest.fixture(scope="session")
def postgres() -> Iterator[server.Server]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if server.programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with server.running("fsync=off") as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal can be that nobody has used yet, in each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    return request.getfixturevalue("postgres").schema()  # type: ignore[no-any-return]  # fixtures have no types


@pytest.fixture
def journal(where: str) -> Iterator[Journal]:
    with Journal(where) as journal:
        yield journal
