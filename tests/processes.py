"""Processes that a test starts, talks to and kills."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LONGEST = 60  # seconds that a process may take


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end, and when its time is over: whoever reads from it never hangs."""
    with subprocess.Popen(command, text=True, **options) as process:
        limit = threading.Timer(LONGEST, process.kill)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


def finished(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """A process that has ended, and what it printed; an error where it takes too long."""
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": LONGEST, **options})
