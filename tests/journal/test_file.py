"""The journal's file: damaged, foreign, newer, older, full, locked, read-only, malicious."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pocketflow as pf
from pocketflow.journal import Journal, JournalError, pause, sqlite
from tests.core.nodes import settle
from tests.journal import kit, other_user
from tests.processes import finished
from tests.rounds import ROUNDS


class Add(pf.Node):
    """Appends its answer to the log, and asks for it if it has a question."""

    def __init__(self, question: str | None = None, fail: bool = False) -> None:
        super().__init__()
        self.question, self.fail = question, fail

    def exec(self, prep_res: Any) -> Any:
        if self.fail:
            raise RuntimeError
        return pause(self.question) if self.question else "x" * 500

    def post(self, shared: Any, prep_res: Any, answer: Any) -> Any:
        shared["log"] = [*shared.get("log", ()), answer]


def flow(fail: bool = False) -> pf.Flow:
    first = Add()
    first >> Add(question="go on?") >> Add(fail=fail)
    return pf.Flow(first)


def half_done(path: Path) -> None:
    """A file with a run that failed in its last node, a question answered, and one that is finished."""
    with Journal(path) as journal:
        with pytest.raises(BaseException, match="go on"):
            journal.run(flow(), {"begun": True}, run_id="half")
        journal.answer("half", "yes")
        with pytest.raises(RuntimeError):
            journal.run(flow(fail=True), {}, run_id="half")
        journal.run(pf.Flow(Add()), {}, run_id="done")


def finish(path: Path) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    with Journal(path) as journal:
        journal.run(flow(), shared, run_id="half", allow_changes=True)
    return shared


FINISHED = {"begun": True, "log": ["x" * 500, "yes", "x" * 500]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    half_done(tmp_path / "runs.db")
    return tmp_path / "runs.db"


def read(path: Path) -> str:
    """The error that using the file gives, "" if all of it is as it was."""
    try:
        with Journal(path) as journal:
            rows = [journal.history(run["run_id"]) for run in journal.runs()]
            past = [sum(row["kind"] in ("prep", "exec", "node", "flow") for row in it) for it in rows]
        finished = finish(path)
    except JournalError as error:
        return str(error)
    assert (past, finished) == ([5, 4], FINISHED)
    return ""


FLIPS = 40 * ROUNDS


def test_a_flipped_bit_is_told_or_stands_where_nothing_is_kept(path: Path):
    chance, intact, told = random.Random(0), path.read_bytes(), 0
    used = [place for place, byte in enumerate(intact) if byte]
    for _ in range(FLIPS):
        damaged = bytearray(intact)
        damaged[chance.choice(used)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        error = read(path)
        if error:
            told += 1
            assert "runs.db" in error
            assert path.read_bytes() == damaged
        for side in path.parent.glob("runs.db-*"):
            side.unlink()
    assert told > FLIPS // 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pocketflow_records SET kind = 'statux' WHERE kind = 'status'",
        "UPDATE sqlite_schema SET sql = CAST(sql AS BLOB) WHERE type = 'index'",
    ],
)
def test_what_a_flipped_bit_hides_is_told_as_damage(path: Path, damage: str):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(damage)
        db.commit()
    assert re.search("runs.db is damaged .* restore it from a copy", read(path))


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.8])
def test_a_file_that_was_cut_off_is_told_and_left_as_it_was(path: Path, part: float):
    damaged = path.read_bytes()[: int(path.stat().st_size * part)]
    path.write_bytes(damaged)
    assert re.search("runs.db (is damaged .* restore it from a copy|.* or damaged; choose another path)", read(path))
    assert path.read_bytes() == damaged


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()


@pytest.mark.parametrize("make", [other_database, lambda path: path.write_text("dear diary " * 200)])
def test_a_file_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path, make: Callable[[Path], Any]):
    make(tmp_path / "other")
    before = (tmp_path / "other").read_bytes()
    with pytest.raises(JournalError, match="of another program.* choose another path"):
        Journal(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_an_empty_file_is_ours(tmp_path: Path):
    (tmp_path / "runs.db").touch()
    with Journal(tmp_path / "runs.db") as journal:
        assert journal.runs() == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(JournalError, match="no/runs.db: unable to open database file: its folder has to exist"):
        Journal(tmp_path / "no" / "runs.db")


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path: Path):
    class Grow(pf.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["log"] = [*shared.get("log", ()), os.urandom(2000).hex()]
            return "again" if len(shared["log"]) < 20 else "enough"

    grow = Grow()
    grow - "again" >> grow
    grow - "enough" >> pf.Node()
    shared: dict[str, Any] = {}
    with Journal(tmp_path / "runs.db") as journal:
        journal.store.db.execute("PRAGMA max_page_count = 20")
        with pytest.raises(
            JournalError, match="runs.db: database or disk is full: make room on the disk, then run again"
        ):
            journal.run(pf.Flow(grow), shared, run_id="run")
        done = [commit["path"] for commit in journal.history("run")]
        journal.store.db.execute("PRAGMA max_page_count = 3000")
        journal.run(pf.Flow(grow), shared := {}, run_id="run")
        assert [commit["path"] for commit in journal.history("run")][: len(done)] == done
    assert len(shared["log"]) == 20


class Locks(pf.Node):
    """Locks the file from another connection, as another program may."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.other = sqlite3.connect(path, isolation_level=None)

    def exec(self, prep_res: Any) -> Any:
        self.other.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize("when", ["begin", "run"])
