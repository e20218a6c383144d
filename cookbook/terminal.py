"""How every recipe begins and ends: its arguments, --help, Ctrl-C, a closed pipe, and files that cannot be opened."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def argument(default: str) -> str:
    """The words of the command line as one text."""
    return " ".join(sys.argv[1:]) or default


def number(default: Number) -> Number:
    """The first word of the command line as a number of the default's type; what is not above 0 exits with 2."""
    word = sys.argv[1] if len(sys.argv) > 1 else str(default)
    try:
        value = type(default)(word)
    except ValueError:
        value = type(default)(0)
    if not value > 0:
        wanted = "a whole number of at least 1" if isinstance(default, int) else "a number above 0"
        print(f"{word}: write {wanted}", file=sys.stderr)
        raise SystemExit(2)
    return value


def run(main: Callable[[], None]) -> None:
    """Run `main`; for --help, print what its file says at the top.

    The end of the input just ends it. Ctrl-C exits with 130, a closed pipe with 141, and a file that cannot be
    opened, as it is missing or a folder, with 2.
    """
    sys.stdin = sys.stdin or io.StringIO()  # None where it is closed, as by `<&-`
    try:
        if sys.argv[1:2] in (["-h"], ["--help"]):
            print(main.__globals__["__doc__"].strip())
        else:
            main()
        print(end="", flush=True)
    except EOFError:
        print()
    except KeyboardInterrupt:
        print()
        raise SystemExit(130) from None
    except BrokenPipeError:  # as of `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tells it once more at its end
        raise SystemExit(141) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
