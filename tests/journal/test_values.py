"""What can be kept of values, and what is written of a change."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, auto
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, JournalError
from pocketflow.journal.deltas import Codec, Tracker
from tests.journal.kit import Crash, Say, run
from tests.rounds import ROUNDS

EXACT = [
    [1, 1.0, True, None, "", "\ud800 \0 é", -0.0, 1e308, float("inf"), 2**70],
    {"b": 1, "a": {}, "": []},
    ((), (1,), [(1, [2, {"x": (3,)}])]),
    {"$tuple": [1]},
    {"$object": {"$dict": []}, "more": 1},
    {"$dict": {"$tuple": 1}},
]


@pytest.mark.parametrize("value", EXACT, ids=ascii)
def test_a_value_comes_back_exactly(journal: Journal, value: Any):
    class Copy(pf.Node):
        def prep(self, shared: Any) -> Any:
            return value

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["copy"] = [prep_res]

    flow, shared = pf.Flow(Copy()), {}
    run(journal, flow, {"value": value})
    run(journal, flow, shared)
    assert repr(shared) == repr({"value": value, "copy": [value]})


DEEP: list[Any] = []
DEEP.append(DEEP)
NO_DATA = {
    "object": (object(), r"\['x'\] is of type object, which cannot be kept: .*types=\[object\].*exclude=.*encode="),
    "range": ([{"y": range(3)}], r"\['x'\]\[0\]\['y'\] is of type range"),
    "key": ({"y": {3: 4}}, r"\['x'\]\['y'\] has the key 3: only text can be a key, write '3'"),
    "deep": (DEEP, "is nested too deep, or holds itself"),
    "digits": (10**5000, "4300 digits"),
}


@pytest.mark.parametrize("kind", NO_DATA)
@pytest.mark.parametrize("place", ["beginning", "node", "list"])
def test_what_cannot_be_kept_is_named_by_its_place(journal: Journal, kind: str, place: str):
    value, message = NO_DATA[kind]

    class Put(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            if place == "node":
                shared["x"] = value
            elif place == "list":
                shared["list"].append({"x": value})

    with pytest.raises(JournalError, match=message):
        run(journal, pf.Flow(Put()), {"x": value} if place == "beginning" else {"list": []})


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Rights(Flag):
    READ = auto()
    WRITE = auto()


@dataclass
class Review:
    text: str
    marks: list[int] = field(default_factory=list)
    by: Color = Color.RED


@dataclass(frozen=True, slots=True)
class Fixed:
    at: datetime
    inner: Review


BERLIN = ZoneInfo("Europe/Berlin")
KEPT = [
    datetime(2024, 5, 1, 12, 30, 1, 5), datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 10, 27, 2, 30, fold=1),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3))),
    date(2024, 5, 1), time(12, 30), timedelta(days=-1, microseconds=3), Decimal("1.10"), UUID(int=7), Path("a/b"),
    b"\x00\xff", {1, "a", (2, 3)}, frozenset({Decimal(1)}), set(), Color.RED, Level.LOW, Rights.READ | Rights.WRITE,
    Review("good", [1]), Fixed(datetime(2024, 1, 1), Review("x", [])), {"$set": [1]}, {"$mine": 1}, [{"$type": 1}],
]  # fmt: skip


@pytest.mark.parametrize("value", KEPT, ids=repr)
def test_the_types_that_people_have_come_back_exactly(value: Any):
    codec = Codec([Color, Level, Rights, Review, Fixed])
    text = codec.dump([value], "shared")
    back = codec.load(text)
    assert (back, codec.dump(back, "shared")) == ([value], text)
    if not isinstance(value, set):  # whose order is not kept
        assert repr(back) == repr([value])


def test_a_pydantic_model_comes_back_with_what_is_inside_of_it():
    pydantic = pytest.importorskip("pydantic")

    class Item(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # of an optional package
        name: str
        at: datetime | None = None

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # of an optional package
        items: list[Item]

    codec, order = Codec([Item, Order]), Order(items=[Item(name="tea", at=datetime(2024, 1, 1))])
    back = codec.load(codec.dump(order, "shared"))
    assert (back, type(back.items[0]), back.items[0].model_fields_set) == (order, Item, {"name", "at"})


def test_an_object_of_a_named_class_is_seen_to_change_inside():
    codec = Codec([Review, Color])
    shared = {"review": Review("good"), "tags": {"a"}}
    tracker = Tracker(codec, shared)
    assert tracker.compare(shared).changes == []
    shared["review"].marks.append(1)  # type: ignore[union-attr]  # it is a Review
    shared["tags"].add("b")  # type: ignore[union-attr]  # it is a set
    copied: dict[str, Any] = {}
    codec.apply(copied, json.dumps(tracker.compare(shared).changes))
    assert copied == shared


def test_a_class_that_is_not_named_is_not_looked_for():
    text = Codec([Review, Color]).dump(Review("good"), "shared")
    with pytest.raises(JournalError, match=r"the journal holds objects of type Review: open it with types=\[Review\]"):
        Codec([Color]).load(text)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["Review"], "types= has 'Review': write classes"),
        ([type("Pair", (tuple,), {})], "types= has Pair, which holds more than attributes: give encode="),
        ([Review, type("Review", (), {})], "types= has two classes named Review"),
    ],
)
def test_types_that_cannot_be_kept_are_refused(types: Any, message: str):
    with pytest.raises(TypeError, match=message):
        Codec(types)


def test_a_store_that_is_too_deep_or_too_long_is_told_on_a_resume_too(journal: Journal):
    run(journal, pf.Flow(Say([], "a")), {"x": 1})
    for value, message in ((DEEP, "nested too deep"), (10**5000, "4300 digits")):
        with pytest.raises(JournalError, match=message):
            run(journal, pf.Flow(Say([], "a")), {"x": value})


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Point({self.x})"


def encode(value: Any) -> Any:
    if isinstance(value, Point):
        return {"point": value.x}
    raise TypeError(type(value))


def decode(value: dict[str, Any]) -> Any:
    return Point(value["point"])


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "runs.db", encode=encode, decode=decode) as journal:
        yield journal


def test_encode_and_decode_keep_types_of_ones_own(typed: Journal):
    class Move(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["at"][0].x += 1  # in place: the object is the same, what it holds is not
            return shared["day"].isoformat()

    shared: dict[str, Any] = {}
    run(typed, pf.Flow(Move()), {"day": date(2024, 5, 1), "at": (Point(1),), "same": {"date": "no"}})
    assert run(typed, pf.Flow(Move()), shared) == "2024-05-01"
    assert repr(shared) == repr({"day": date(2024, 5, 1), "at": (Point(2),), "same": {"date": "no"}})


def test_without_decode_a_run_with_objects_cannot_be_opened(typed: Journal):
    run(typed, pf.Flow(Say([], "a")), {"x": Point(1)})
    with Journal(typed.store.name) as journal, pytest.raises(JournalError, match="open it with encode= and decode="):
        run(journal, pf.Flow(Say([], "a")), {})


def test_a_type_that_encode_does_not_know_is_an_error(typed: Journal):
    with pytest.raises(JournalError, match=r"shared\['x'\] is of type object"):
        run(typed, pf.Flow(Say([], "a")), {"x": object()})


def test_a_decode_that_fails_says_what_to_open_the_journal_with(typed: Journal):
    run(typed, pf.Flow(Say([], "a")), {"x": Point(1)})
    message = r"a record cannot be read \(KeyError\('no'\)\): open the journal with the types=, encode= and decode="
    wrong = Journal(typed.store.name, encode=encode, decode=lambda value: value["no"])
    with wrong as journal, pytest.raises(JournalError, match=message):
        run(journal, pf.Flow(Say([], "a")), {})


def test_an_excluded_key_stays_with_the_caller(tmp_path: Path):
    client = object()
    with Journal(tmp_path / "runs.db", exclude=["client"]) as journal:
        run(journal, pf.Flow(Say([], "a")), {"client": client, "x": 1})
        shared = {"client": client}
        run(journal, pf.Flow(Say([], "a")), shared)
    assert shared == {"client": client, "x": 1, "said": ["a"]}


def test_an_item_whose_result_is_no_data_runs_again_and_says_so(journal: Journal):
    ran = []

    class Ask(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(3)

        def exec(self, item: Any) -> Any:
            ran.append(item)
            if ran == [0, 1, 2]:
                raise Crash
            return object()

    flow, message = pf.Flow(Ask()), "Ask: a finished exec may run again after a crash, as its result is of type object"
    with pytest.raises(Crash), pytest.warns(pf.FlowWarning, match=message) as seen:
        run(journal, flow, {})
    assert [Path(warning.filename).name for warning in seen] == ["kit.py"]  # the line of the user who calls run
    with pytest.warns(pf.FlowWarning, match=message):
        run(journal, flow, {})
    assert ran == [0, 1, 2, 0, 1, 2]


def test_an_action_that_is_no_data_is_an_error(journal: Journal):
    class Last(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return object()

    with pytest.raises(JournalError, match="the action of Last is of type object"):
        run(journal, pf.Flow(Last()), {})


@pytest.mark.parametrize("changes", [True, False])
def test_a_prep_may_return_what_is_no_data_only_if_it_changes_nothing(journal: Journal, changes: bool):
    class Open(pf.Node):
        def prep(self, shared: Any) -> Any:
            if changes:
                shared["x"] = 1
            return object()

    if not changes:
        with pytest.warns(pf.FlowWarning, match="Open: a finished exec .* as its input is of type object"):
            return run(journal, pf.Flow(Open()), {})
    with pytest.raises(JournalError, match="what Open.prep returned is of type object.* has to return data"):
        run(journal, pf.Flow(Open()), {})


def mutated(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """`value` changed somewhere inside, or another one."""
    if isinstance(value, Point):
        value.x = chance.randrange(3)
    elif isinstance(value, tuple) and value:
        mutated(chance, chance.choice(value), depth + 1)
    elif isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        what = chance.randrange(4)
        if what < 2:
            value[key] = mutated(chance, value[key], depth + 1)
        elif what == 2:
            value[key] = value.pop(key)  # now it is the last
        else:
            del value[key]
            value[str(chance.randrange(9))] = made(chance, depth + 1)
    elif isinstance(value, list) and chance.random() < 0.9:
        start = chance.randrange(len(value) + 1)
        value[start : start + chance.randrange(3)] = [made(chance, depth + 1) for _ in range(chance.randrange(3))]
        if value:
            at = chance.randrange(len(value))
            value[at] = mutated(chance, value[at], depth + 1)
    else:
        return made(chance, depth)
    return value


def made(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 6:
        return chance.choice([0, -0.0, 0.0, 1, True, None, "x", "y" * 9, 2.5, float("nan"), Point(1)])
    parts = [made(chance, depth + 1) for _ in range(chance.randrange(4))]
    return parts if kind == 6 else tuple(parts) if kind == 7 else {str(n): part for n, part in enumerate(parts)}


def test_the_recorded_changes_make_of_the_old_store_the_new_one():
    codec = Codec(encode=encode, decode=decode)
    for seed in range(40 * ROUNDS):
        chance = random.Random(seed)
        shared = {str(n): made(chance, 0) for n in range(4)}
        copied = codec.load(codec.dump(shared, "shared"))
        tracker = Tracker(codec, shared)
        for _ in range(20):
            mutated(chance, shared)
            changes, tracker.snapshot = tracker.compare(shared)
            codec.apply(copied, json.dumps(changes))
            assert repr(copied) == repr(shared)


def test_a_step_writes_no_more_than_what_it_changed(journal: Journal):
    class Grow(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["count"] += 1
            shared["log"].append("new")
            shared["rows"][2]["seen"] = True
            shared["queue"].pop(0)
            shared["last"] = shared.pop("last")
            return "again" if shared["count"] < 3 else None

    grow = Grow()
    grow - "again" >> grow >> None
    flow = pf.Flow(grow)
    big = {"log": ["x" * 99] * 99, "rows": [{"text": "x" * 99}] * 2 + [{"seen": False}], "queue": [*range(999)]}
    run(journal, flow, {"count": 0, "last": 1, **big})
    first = next(record for record in journal.store.records("run") if record.kind == "node")
    assert json.loads(first.changes) == [
        ["del", ["last"]], ["set", ["last"], 1], ["set", ["count"], 1], ["splice", ["log"], 99, 0, ["new"]],
        ["set", ["rows", 2, "seen"], True], ["splice", ["queue"], 0, 1, []],
    ]  # fmt: skip
