"""What every recipe does at its edges: where its input comes from, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable


def argument(default: str) -> str:
    """The words of the command line as one text."""
    return " ".join(sys.argv[1:]) or default


def run(main: Callable[[], None]) -> None:
    """Run `main`; the end of the input is a clean end, and Ctrl-C exits with 130 and a missing file with 2."""
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
