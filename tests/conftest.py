from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
import tracemalloc
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.browser import chromium
from tests.kits import KITS, SyncKit


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> SyncKit:
    """Runs the test with the sync classes, the async ones and the parallel ones, each with and without a hook."""
    return request.param()  # type: ignore[no-any-return]  # pytest hands over the class from KITS


LONGEST = 300  # seconds that a test may take


PRELOADED = ["pocketflow.executors", "pocketflow.journal"]  # in processes that are forked from the fork server


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start, also where it is ignored, as in `sh -c 'pytest & wait'`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"hangs: no test takes {LONGEST} seconds"))
    multiprocessing.set_forkserver_preload(PRELOADED)
    gc.disable()  # until all tests are found, as what is imported stays


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    signal.alarm(LONGEST)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: each collection of garbage during a test is quicker without a look at it
    gc.enable()


@pytest.fixture
def traced() -> Iterator[None]:
    """In this test `tests.memory.memory` tells what is in use."""
    gc.freeze()  # also what other tests imported and keep
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.sleep` takes no time, as recipes call it to take as long as a model would."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda delay, result=None: sleep(0, result))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of a module alone, as Playwright's loop runs in the thread of the tests as long as it is open."""
    with chromium() as browser:
        yield browser
