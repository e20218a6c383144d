"""Values as JSON, and what changed in a store since it was last seen. Nothing here knows about databases.

    >>> codec = Codec()
    >>> shared = {"log": ["a"], "at": (1, 2)}
    >>> tracker = Tracker(codec, shared)
    >>> shared["log"].append("b")
    >>> tracker.compare(shared).changes
    [['splice', ['log'], 1, 0, ['b']]]

A change is `["set", keys, value]`, `["del", keys]`, or `["splice", keys, start, count, items]`, which
replaces `count` items of the list at `keys`, from `start` on, by `items`.
"""

from __future__ import annotations

import base64
import contextlib
import copyreg
import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from itertools import takewhile
from operator import is_
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from pocketflow.journal.records import JournalError

PLAIN = frozenset((str, int, float, bool, type(None)))  # what JSON has
LEAVES = PLAIN | {bytes, date, datetime, time, timedelta, Decimal, UUID, type(Path())}  # what cannot change inside
BASES = (int, float, str, bytes, tuple, list, dict, set, frozenset)  # what an instance is beside its attributes


def digest(*parts: Any) -> str:
    """A short text that is the same for the same parts."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


# Values


class Codec:
    """Values to JSON, and back again.

    What JSON lacks becomes a dict with one key that begins with "$", such as {"$tuple": [...]}; a dict
    of the user's that looks like one becomes {"$dict": [[key, value]]}.

    types: the user's classes whose instances are kept: enums, dataclasses, pydantic models, and others
        that consist of nothing but their attributes. No class is looked up by a name in a file.
    encode, decode: for the rest. `encode(value)` returns a dict of data, from which `decode` makes it again.
    """

    def __init__(
        self,
        types: Iterable[type] = (),
        encode: Callable[[Any], dict[str, Any]] | None = None,
        decode: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        if (encode is None) is not (decode is None):
            raise TypeError("give both encode= and decode=: what is written has to be read")
        self.encode, self.decode = encode, decode
        self.types: dict[str, type] = {}
        for kind in types:
            _check_type(kind, self.types)
            self.types[kind.__qualname__] = kind

    def dump(self, value: Any, what: str) -> str:
        """`value` as JSON. Raises: `JournalError`, with the place inside `what`, if it cannot be kept."""
        try:
            return to_json(self.pack(value, [what]))
        except RecursionError:
            raise too_deep([what]) from None

    def load(self, text: str) -> Any:
        """The value that was given to `dump`. Raises: `JournalError`."""
        try:
            return json.loads(text, object_hook=self._revive)
        except JournalError:
            raise
        except Exception as error:  # whatever a decode of the user's, or the class of an object, may raise
            raise _unreadable(error) from error

    def canonical(self, value: Any, what: str) -> str:
        """The same text for equal values, whatever the order of their keys."""
        return json.dumps(json.loads(self.dump(value, what)), sort_keys=True)

    def apply(self, state: dict[str, Any], changes: str) -> dict[str, Any]:
        """Make the changes, in place, and return `state`."""
        for what, keys, *rest in self.load(changes):
            try:
                _apply(state, what, keys, *rest)
            except (TypeError, ValueError, LookupError) as error:
                raise _unreadable(error) from error
        return state

    def pack(self, value: Any, keys: list[Any]) -> Any:
        """`value` as JSON has it; `keys` is its place, for the error."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is list:
            return [item if type(item) in PLAIN else self.pack(item, [*keys, n]) for n, item in enumerate(value)]
        if kind is dict:
            packed = {_text_key(key, keys): self.pack(item, [*keys, key]) for key, item in value.items()}
            return {"$dict": [[*pair] for pair in packed.items()]} if _is_tagged(packed) else packed
        if kind is tuple:
            return {"$tuple": self.pack([*value], keys)}
        if kind is set or kind is frozenset:
            return {f"${kind.__name__}": sorted((self.pack(item, keys) for item in value), key=to_json)}
        if kind in _TAGS:
            return {_TAGS[kind]: _PACK[kind](value)}
        if self.types.get(kind.__qualname__) is kind:
            return {"$type": [kind.__qualname__, self.pack(_state_of(value), keys)]}
        return {"$object": self.pack(self._encoded(value, keys), keys)}

    def _encoded(self, value: Any, keys: list[Any]) -> dict[str, Any]:
        encoded = None
        if self.encode:
            with contextlib.suppress(TypeError):  # how a `default` of json says that it does not know the type
                encoded = self.encode(value)
        if type(encoded) is dict:
            return encoded
        name = type(value).__qualname__
        raise JournalError(
            f"{place(keys)} is of type {name}, which cannot be kept: name its class in types=[{name}], or its key in"
            " exclude=, give encode= (to a dict) and decode=, or write what JSON has, a tuple, set, datetime or bytes"
        )

    def _revive(self, packed: dict[str, Any]) -> Any:
        if not _is_tagged(packed):
            return packed
        [(tag, value)] = packed.items()
        if tag in _REVIVE:
            return _REVIVE[tag](value)
        if tag == "$type":
            name, state = value
            if name not in self.types:
                raise JournalError(f"the journal holds objects of type {name}: open it with types=[{name}]")
            return _made(self.types[name], state)
        if tag != "$object" or self.decode is None:
            raise JournalError("the journal holds objects of your own types: open it with encode= and decode=")
        return self.decode(value)


