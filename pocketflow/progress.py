"""What runs, and how far it is, live on stderr.

    with Progress():
        flow.run(shared)

On a terminal, with `rich` (the extra `progress`), each node that runs has a line, and a batch has a
bar and the time left; a node that ended leaves a line. What nodes print and log appears above these
lines. Elsewhere there are plain lines:

    Summarize: started
    Summarize: 10 %, 4/40, 1.00 s, 9.00 s left
    Summarize: done after 10.00 s, 40 items, 2 retries
"""

# pyright: reportPossiblyUnboundVariable=false
# What comes from `rich` is used where HAS_RICH only.

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TextIO

from pocketflow import BatchFlow, BatchNode
from pocketflow.hooks import Hook, Step
from pocketflow.text import duration, number_of, printable, short

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    HAS_RICH = True
except ImportError:  # then there are plain lines
    HAS_RICH = False

__all__ = ["Progress"]


@dataclass(slots=True)
class _Line:
    """What is known of a visit that runs."""

    name: str
    start: float
    is_batch: bool
    done: int = 0
    skipped: int = 0
    total: int = 0  # 0: not known
    retries: int = 0

    def status(self, now: float) -> str:
        """Such as "3/12, 1.20 s, 3.60 s left, 1 retry"; the time left is by the pace of items that took any time."""
        took, worked = now - self.start, self.done - self.skipped
        count = f"{self.done:,}/{self.total:,}" if self.total else f"{self.done:,}" if self.is_batch else ""
        left = took / worked * (self.total - self.done) if worked else 0
        retries = number_of(self.retries, "retry", "retries") if self.retries else ""
        facts = (count, duration(took), f"{duration(left)} left" if left > 0 else "", retries)
        return ", ".join(fact for fact in facts if fact)

    def ending(self, state: str, now: float) -> str:
        """Such as "Summarize: done after 3.20 s, 12 items, 1 retry"."""
        items = f", {number_of(self.done, 'item')}" if self.is_batch else ""
        retries = f", {number_of(self.retries, 'retry', 'retries')}" if self.retries else ""
        return f"{self.name}: {state} after {duration(now - self.start)}{items}{retries}"


