"""How much memory is in use; for tests with the fixture `traced`."""

from __future__ import annotations

import gc
import tracemalloc


def memory() -> int:
    """Bytes that were taken since the test began and are not garbage."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
