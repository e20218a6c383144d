"""The programs in a document, and what stands below them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.cookbook.runner import OFFLINE, ROOT, call_file, environment
from tests.processes import finished

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LAST_COMMENTS = re.compile(r"(?:^# .*\n)+\Z", re.MULTILINE)
TIME = re.compile(r" +\+?[\d.]+ (us|ms|s)\b")


def programs(document: str) -> list[tuple[str, str | None]]:
    """The Python blocks of a document, each with its output: its last comments, or the text block below it, if any."""
    blocks = BLOCK.findall((ROOT / document).read_text())
    pairs = zip(blocks, [*blocks[1:], ("", "")], strict=True)
    return [(code, _output(code, below)) for (lang, code), below in pairs if lang == "python"]


def _output(code: str, below: tuple[str, str]) -> str | None:
    if comments := LAST_COMMENTS.search(code):
        return re.sub(r"^# ", "", comments.group(), flags=re.MULTILINE)
    kind, text = below
    return text if kind == "text" else None


def untimed(text: str) -> str:
    """A text in which a time, such as 12.3 ms, counts only as a time."""
    return TIME.sub(" TIME", text)


def printed(code: str, folder: Path) -> str:
    """What a program prints; in this process, unless it starts some itself. It may say that it is offline."""
    file = folder / "program.py"
    file.write_text(code)
    if "ProcessPoolExecutor" in code:
        command = [sys.executable, "-W", "error", str(file)]
        settings = {**environment(), "PYTHONPATH": str(ROOT)}
        done = finished(command, cwd=folder, env=settings)
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = call_file(file)
    assert (status, err.removeprefix(OFFLINE)) == (0, "")
    return out


def extract(document: str, folder: Path) -> None:
    """Write each program into a file of its own, for a type checker."""
    folder.mkdir()
    for number, (code, _) in enumerate(programs(document), 1):
        (folder / f"program_{number}.py").write_text(code)


if __name__ == "__main__":  # python -m tests.docs.blocks README.md FOLDER
    extract(sys.argv[1], Path(sys.argv[2]))
