"""Ctrl-C at any line: no transaction stays open, no run seems to go on, and it is free at once and resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pocketflow as pf
from pocketflow import journal as package
from pocketflow.journal import Journal, pause
from tests.journal.kit import Say, chain
from tests.rounds import ROUNDS

FOLDER = str(Path(package.__file__).parent)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th line of the journal's own files that this thread comes to."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def __enter__(self) -> None:
        self.outer = sys.gettrace()
        sys.settrace(self)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.outer)


def flow(log: list[str]) -> pf.Flow:
    return pf.Flow(chain(Say(log, "a"), Say(log, "b")))


EVERY = max(1, 97 // ROUNDS)  # lines; with 1 it takes minutes


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # one that was opened in the very line before
def test_an_interrupt_at_any_line_loses_nothing_and_leaves_nothing_locked(tmp_path: Path):
    number, ended = 1, False
    while not ended:
        path, log, shared = tmp_path / f"{number}.db", list[str](), dict[str, Any]()
        with Journal(path) as journal:
            try:
                with Interrupt(number):
                    journal.run(flow(log), {"x": 1}, run_id="run")
                ended = True
            except KeyboardInterrupt:
                with pytest.raises(RuntimeError, match="outside of a journaled run"):
                    pause("?")
            with Journal(path) as other:
                assert other.run(flow(log), shared, run_id="run") == "after b"
            again: dict[str, Any] = {}
            assert journal.run(flow(log), again, run_id="run") == "after b"
        assert again["said"] == shared["said"] == ["a", "b"], number
        number += EVERY
    assert number > 500
