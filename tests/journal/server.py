"""A PostgreSQL server of one's own, in a temporary folder, reached by a socket there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

NUMBERS = count()


def programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; None where no server is installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


class Server:
    def __init__(self, folder: Path, *settings: str) -> None:
        """settings: such as "fsync=off"."""
        self.folder, self.data = folder, folder / "data"
        self.options = " ".join(f"-c {it}" for it in (*settings, "listen_addresses=''", "max_connections=300"))
        # The server refuses to run as root.
        self.user: dict[str, Any] = (
            {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        )
        if self.user:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.call("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")

    def call(self, program: str, *args: Any) -> None:
        folder = programs()
        assert folder
        done = subprocess.run(
            [folder / program, *map(str, args)], cwd=self.folder, timeout=60, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **self.user,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        self.call(
            "pg_ctl",
            "-D",
            self.data,
            "-l",
            self.folder / "log",
            "-w",
            "-o",
            f"-k {self.folder} {self.options}",
            "start",
        )

    def stop(self) -> None:
        """At once, as if the power was lost."""
        self.call("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def schema(self) -> str:
        """Where a journal of its own can be: a new schema of the database."""
        import psycopg

        name = f"journal_{next(NUMBERS)}_{os.getpid()}"
        with psycopg.connect(f"postgresql:///postgres?host={self.folder}&user=postgres", autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {name}")
        return f"postgresql:///postgres?host={self.folder}&user=postgres&options=-csearch_path%3D{name}"


@contextlib.contextmanager
def running(*settings: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        server = Server(Path(name), *settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
