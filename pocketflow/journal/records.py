"""What is recorded of a run, and the one table that keeps it, in SQL that both databases speak.

A run is a list of records that only grows. Each is one INSERT with the fencing token of its owner. It is
refused unless the last record has the same token: the run then has another owner.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

PATIENCE = 30.0  # seconds to wait for another process that keeps what we need locked


class JournalError(Exception):
    """Something cannot be kept, or cannot be resumed; the message says what to do."""


class RunBusy(JournalError):
    """The run has another owner: one that is alive, or one that has taken it over."""


class RunExists(JournalError):
    """There is a run with this id already."""


class Locked(Exception):
    """Another process writes just now, and this commit may not wait for it."""


class Conflict(Exception):
    """Another process has written a record of the same place first: the transaction has to be done again."""


class Record(NamedTuple):
    """One thing that happened in a run.

    kind: "begin" (value: the graph; changes: the store), "status" (of the run; value: a dict), "prep",
        "exec", "node", "flow" (a step that finished; value: its result or action), "usage" (value: the
        event), "pause" and "answer" (value: a dict).
    token: the fencing token of the owner, the same for all that it writes.
    at: ISO 8601, UTC. path: of the step. digest: of its input. value, changes: JSON. seconds: the step took.
    n: its place in the run, from 0; given by the table.
    """

    run_id: str
    token: int
    at: str
    kind: str
    path: str = ""
    digest: str = ""
    value: str = "null"
    changes: str = "[]"
    seconds: float | None = None
    n: int = -1

    @property
    def is_step(self) -> bool:
        return self.kind in ("prep", "exec", "node", "flow")

    @property
    def is_end(self) -> bool:
        """Whether it is that of the outermost flow, which is the last step of a run."""
        return self.kind in ("node", "flow") and "/" not in self.path


COLUMNS = "run_id, token, at, kind, path, digest, value, changes, seconds"
TABLE = "pocketflow_records"
PLACES = ", ".join("?" * 9)


class Store:
    """Where records are kept. Each database writes the methods of the first half; one thread at a time calls them.

    name: that of the database, for messages.
    held: the tokens of the owners in this process.
    row_lock: ends a SELECT whose row nobody else may then append to or delete, where several write at once.
    is_quick: whether a commit waits for no disk and no server, so that it takes less time than waking a thread.
    """

    name: str
    held: set[int]
    row_lock = ""
    is_quick: bool

    def commit(self, work: Callable[[], T], *, waits: bool = True) -> T:
        """Do the work in one transaction that may write, and is durable afterwards.

        Raises: `Locked` where it would have to wait for another process, and may not.
        """
        raise NotImplementedError

    def read(self, work: Callable[[], T]) -> T:
        """Do the work in one transaction that reads."""
        raise NotImplementedError

    def execute(self, sql: str, *values: Any) -> tuple[int, list[Any]]:
        """The number of rows that were written, and the rows that were read."""
        raise NotImplementedError

    def lock(self, token: int) -> None:
        """Be the living owner with this token until `unlock`, or until the process dies."""
        raise NotImplementedError

    def unlock(self, token: int) -> None:
        raise NotImplementedError

    def is_alive(self, token: int) -> bool:
        """Whether some process holds the lock of the token."""
        raise NotImplementedError

    def reclaim(self) -> None:
        """Free the space of deleted records; outside of a transaction."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def records(self, run_id: str) -> list[Record]:
        """The records of a run, in order; none if there is no such run."""
        rows = self._select("WHERE run_id = ? ORDER BY n", run_id)
        if [record.n for record in rows] != [*range(len(rows))]:
            raise self.damaged(f"records of {run_id!r} are missing")
        return rows

    def overview(self, run_id: str | None = None) -> list[Record]:
        """Of all runs, or of one, what says how they are: not their stores and results, which may be large."""
        told = "(kind IN ('status', 'pause', 'answer') OR (kind IN ('node', 'flow') AND path NOT LIKE ?))"
        if run_id is None:
            return self._select(f"WHERE {told} ORDER BY id", "%/%")
        return self._select(f"WHERE run_id = ? AND {told} ORDER BY n", run_id, "%/%")

    def add_run(self, records: Sequence[Record]) -> None:
        for n, record in enumerate(records):
            self.execute(
                f"INSERT INTO {TABLE} (n, {COLUMNS}, checksum) VALUES (?, {PLACES}, ?)",
                n, *record[:-1], _checksum(record[:-1]),
            )  # fmt: skip

    def append(self, record: Record, owner: int) -> None:
        """Raises: `RunBusy` if `owner` is not the token of the last record."""
        written, _ = self.execute(
            f"INSERT INTO {TABLE} (n, {COLUMNS}, checksum) SELECT n + 1, {PLACES}, ? FROM {TABLE}"
            f" WHERE run_id = ? AND token = ? AND n = (SELECT max(n) FROM {TABLE} WHERE run_id = ?){self.row_lock}",
            *record[:-1], _checksum(record[:-1]), record.run_id, owner, record.run_id,
        )  # fmt: skip
        if not written:
            raise RunBusy(f"{record.run_id!r} was taken over or deleted: this owner may not write it any more")

    def delete(self, last: Record) -> None:
        """Delete the run that ends with this record. Of those who write to it at once, one is first."""
        self.append(last, last.token)
        self.execute(f"DELETE FROM {TABLE} WHERE run_id = ?", last.run_id)

    def _select(self, where: str, *values: Any) -> list[Record]:
        _, rows = self.execute(f"SELECT {COLUMNS}, n, checksum FROM {TABLE} {where}", *values)
        return [self._checked(row) for row in rows]

    def _checked(self, row: Any) -> Record:
        *columns, n, checksum = row
        if _checksum(columns) != checksum:
            raise self.damaged(f"record {n!r} of {columns[0]!r}")
        return Record._make((*columns, n))

    def damaged(self, what: Any) -> JournalError:
        return JournalError(f"{self.name} is damaged ({what}): restore it from a copy, or move it away to start afresh")


def _checksum(columns: Sequence[Any]) -> int:
    """Of what `repr` tells apart: a number, a text and bytes."""
    return zlib.crc32(repr(tuple(columns)).encode("utf-8", "surrogatepass"))


def outer_paths(path: str) -> Iterator[str]:
    """The paths of the steps around this one."""
    return (path[:end] for end, char in enumerate(path) if char in "/[")


def without_void(records: list[Record]) -> list[Record]:
    """The records that count: a new answer makes void what was recorded because of the old one.

    The store is again what it was before the old answer. Results of exec stay, as they depend on nothing
    but their input, except that of the step that asked.
    """
    kept = list[Record]()
    for record in records:
        if record.kind == "answer":
            question = ("answer", record.path, record.digest)
            old = next((n for n, other in enumerate(kept) if (other.kind, other.path, other.digest) == question), None)
            if old is not None:
                after = kept[old + 1 :]
                kept[old:] = [it for it in after if not it.is_step or (it.kind == "exec" and it.path != record.path)]
        kept.append(record)
    return kept
