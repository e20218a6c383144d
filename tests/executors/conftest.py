from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are spawned import the file of `__main__`, which is pytest's, unless it has none."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The client of a Dask cluster of two processes on this machine, which gives work that two of them died of up."""
    distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'dask[distributed]'")
    dask = pytest.importorskip("dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(processes=True, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
