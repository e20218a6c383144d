"""How what ran is put into words, for all that is printed: durations, counts, and values that may hold anything."""

from __future__ import annotations

import math
from reprlib import Repr
from typing import Any

__all__ = ["duration", "number_of", "plain", "printable", "short"]

_repr = Repr()
_repr.maxother = _repr.maxstring = 1000


def duration(seconds: float) -> str:
    """Such as "12 us", "3.4 ms", "2.50 s" or "3 min 5 s"."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    return "{} min {} s".format(*divmod(round(seconds), 60))


def number_of(count: int, one: str, many: str = "") -> str:
    """Such as "1 item" and "1,200 items"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def short(value: Any, longest: int = 120) -> str:
    """A text as it is, and the repr of all else; printable, and cut to `longest` characters."""
    text = value if type(value) is str else _repr.repr(value)
    return printable(text if len(text) <= longest else f"{text[: longest - 3]}...")


def plain(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A value as JSON takes it: keys as text, "..." for what is inside itself, and the repr of what JSON lacks."""
    if id(value) in around:
        return "..."
    if isinstance(value, dict):
        return {str(key): plain(inner, (*around, id(value))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, (*around, id(value))) for inner in value]
    is_json = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else _safe_repr(value)


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # whatever a user's __repr__ raises
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def printable(text: str) -> str:
    """`text` without what would steer a terminal or turn the direction of the writing: that stands there escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
