"""All tests, in two processes beside each other, as most tests keep one core busy.

python -m tests [OPTIONS OF PYTEST]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = Path(__file__).parent
SECOND = ["command_line", "executors", "journal", "stream"]  # about half of the time of all


def main() -> int:
    """The exit status of pytest. What the second process prints is shown when the first one has ended."""
    paths = [str(FOLDERS / name) for name in SECOND]
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]]
    with tempfile.TemporaryFile("w+") as told, subprocess.Popen([*pytest, *paths], stdout=told) as second:
        try:
            first = subprocess.run([*pytest, *(f"--ignore={path}" for path in paths), str(FOLDERS)], check=False)
            second.wait()
        finally:
            second.terminate()  # where Ctrl-C came
        told.seek(0)
        print(told.read())
    return first.returncode or second.returncode


if __name__ == "__main__":
    sys.exit(main())