class Progress(Hook):
    """Shows what runs. Enter it as often as you like, also in tasks and threads.

    file: where to write; None means stderr, or stdout in a notebook, where stderr is red.
    clock: returns seconds; only differences count.

    A bar needs the length of what `prep` returned. If the file cannot be written, no run fails. What
    other processes or native code write to the terminal may end up between the lines.
    """

    def __init__(self, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        file = file or _default_file()
        self.file: Any = file.stream if isinstance(file, _Printer) else file
        self.clock = clock
        self._lines: dict[Step | None, _Line] = {}
        self._lock, self._blocks = threading.Lock(), 0
        self._screen: _Screen | None = None

    def __enter__(self) -> Self:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1 and HAS_RICH and self.file.isatty() and os.environ.get("TERM") != "dumb":
                self._screen = _Screen.joined(self.file, self._live)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        with self._lock:
            self._blocks -= 1
            ended, self._screen = (None, self._screen) if self._blocks else (self._screen, None)
        if ended:
            ended.leave(self._live)

    def on_start(self, step: Step) -> None:
        is_batch = isinstance(step.node, BatchNode | BatchFlow)
        if step.index is None and (step.kind == "node" or (step.kind == "flow" and is_batch)):
            self._lines[step] = line = _Line(_whose(step), self.clock(), is_batch)
            self._tell_plainly(f"{line.name}: started")

    def on_retry(self, step: Step, error: Exception, attempt: int, wait: float) -> None:
        if line := self._lines.get(step.parent):
            with self._lock:
                line.retries += 1

    def on_end(self, step: Step, result: Any) -> None:
        line = self._lines.get(step.parent)
        if step in self._lines:
            self._end(step, "skipped" if step.skipped else "done", "" if result is None else f" -> {short(result)}")
        elif line and line.is_batch and step.kind == "prep":
            with suppress(Exception):  # of a length that is not known, or fails
                line.total = len(result)
        elif line and step.index is not None:
            self._advance(line, step.skipped)

    def on_error(self, step: Step, error: BaseException) -> None:
        if step in self._lines:
            is_failure = isinstance(error, Exception)
            self._end(step, "failed" if is_failure else "cancelled", f": {short(error)}" if is_failure else "")

    def _advance(self, line: _Line, skipped: bool) -> None:
        with self._lock:
            line.done, line.skipped = line.done + 1, line.skipped + skipped
            done = line.done
        if line.total and done * 10 // line.total > (done - 1) * 10 // line.total:
            self._tell_plainly(f"{line.name}: {done * 100 // line.total} %, {line.status(self.clock())}")
        elif not line.total and done % 1000 == 0:
            self._tell_plainly(f"{line.name}: {line.status(self.clock())}")

    def _end(self, step: Step, state: str, outcome: str) -> None:
        line = self._lines.pop(step)
        text = line.ending(state, self.clock()) + outcome
        if screen := self._screen:
            screen.tell(text, style="red" if state == "failed" else "")
        else:
            self._tell_plainly(text)

    def _tell_plainly(self, text: str) -> None:
        if not self._screen:
            with suppress(OSError, ValueError), self._lock:  # closed, or without this letter
                self.file.write(f"{text}\n")
                self.file.flush()

    def _live(self) -> Table:
        """The lines of what runs: a name and a bar, which give way where they have to, and numbers, which do not."""
        now, table = self.clock(), Table.grid(padding=(0, 1))
        table.add_column()
        table.add_column()
        table.add_column(no_wrap=True)
        # Elsewhere an ellipsis is written as an escape, and too wide.
        is_unicode = (getattr(self.file, "encoding", None) or "utf-8").lower().startswith("utf")
        for line in list(self._lines.values()):
            name = Text(line.name, "cyan", no_wrap=True, overflow="ellipsis" if is_unicode else "crop")
            bar = ProgressBar(line.total, line.done, width=20) if line.total else ""
            table.add_row(name, bar, line.status(now))
        return table


def _whose(step: Step) -> str:
    """The name, with the entries and branches around it, as several visits of one name may run at once."""
    items, outer = "", step.parent
    while outer:
        if outer.kind == "flow" and outer.index is not None:
            items = f"[{outer.index}]{items}"
        outer = outer.parent
    return printable(f"{step.name} {items}".rstrip())


def _default_file() -> TextIO:
    if type(sys.stderr).__module__.startswith("ipykernel."):
        return sys.stdout
    return sys.stderr or io.StringIO()


# On a terminal


class _Screen:
    """Live lines at the bottom of a terminal, and above them what ended, was printed or was logged.

    One thread draws it all, ten times a second: nodes, and what they print, never wait for the terminal.
    There is one screen for all `Progress` that are open, as two would draw over each other.
    """

    opened: ClassVar[_Screen | None] = None
    opening = threading.Lock()

    def __init__(self, file: TextIO) -> None:
        self.console = Console(file=file, highlight=False, markup=False, emoji=False)
        self.pictures, self.printers = list[Callable[[], Table]](), dict[str, _Printer]()
        self.told: deque[Text] = deque()  # and not on the terminal yet
        self.live = Live(
            get_renderable=self.draw, console=self.console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self.printers.update(self.redirected())
        self.live.start()
        self.closed = threading.Event()
        self.drawing = threading.Thread(target=self.keep_drawing, daemon=True)
        self.drawing.start()

    @classmethod
    def joined(cls, file: TextIO, picture: Callable[[], Table]) -> _Screen:
        """The screen, opened if it is not yet, with one more picture in it."""
        with cls.opening:
            screen = cls.opened = cls.opened or cls(file)
            screen.pictures.append(picture)
            return screen

    def leave(self, picture: Callable[[], Table]) -> None:
        with self.opening:
            self.pictures.remove(picture)
            if not self.pictures:
                self.close()
                _Screen.opened = None

    def keep_drawing(self) -> None:
        while not self.closed.wait(0.1):
            self.write()

    def write(self) -> None:
        """Write what is new, and the live lines below it."""
        lines = [self.told.popleft() for _ in range(len(self.told))]
        with suppress(OSError, ValueError):  # closed, or without this letter
            if lines:
                self.console.print(Text("\n").join(lines), soft_wrap=True)
            self.live.refresh()

    def redirected(self) -> Iterator[tuple[str, _Printer]]:
        """Those of stdout and stderr that are this terminal; one that is redirected into a file stays as it is."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                printer = _Printer(stream, self)
                setattr(sys, name, printer)
                _move_logs(stream, printer)
                yield name, printer

    def draw(self) -> Any:
        pictures = Group(*(picture() for picture in list(self.pictures)))
        for printer in self.printers.values():
            if printer.begun:
                above = Table.grid()
                above.add_row(Text.from_ansi(printer.begun))
                above.add_row(pictures)
                return above
        return pictures

    def tell(self, text: str, style: str = "") -> None:
        self.told.append(Text.from_ansi(text, style=style))

    def close(self) -> None:
        for name, printer in self.printers.items():
            printer.finish()
            if getattr(sys, name) is printer:
                setattr(sys, name, printer.stream)
            _move_logs(printer, printer.stream)
        self.closed.set()
        self.drawing.join()
        self.write()
        with suppress(OSError, ValueError):
            self.live.stop()


class _Printer(io.TextIOBase):
    """Stands for stdout or stderr while lines are live: each whole line is written above them.

    Who keeps it for longer, such as a `redirect_stdout` that ends later, writes to the stream itself.
    """

    def __init__(self, stream: Any, screen: _Screen) -> None:
        self.stream, self.screen = stream, screen
        self.begun = ""  # the line that is not ended yet, as where a model's words are printed as they come
        self.lock, self.is_over, self.pid = threading.Lock(), False, os.getpid()

    def write(self, text: str) -> int:
        if self.pid != os.getpid():  # forked, to where nothing draws, and nobody gives back a lock
            return int(self.stream.write(text))
        with self.lock:
            if self.is_over:
                return int(self.stream.write(text))
            *lines, self.begun = f"{self.begun}{text}".split("\n")
        for line in lines:
            self.screen.tell(line)
        return len(text)

    def finish(self) -> None:
        with self.lock:
            rest, self.begun, self.is_over = self.begun, "", True
        if rest:
            self.screen.tell(rest)

    def flush(self) -> None:
        if self.is_over or self.pid != os.getpid():
            self.stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.stream.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]  # as that of the stream is read-only, too
        return str(self.stream.encoding)


def _move_logs(source: Any, target: Any) -> None:
    """Let the handlers of all loggers that write to `source` write to `target`."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for handler in {handler for logger in loggers for handler in getattr(logger, "handlers", ())}:
        if isinstance(handler, logging.StreamHandler) and handler.stream is source:
            handler.setStream(target)
