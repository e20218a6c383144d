"""Records in one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pocketflow.journal.records import PATIENCE, TABLE, JournalError, Locked, Store

T = TypeVar("T")

APPLICATION, FORMAT = 0x706F666C, 2  # PRAGMA application_id and user_version of our files
SCHEMA = (
    f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, run_id TEXT NOT NULL, token INTEGER NOT NULL,"
    " at TEXT NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, value TEXT NOT NULL,"
    " changes TEXT NOT NULL, seconds REAL, checksum INTEGER NOT NULL)",
    f"CREATE UNIQUE INDEX {TABLE}_of_run ON {TABLE} (run_id, n)",
)
ADVICE = {
    "full": "make room on the disk, then run again",
    "locked": "another program keeps it locked; run again when it is done",
    "readonly": "it may not be written; give write access to the file and its folder",
    "unable to open": "its folder has to exist, and both have to be writable",
    "disk I/O error": "check the disk, then run again",
    "surrogates": "names and ids have to be text that UTF-8 can write",
    "too big": "a value is larger than a database can keep; keep it in a file, and its path here",
    "not a database": "it is a file of another program, or damaged; choose another path",
}


class SqliteStore(Store):
    """The whole file is checked when it is opened: its index repeats what is in the table, so both have to agree.

    A file that may not be written is opened for reading.
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.name, self.synchronous = path, synchronous
        self.locks: dict[int, sqlite3.Connection] = {}
        self.is_readonly, self.is_quick = False, synchronous == "normal"
        if os.path.isdir(path):
            raise JournalError(f"{path} is a folder: write the path of a file")
        with self._explained():
            self.db = self._connect()
        self.opened = os.stat(path)

    @property
    def held(self) -> set[int]:  # type: ignore[override]  # a view of the locks
        return {*self.locks}

    def close(self) -> None:
        """Of runs that are still going on the owners can write no more, so they are let go."""
        for token in self.held:
            self.unlock(token)
        self.db.close()

    def commit(self, work: Callable[[], T], *, waits: bool = True) -> T:
        if self.is_readonly:
            raise JournalError(f"{self.name}: {ADVICE['readonly']}")
        return self._transaction(self._begin if waits else self._begin_at_once, work)

    def read(self, work: Callable[[], T]) -> T:
        return self._transaction(lambda: self.db.execute("BEGIN"), work)

    def execute(self, sql: str, *values: Any) -> tuple[int, list[Any]]:
        cursor = self.db.execute(sql, values)
        rows = cursor.fetchall()
        return cursor.rowcount, rows

    def lock(self, token: int) -> None:
        """An exclusive transaction on a side file, which the system ends with the process."""
        lock = self._locked(self._side_file(token))
        if lock is None:
            raise sqlite3.OperationalError(f"{self._side_file(token)} is locked")
        self.locks[token] = lock

    def unlock(self, token: int) -> None:
        if token in self.locks:
            self._remove(self.locks.pop(token), self._side_file(token))

    def is_alive(self, token: int) -> bool:
        path = self._side_file(token)
        if token in self.locks or not os.path.exists(path):
            return token in self.locks
        try:
            lock = self._locked(path)
        except sqlite3.OperationalError:
            return True  # as it may be, where the folder cannot be written
        if lock is not None:
            self._remove(lock, path)  # of an owner that died
        return lock is None

    def _remove(self, lock: sqlite3.Connection, path: str) -> None:
        lock.close()
        with contextlib.suppress(OSError):
            os.unlink(path)

    def reclaim(self) -> None:
        with self._explained():
            self.db.executescript("PRAGMA incremental_vacuum")  # `execute` takes only its first step, which is a page
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._opened(self.name, self._prepare)
        except sqlite3.OperationalError as error:
            if ("readonly" not in str(error) and "unable to open" not in str(error)) or not os.path.exists(self.name):
                raise
        self.is_readonly = True
        return self._opened_to_read()

    def _opened_to_read(self) -> sqlite3.Connection:
        uri = f"{Path(self.name).as_uri()}?mode=ro"
        try:
            return self._opened(uri, self._check)
        except sqlite3.OperationalError:
            if os.path.exists(f"{self.name}-wal"):
                raise  # what stands in there would be missing
            return self._opened(f"{uri}&immutable=1", self._check)

    def _opened(self, path: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        db = sqlite3.connect(
            path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, uri=path.startswith("file:")
        )
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            prepare(db)
            return db
        except BaseException:
            db.close()
            raise

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")  # one transaction, as another process may create the tables between two reads
        is_new = self._is_empty(db)
        db.execute("COMMIT")
        if is_new:
            self._create(db)
        self._check(db)
        _use_wal(db)
        db.execute(f"PRAGMA synchronous = {self.synchronous}")  # one of two words

    def _is_empty(self, db: sqlite3.Connection) -> bool:
        """Perhaps left so by a kill."""
        return not any((_pragma(db, "application_id"), _pragma(db, "user_version"), _schema(db)))

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("BEGIN IMMEDIATE")
        if self._is_empty(db):  # else another process was first
            for statement in SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")

    def _check(self, db: sqlite3.Connection) -> None:
        """Raise an error for a file that is not ours, of another format, or damaged."""
        if _pragma(db, "application_id") != APPLICATION:
            raise JournalError(f"{self.name} is a file of another program: choose another path")
        version = _pragma(db, "user_version")
        if version < FORMAT:
            raise JournalError(
                f"{self.name} has format {version}, and this version reads {FORMAT}: finish its runs with the"
                " pocketflow that wrote it, or choose another path"
            )
        if version > FORMAT:
            raise JournalError(f"{self.name} has format {version}, which is newer than this: update pocketflow")
        if _schema(db) != sorted(SCHEMA):
            raise self.damaged("its tables")
        [found, *_] = db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise self.damaged(found)

    def _begin(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def _begin_at_once(self) -> None:
        self.db.execute("PRAGMA busy_timeout = 0")
        try:
            self._begin()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise Locked from error
            raise
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _transaction(self, begin: Callable[[], Any], work: Callable[[], T]) -> T:
        with self._explained():
            try:
                self._end_transaction()  # of a transaction that was interrupted in the last line here
                self._check_place()
                begin()
                result = work()
                self.db.execute("COMMIT")
                return result
            finally:
                self._end_transaction()

    def _check_place(self) -> None:
        """Raise an error if another file is there now, or none: what is written here would be lost."""
        try:
            is_there = os.path.samestat(os.stat(self.name), self.opened)
        except OSError:
            is_there = False
        if not is_there:
            raise JournalError(f"{self.name} was moved or deleted while it was open: put it back, or open it again")

    def _end_transaction(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def _side_file(self, token: int) -> str:
        return f"{self.name}-owner-{token:x}"

    def _locked(self, path: str) -> sqlite3.Connection | None:
        """The lock on a side file; None if another process has it. `is_alive` has it for a moment, so wait for that."""
        lock = sqlite3.connect(path, timeout=0.05, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("PRAGMA journal_mode = MEMORY")  # no third file
            lock.execute("BEGIN EXCLUSIVE")
            return lock
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" in str(error):
                return None
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of SQLite into ours."""
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:
            advice = next((advice for word, advice in ADVICE.items() if word in str(error)), None)
            raise (JournalError(f"{self.name}: {error}: {advice}") if advice else self.damaged(error)) from error


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _schema(db: sqlite3.Connection) -> list[Any]:
    return sorted(str(sql) for (sql,) in db.execute("SELECT sql FROM sqlite_schema"))


def _use_wal(db: sqlite3.Connection) -> None:
    """Make readers and the one writer not wait for each other. SQLite does not retry this change by itself."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return db.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
