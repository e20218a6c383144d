"""Records in one table of a PostgreSQL database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pocketflow.journal.records import PATIENCE, TABLE, Conflict, JournalError, Store

try:
    import psycopg
except ImportError as error:
    raise ImportError("a journal in PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from error

T = TypeVar("T")

CONFLICTS = (psycopg.errors.UniqueViolation, psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)

TYPES = {
    "id": "bigint", "n": "bigint", "run_id": "text", "token": "bigint", "at": "text", "kind": "text", "path": "text",
    "digest": "text", "value": "text", "changes": "text", "seconds": "double precision", "checksum": "bigint",
}  # fmt: skip
SCHEMA = (
    f"CREATE TABLE {TABLE} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    + ", ".join(f"{name} {type}" for name, type in TYPES.items() if name != "id")
    + f", CONSTRAINT {TABLE}_of_run UNIQUE (run_id, n))"
)


class PostgresStore(Store):
    """The lock of an owner is an advisory lock of our session: the server frees it when the process dies.

    If two write at once, the unique constraint lets one go first, and the other repeats its transaction. That
    sees no record that was written after it began, so it cannot continue after one that it has not read. And who
    has read a record that was deleted since then is told when it locks the row.
    """

    name, is_quick, row_lock = "the journal", False, " FOR UPDATE"

    def __init__(self, where: str) -> None:
        self.where, self.held = where, set()
        with self._explained():
            self.db = self._connect()
        self.name = f"the journal in {self.db.info.dbname!r} on {self.db.info.host}"

    def close(self) -> None:
        self.db.close()

    def commit(self, work: Callable[[], T], *, waits: bool = True) -> T:
        while True:
            with contextlib.suppress(Conflict):
                return self.read(work)

    def read(self, work: Callable[[], T]) -> T:
        with self._explained():
            if self.db.closed:
                self.held.clear()  # they were locks of that session
                self.db = self._connect()
            with self.db.transaction():
                return work()

    def execute(self, sql: str, *values: Any) -> tuple[int, list[Any]]:
        cursor = self.db.execute(sql.replace("?", "%s").encode(), values)
        return cursor.rowcount, cursor.fetchall() if cursor.description else []

    def lock(self, token: int) -> None:
        if token not in self.held:
            self.execute("SELECT pg_advisory_lock(?)", token)
            self.held.add(token)

    def unlock(self, token: int) -> None:
        if token in self.held:
            self.held.discard(token)
            with contextlib.suppress(psycopg.Error):  # with the connection the lock is gone as well
                self.execute("SELECT pg_advisory_unlock(?)", token)

    def is_alive(self, token: int) -> bool:
        _, found = self.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::bigint = ? AND objid::bigint = ?",
            token >> 32, token & 0xFFFFFFFF,
        )  # fmt: skip
        return bool(found)

    def reclaim(self) -> None:
        with self._explained():
            self.db.execute(f"VACUUM {TABLE}")

    def _connect(self) -> psycopg.Connection[Any]:
        db = psycopg.connect(self.where, autocommit=True, connect_timeout=int(PATIENCE), keepalives_idle=30)
        try:
            db.execute(f"SET lock_timeout = '{PATIENCE}s'".encode())
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (TABLE,))  # one at a time makes the table
                self._check(db)
            db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ  # what is written follows what was read
            return db
        except BaseException:
            db.close()
            raise

    def _check(self, db: psycopg.Connection[Any]) -> None:
        columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        found = dict(db.execute(columns + " AND table_schema = current_schema()", (TABLE,)).fetchall())
        if not found:
            db.execute(SCHEMA.encode())
        elif found != TYPES:
            raise JournalError(f"the table {TABLE} has another format: choose another database or schema")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of the driver into ours."""
        try:
            yield
        except CONFLICTS as error:
            raise Conflict from error
        except (psycopg.errors.DiskFull, psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise JournalError(
                f"{self.name}: {error}: run again when the server has disk space and is not busy"
            ) from error
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
            raise JournalError(f"{self.name}: {error}: give this user the right to create and write {TABLE}") from error
        except psycopg.OperationalError as error:
            raise JournalError(
                f"{self.name}: the connection was lost, or could not be made ({error}): see that the server runs, then"
                " run again"
            ) from error
        except (psycopg.DataError, UnicodeError) as error:
            raise JournalError(f"{self.name}: {error}: names and ids have to be text without NUL") from error
        except psycopg.Error as error:
            raise self.damaged(error) from error