def to_json(packed: Any) -> str:
    try:
        return json.dumps(packed, separators=(",", ":"))
    except ValueError as error:  # a number has more digits than Python will read again
        raise JournalError(f"a number cannot be kept: {error}") from None


def place(keys: list[Any]) -> str:
    return "".join([keys[0], *(f"[{key!r}]" for key in keys[1:])])


def too_deep(keys: list[Any]) -> JournalError:
    return JournalError(f"{place(keys)} is nested too deep, or holds itself: keep ids in place of references")


def _unreadable(error: Exception) -> JournalError:
    return JournalError(
        f"a record cannot be read ({error!r}): open the journal with the types=, encode= and decode= that it was"
        " written with, or restore it from a copy"
    )


def _text_key(key: Any, keys: list[Any]) -> str:
    if type(key) is not str:
        raise JournalError(f"{place(keys)} has the key {key!r}: only text can be a key, write {str(key)!r}")
    return key


def _is_tagged(packed: dict[str, Any]) -> bool:
    return len(packed) == 1 and next(iter(packed)).startswith("$")


def _pack_time(value: Any) -> Any:
    """An ISO text; or a list, if the time zone has a name, or the hour is the second of two equal ones."""
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key:
        return [value.replace(tzinfo=None, fold=0).isoformat(), zone.key, value.fold]
    if zone is not None and type(zone) is not timezone:
        raise JournalError(f"{value!r} has a time zone that cannot be kept: use zoneinfo.ZoneInfo or timezone")
    return [value.replace(fold=0).isoformat(), None, 1] if value.fold else value.isoformat()


def _revive_time(kind: Any) -> Callable[[Any], Any]:
    def revive(packed: Any) -> Any:
        if isinstance(packed, str):
            return kind.fromisoformat(packed)
        text, zone, fold = packed
        value = kind.fromisoformat(text)
        return value.replace(tzinfo=ZoneInfo(zone) if zone else value.tzinfo, fold=fold)

    return revive


_TAGS: dict[Any, str] = {
    bytes: "$bytes", date: "$date", datetime: "$datetime", time: "$time", timedelta: "$timedelta",
    Decimal: "$decimal", UUID: "$uuid", type(Path()): "$path",
}  # fmt: skip
_PACK: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: base64.b64encode(value).decode(),
    date: date.isoformat,
    datetime: _pack_time,
    time: _pack_time,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    UUID: str,
    type(Path()): str,
}
_REVIVE: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$date": date.fromisoformat,
    "$datetime": _revive_time(datetime),
    "$decimal": Decimal,
    "$dict": dict,
    "$frozenset": frozenset,
    "$path": Path,
    "$set": set,
    "$time": _revive_time(time),
    "$timedelta": lambda packed: timedelta(*packed),
    "$tuple": tuple,
    "$uuid": UUID,
}


