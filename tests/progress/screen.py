"""A terminal of a child process: a real pseudo terminal, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEQUENCE = re.compile(r"\x1b\[(\?\d+|\d*)([A-Za-z])|\x1b\](?:[^\x07]*)\x07|[\r\n]|[^\x1b\r\n]+")
LONGEST = 30  # seconds that a child may take


class Screen:
    """What stands on a terminal, from its first line on: what has scrolled out of sight is still there."""

    def __init__(self) -> None:
        self.lines, self.row, self.column = [""], 0, 0

    def feed(self, text: str) -> None:
        for match in SEQUENCE.finditer(text):
            self.put(match)

    def put(self, match: re.Match[str]) -> None:
        text, number, command = match[0], match[1], match[2]
        if text == "\r":
            self.column = 0
        elif text == "\n":
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif command == "A":
            self.row = max(0, self.row - int(number or 1))
        elif command == "K":
            self.lines[self.row] = "" if number == "2" else self.lines[self.row][: self.column]
        elif not command and not text.startswith("\x1b"):
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + text + line[self.column + len(text) :]
            self.column += len(text)

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


def on_terminal(program: str, columns: int = 80, rows: int = 20, **streams: int) -> Iterator[str]:
    """What a program in a child writes to its terminal, piece by piece; `stdout=...` leads that elsewhere."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    places = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **streams}
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, **places)
    os.close(theirs)
    try:
        yield from _pieces(ours, time.monotonic() + LONGEST)
        assert child.wait(LONGEST) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _pieces(terminal: int, deadline: float) -> Iterator[str]:
    while select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the child has closed it
            return
        yield piece.decode()
    raise AssertionError(f"the child takes more than {LONGEST} seconds")


def screen_after(program: str, columns: int = 80, rows: int = 20, **streams: int) -> list[str]:
    """The lines on the terminal of a program when it has ended."""
    screen = Screen()
    for piece in on_terminal(program, columns, rows, **streams):
        screen.feed(piece)
    return screen.shown()