def test_a_file_that_another_program_keeps_locked_is_told_after_one_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch, when: str
):
    monkeypatch.setattr(sqlite, "PATIENCE", 0)
    with Journal(path) as journal:
        node, waits = Locks(path), list[str]()
        journal.store.db.set_trace_callback(lambda sql: waits.append(sql) if sql == "BEGIN IMMEDIATE" else None)
        if when == "begin":
            node.exec(None)
        with pytest.raises(JournalError, match="database is locked: another program keeps it locked; run again when"):
            journal.run(pf.Flow(node), {}, run_id="locked")
        assert len(waits) == (1 if when == "begin" else 3)  # the begin, the prep, and the exec that had to wait
        node.other.close()
    assert finish(path) == FINISHED


async def test_an_event_loop_goes_on_while_another_program_keeps_the_file_locked(path: Path):
    class Waits(pf.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            other.execute("BEGIN IMMEDIATE")
            locked.set()

    locked = asyncio.Event()
    with closing(sqlite3.connect(path, isolation_level=None)) as other, Journal(path) as journal:
        running = asyncio.create_task(journal.run_async(pf.AsyncFlow(Waits()), {}, run_id="waits"))
        await locked.wait()
        await settle()
        assert not running.done()
        other.execute("ROLLBACK")
        await running
        assert journal.runs(run_id="waits")[0]["status"] == "finished"


@pytest.mark.parametrize("mode", [0o555, 0o777], ids=oct)
def test_a_file_that_may_not_be_written_is_told(mode: int):
    with tempfile.TemporaryDirectory() as name:  # one that others may enter
        half_done(Path(name) / "runs.db")
        (Path(name) / "runs.db").chmod(0o444)
        Path(name).chmod(mode)
        error = other_user.does(other_user.write, name)
    assert "it may not be written; give write access to the file and its folder" in error


# Security


SPY = """
import sys
heard = []
sys.addaudithook(lambda event, args: heard.append((event, args)))
import builtins
from pocketflow.journal import Journal, JournalError
import pocketflow as pf
pf.Flow(pf.Node()).run({})
with Journal(sys.argv[1] + ".first", strict=False) as journal:  # imports are done, and everything has been called once
    journal.run(pf.Flow(pf.Node()), {}, run_id="warm")
heard.clear()
with Journal(sys.argv[1], strict=False) as journal:  # the checks of a flow read its annotations
    for run in journal.runs():
        try:
            journal.history(run["run_id"])
            journal.run(pf.Flow(pf.Node()), {}, run_id=run["run_id"], allow_changes=True)
        except JournalError:
            pass
harmless = {"sqlite3.connect", "sqlite3.connect/handle", "os.remove", "object.__getattr__", "open", "builtins.id"}
print(sorted({event for event, _ in heard} - harmless))
print(sorted({str(args[0]) for event, args in heard if event == "open"}))
"""
EVIL = [
    {"py/reduce": ["os.system", "echo pwned"]},
    {"__class__": "os.system", "lc": 1, "type": "constructor", "id": ["subprocess", "run"]},
    {"$object": {"$object": {"x": 1}}},
    "cos\nsystem\n(S'echo pwned'\ntR.",
    "'; DROP TABLE runs; --",
]


def test_a_malicious_file_runs_nothing(tmp_path: Path):
    """Its checksums are right, as they hinder no one; the audit hook of Python sees every import, exec and process."""
    with Journal(tmp_path / "runs.db") as journal:
        for n, value in enumerate(EVIL):
            name = f"{n}'; DROP TABLE runs; --"
            journal.run(pf.Flow(pf.Node()), {"x": 1}, run_id=name)
            records = journal.store.records(name)
            journal.store.delete(records[-1])
            changes, result = json.dumps([["set", ["x"], value]]), json.dumps(value)
            journal.store.add_run(
                [it if it.kind == "status" else it._replace(changes=changes, value=result) for it in records]
            )
    settings = {"PYTHONPATH": str(Path(pf.__file__).parents[1])}
    done = finished([sys.executable, "-c", SPY, tmp_path / "runs.db"], env=settings)
    assert (done.stderr, done.stdout) == ("", "[]\n[]\n")
    with Journal(tmp_path / "runs.db") as journal:
        assert len(journal.runs()) == len(EVIL)


def test_the_package_has_no_pickle_no_eval_and_no_import_by_name():
    words = "".join(path.read_text() for path in Path(sqlite.__file__).parent.glob("*.py"))
    for word in ("pickle", "eval(", "exec(", "__import__", "importlib", "marshal"):
        assert f" {word}" not in words.replace("what pickle and copy call", "")


@pytest.mark.parametrize("run_id", ["'; DROP TABLE runs; --", "\0", "é" * 500, "a/b[0]:~%"])
def test_an_id_is_data(path: Path, run_id: str):
    with Journal(path) as journal:
        journal.run(pf.Flow(Add()), {}, run_id=run_id)
        assert [run["run_id"] for run in journal.runs()] == ["half", "done", run_id]
        assert len(journal.history(run_id)) == 6


# Formats


def test_a_file_of_the_former_format_is_refused_and_left_as_it_was(tmp_path: Path):
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY)")
        db.execute(f"PRAGMA application_id = {sqlite.APPLICATION}")
        db.execute("PRAGMA user_version = 1")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="has format 1, and this version reads 2: finish its runs with the"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_format_is_refused(path: Path):
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    assert "has format 3, which is newer than this: update pocketflow" in read(path)