def _check_type(kind: Any, known: dict[str, type]) -> None:
    if not isinstance(kind, type):
        raise TypeError(f"types= has {kind!r}: write classes, such as types=[Review]")
    if issubclass(kind, BASES) and not issubclass(kind, Enum):
        raise TypeError(f"types= has {kind.__qualname__}, which holds more than attributes: give encode= and decode=")
    if known.get(kind.__qualname__, kind) is not kind:
        raise TypeError(f"types= has two classes named {kind.__qualname__}: give encode= and decode= for one of them")


def _state_of(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value.__getstate__()


def _made(kind: Any, state: Any) -> Any:
    """An object with this state, made as `copy.copy` does: without a call of `__init__`."""
    if issubclass(kind, Enum):
        return kind(state)
    made = copyreg.__newobj__(kind)  # type: ignore[attr-defined]  # what pickle and copy call; the stubs leave it out
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return made
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(made, name, value)  # of a frozen dataclass too
    return made


def _apply(state: Any, what: str, keys: list[Any], *rest: Any) -> None:
    *outer, last = keys
    for key in outer:
        state = state[key]
    if what == "set":
        [state[last]] = rest
    elif what == "del":
        del state[last]
    else:
        start, count, items = rest
        state[last][start : start + count] = items


# What changed


class _Snapshot(NamedTuple):
    """A container as it was, its leaves shared with it.

    level: a shallow copy of it; of an object, the JSON text that it is written as.
    inner: key or index -> the snapshot of what is there, for all that may change inside.
    """

    level: Any
    inner: dict[Any, _Snapshot]


class Difference(NamedTuple):
    """changes: what to do to the store as it was; snapshot: of the store as it is."""

    changes: list[Any]
    snapshot: _Snapshot


class Tracker:
    """Compares a store with what it was when `snapshot` was last set."""

    def __init__(self, codec: Codec, value: dict[str, Any]) -> None:
        self.codec = codec
        self.snapshot = self._snap(value, ["shared"])

    def compare(self, value: dict[str, Any]) -> Difference:
        """Raises: `JournalError`, if something in the store cannot be kept."""
        changes = list[Any]()
        try:
            snapshot = self._compare(self.snapshot, value, ["shared"], changes)
        except RecursionError:
            raise too_deep(["shared"]) from None
        return Difference(changes, snapshot)

    def _snap(self, value: Any, keys: list[Any]) -> _Snapshot:
        kind = type(value)
        if kind is dict:
            return _Snapshot(value.copy(), self._inner(value.items(), keys))
        if kind is list or kind is tuple:
            return _Snapshot(value[:], self._inner(enumerate(value), keys))
        return _Snapshot(self.codec.dump(value, place(keys)), {})

    def _inner(self, items: Iterable[tuple[Any, Any]], keys: list[Any]) -> dict[Any, _Snapshot]:
        return {key: self._snap(item, [*keys, key]) for key, item in items if type(item) not in LEAVES}

    def _compare(self, old: _Snapshot, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        """Add to `changes` what makes `value` of what `old` shows; return the snapshot of `value`."""
        if self._is_unchanged(old, value, keys):
            return old
        kind = type(value)
        if kind is dict and type(old.level) is dict:
            return self._compare_items(self._align_dict(old, value, keys, changes), value, keys, changes)
        if kind is list and type(old.level) is list:
            return self._compare_items(self._align_list(old, value, keys, changes), value, keys, changes)
        if kind is tuple and value is old.level:
            inside: list[Any] = []  # only to see whether there is any: a tuple is written as a whole
            now = self._compare_items(old, value, keys, inside)
            if not inside:
                return now
        return self._set(value, keys, changes)

    def _is_unchanged(self, old: _Snapshot, value: Any, keys: list[Any]) -> bool:
        """By far the usual case, so it is fast: a store of 50 MB is compared at each step."""
        kind, level = type(value), old.level
        if kind is not type(level):
            return kind not in LEAVES and type(level) is str and self.codec.dump(value, place(keys)) == level
        if len(value) != len(level) or not all(map(is_, value, level)):
            return False
        if kind is dict and not all(map(is_, value.values(), level.values())):
            return False
        for key, before in old.inner.items():  # noqa: SIM110  # all() of a generator takes longer
            if not self._is_unchanged(before, value[key], keys):
                return False
        return True

    def _set(self, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        changes.append(["set", keys[1:], self.codec.pack(value, keys)])
        return self._snap(value, keys)

    def _compare_items(self, old: _Snapshot, value: Any, keys: list[Any], changes: list[Any]) -> _Snapshot:
        """Of containers with the same keys in the same order, or of the same length."""
        pairs = (old.level.values(), value.values()) if type(value) is dict else (old.level, value)
        if all(map(is_, *pairs)):  # the same objects: only those that may change inside are looked at
            level, candidates = old.level, list(old.inner)
        else:
            level, candidates = value.copy(), list(value if type(value) is dict else range(len(value)))
        inner = {}
        for key in candidates:
            item, before = value[key], old.inner.get(key)
            if type(item) in LEAVES:
                if before or not _is_same_leaf(old.level[key], item):
                    changes.append(["set", [*keys[1:], key], self.codec.pack(item, keys)])
            elif before:
                inner[key] = self._compare(before, item, [*keys, key], changes)
            else:
                inner[key] = self._set(item, [*keys, key], changes)
        return _Snapshot(level, inner)

    def _align_dict(self, old: _Snapshot, value: dict[str, Any], keys: list[Any], changes: list[Any]) -> _Snapshot:
        """`old` with the keys that `value` has, in its order: one that moved is taken out and put at the end."""
        if len(old.level) == len(value) and all(map(is_, old.level, value)):
            return old
        left = iter(old.level)  # `in` takes keys out of it until it finds the one, so that only their order counts
        stay = {key: old.level[key] for key in takewhile(lambda key: key in left, value)}
        changes += [["del", [*keys[1:], key]] for key in old.level if key not in stay]
        new = {_text_key(key, keys): item for key, item in value.items() if key not in stay}
        inner = {key: old.inner[key] for key in stay if key in old.inner}
        for key, item in new.items():
            now = self._set(item, [*keys, key], changes)
            if type(item) not in LEAVES:
                inner[key] = now
        return _Snapshot(stay | new, inner)

    def _align_list(self, old: _Snapshot, value: list[Any], keys: list[Any], changes: list[Any]) -> _Snapshot:
        """`old` with the length of `value`: between the items that are the same at both ends stands what is new."""
        before, shorter = old.level, min(len(old.level), len(value))
        if len(before) == len(value):
            return old
        start = [*map(is_, before, value), False].index(False)
        end = min([*map(is_, reversed(before), reversed(value)), False].index(False), shorter - start)
        new, moved = value[start : len(value) - end], len(value) - len(before)
        where = [*keys, f"{start}:"]
        changes.append(["splice", keys[1:], start, len(before) - start - end, self.codec.pack(new, where)])
        inner = {start + n: snapshot for n, snapshot in self._inner(enumerate(new), where).items()}
        for n, snapshot in old.inner.items():
            if n < start:
                inner[n] = snapshot
            elif n >= len(before) - end:
                inner[n + moved] = snapshot
        return _Snapshot(before[:start] + new + before[len(before) - end :], inner)


def _is_same_leaf(before: Any, now: Any) -> bool:
    """Whether they are written alike: 1, 1.0 and True are three, as are 0.0 and -0.0."""
    return before is now or (type(before) is type(now) and before == now and repr(before) == repr(now))
