"""One SQLite file, shared by threads and processes, with errors that say what to do."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError

from flip_lab.core.errors import FlipLabError, HubStateError, StoreNotWritableError
from flip_lab.hub.database_schema import METADATA, SCHEMA_VERSION

_PATIENCE_S = 30.0  # for another process that writes
_CODE = 0xFF  # an extended result code's lowest byte is the code itself
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Connections:
    """The one engine of a database; any number of threads may use it.

    Args:
        path: The file.
        create: Whether to make the file; else it must be there.

    Raises:
        HubStateError: If it is missing, damaged, or of a newer version.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file, and see that it is whole."""
        self.path = path
        if create == path.exists():
            raise HubStateError(
                f"{path} is {'there already' if create else 'not there'}.",
                fix="Give a hub's directory; flip-lab hub init makes one.",
            )
        self._turn = threading.Lock()
        self.engine = _engine(path)
        try:
            if create:
                self._make()
            self._check()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Look at one state of the database; nobody waits for it.

        Raises:
            HubStateError: If the file is damaged.
        """
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Change it, all or nothing; writers take turns, also across processes.

        Raises:
            HubStateError: If the file is damaged, or another process hangs over it.
            StoreNotWritableError: If the disk is full or read-only.
        """
        with self._explained(), self._turn:
            open_one = self.engine.connect().execution_options(is_writing=True)
            with open_one as connection, connection.begin():
                yield connection

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    def _make(self) -> None:
        self.path.touch(mode=0o600)
        with self.writing() as connection:
            METADATA.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check(self) -> None:
        with self.reading() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        if verdict != "ok":
            raise _damaged(self.path, verdict)
        if not 0 < version <= SCHEMA_VERSION:
            raise HubStateError(
                f"{self.path} has schema {version}; this version reads up to "
                f"{SCHEMA_VERSION}.",
                fix="Update FLIP Lab (pip install -U flip-lab), or restore a backup.",
            )

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except IntegrityError:  # whoever writes knows which rule was broken
            raise
        except DBAPIError as error:
            raise _coded(self.path, error) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": _PATIENCE_S},
        pool_size=8,
        max_overflow=-1,  # a request never waits for another one's connection
    )

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what was told stays so
        connection.execute("PRAGMA foreign_keys = ON")

    def begun(connection: Connection) -> None:
        # A writer that first reads must not find its snapshot too old to write on.
        is_writing = connection.get_execution_options().get("is_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
    return engine


def _coded(path: Path, error: DBAPIError) -> FlipLabError:
    """Say what a refusal of SQLite means for the hub."""
    code = int(getattr(error.orig, "sqlite_errorcode", 0)) & _CODE
    said: Any = error.orig
    if code in _DAMAGED:
        return _damaged(path, str(said))
    if code in _FULL:
        return StoreNotWritableError(
            f"{path} cannot be written ({said}).",
            fix="Free some space, or give the hub a disk that it may write; nothing was "
            "changed.",
        )
    return HubStateError(
        f"{path} cannot be used ({said}).",
        fix="End the process that holds on to it (fuser names it), and try again.",
    )


def _damaged(path: Path, said: str) -> HubStateError:
    return HubStateError(
        f"{path} is damaged ({said}).",
        fix="Set the hub's directory aside and restore a backup: flip-lab hub restore.",
    )