def test_deleted_runs_give_their_room_back(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        journal.run(pf.Flow(Add()), {}, run_id="small")
        small = (tmp_path / "runs.db").stat().st_size
        journal.run(pf.Flow(Add()), {"x": "x" * 1_000_000}, run_id="large")
        journal.delete("large")
        assert (tmp_path / "runs.db").stat().st_size <= 2 * small + 100_000


class Move(pf.Node):
    """Moves a file away, and may put another one in its place."""

    def __init__(self, path: Path, other: bytes | None) -> None:
        super().__init__()
        self.path, self.other = path, other

    def exec(self, prep_res: Any) -> None:
        self.path.rename(self.path.with_name("away.db"))
        if self.other is not None:
            self.path.write_bytes(self.other)


@pytest.mark.parametrize("base", [pf.Flow, pf.AsyncFlow])
@pytest.mark.parametrize("other", [None, b""], ids=["gone", "another"])
def test_what_would_be_written_to_a_file_that_is_no_longer_there_is_refused(
    tmp_path: Path, base: Any, other: bytes | None
):
    path = tmp_path / "runs.db"
    with Journal(path) as journal:
        with pytest.raises(JournalError, match="runs.db was moved or deleted while it was open: put it back, or open"):
            kit.run(journal, base(Move(path, other)), {})
        with pytest.raises(JournalError, match="runs.db was moved or deleted while it was open"):
            journal.runs()
        (tmp_path / "away.db").replace(path)
        assert [it["status"] for it in journal.runs()] == ["interrupted"]
        kit.run(journal, base(Add()), {}, allow_changes=True)


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(JournalError, match="is a folder: write the path of a file"):
        Journal(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_value_that_is_too_large_for_the_database_is_told(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        journal.store.db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
        with pytest.raises(
            JournalError, match="too big: a value is larger than a database can keep; keep it in a file"
        ):
            journal.run(pf.Flow(Add()), {"x": "x" * 20_000}, run_id="run")


def test_no_side_file_is_left(tmp_path: Path):
    with Journal(tmp_path / "runs.db") as journal:
        journal.run(pf.Flow(Add()), {}, run_id="run")
        assert [*tmp_path.glob("*owner*")] == []


def test_a_journal_in_a_folder_that_may_only_be_read_can_be_read():
    with tempfile.TemporaryDirectory() as name:
        half_done(Path(name) / "runs.db")
        (Path(name) / "runs.db").chmod(0o444)
        Path(name).chmod(0o555)
        assert other_user.does(other_user.read, name) == (["failed", "finished"], "xxx")
