"""How every recipe begins and ends: its arguments, Ctrl-C, and files that are missing."""

from __future__ import annotations

import sys
from collections.abc import Callable


def argument(default: str) -> str:
    """The words of the command line as one text."""
    return " ".join(sys.argv[1:]) or default


def number(default: int) -> int:
    """The first word of the command line as a number of at least 1; anything else exits with 2."""
    word = sys.argv[1] if len(sys.argv) > 1 else str(default)
    if not (word.isdecimal() and int(word) > 0):
        print(f"{word}: write a whole number of at least 1", file=sys.stderr)
        raise SystemExit(2)
    return int(word)


def run(main: Callable[[], None]) -> None:
    """Run `main`. At the end of its input it just ends; Ctrl-C exits with 130, and a missing file with 2."""
    try:
        main()
    except EOFError:
        print()
    except KeyboardInterrupt:
        print()
        raise SystemExit(130) from None
    except FileNotFoundError as error:
        print(f"{error.filename}: no such file", file=sys.stderr)
        raise SystemExit(2) from None
