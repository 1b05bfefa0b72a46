"""Databases that are kept from one query to the next, and told only what is new.

To make one takes tens of milliseconds, most of it DuckDB's own start. As long as a lab's
manifest, its log, and the files of runs that go on are the same, only lines that were added
to journals are read. Whoever asks gets a connection to read through; nobody writes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import duckdb

from flip_lab.store.database import open_database
from flip_lab.store.layout import LabDir
from flip_lab.store.snapshot import Snapshot
from flip_lab.store.tables import fill

_MOST = 4  # labs, or choices of runs, that somebody asks about in turn
_USUAL = ("runs", "run_metrics", "metrics")  # asked next, if not now; to add one costs more
_Key: TypeAlias = "tuple[Path, frozenset[str] | None]"


def fresh(
    lab: LabDir, *, tables: Collection[str], run_ids: Iterable[str] | None
) -> duckdb.DuckDBPyConnection:
    """Give a database of the caller's own with the tables as they are now.

    Args:
        lab: The lab to read.
        tables: Names of the tables that shall have rows.
        run_ids: The runs to read; None reads all. Unknown ones have no rows.

    Raises:
        FileNotFoundError: If a journal went while it was being read: ask again.
        duckdb.IOException: If another file did.
        StoreError: If the lab cannot be read.
    """
    return _Kept(Snapshot.take(lab, run_ids), tables).connection


def reading(
    lab: LabDir, *, tables: Collection[str], run_ids: Iterable[str] | None
) -> duckdb.DuckDBPyConnection:
    """Give a connection to a database with the tables as they are now, only to read.

    Args:
        lab: The lab to read.
        tables: Names of the tables that shall have rows.
        run_ids: The runs to read; None reads all. Unknown ones have no rows.

    Returns:
        A connection for one thread, to be closed by the caller.

    Raises:
        FileNotFoundError: If a journal went while it was being read: ask again.
        duckdb.IOException: If another file did.
        StoreError: If the lab cannot be read.
    """
    snapshot = Snapshot.take(lab, run_ids)
    with _shelf.guard:
        key = (lab.root, snapshot.run_ids)
        one = _shelf.kept.pop(key, None)
        if one is None or not one.follow(snapshot, tables):
            one = _Kept(snapshot, {*_USUAL, *tables, *(one.tables if one else ())})
        _shelf.kept[key] = one  # the last in the order is the last used
        if len(_shelf.kept) > _MOST:
            del _shelf.kept[next(iter(_shelf.kept))]
        return one.connection.cursor()


def forget(lab: LabDir) -> None:
    """Keep nothing of a lab: one of its files went, or cannot be read."""
    with _shelf.guard:
        for key in [key for key in _shelf.kept if key[0] == lab.root]:
            del _shelf.kept[key]


class _Kept:
    """One database, and what it was made of."""

    def __init__(self, snapshot: Snapshot, tables: Collection[str]) -> None:
        self.tables = frozenset(tables)
        self._picture = _picture(snapshot)
        self.connection = open_database()
        try:
            self._lines = fill(self.connection, snapshot, tables=self.tables)
            self._lines.read_new(self.connection)
        except BaseException:
            self.connection.close()
            raise

    def follow(self, snapshot: Snapshot, tables: Collection[str]) -> bool:
        """Read what is new; say no if more than lines of journals is."""
        if not self.tables.issuperset(tables) or self._picture != _picture(snapshot):
            return False
        return self._lines.read_new(self.connection)


def _picture(snapshot: Snapshot) -> tuple[object, ...]:
    """Tell apart moments at which more differs than the length of journals."""
    specs = (snapshot.lab.run_dir(run_id) / "run.json" for run_id in snapshot.journals)
    return (
        snapshot.manifest,
        snapshot.records,
        {run_id: tuple(paths) for run_id, paths in snapshot.journals.items()},
        [_mark(path) for path in specs],
    )


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        file = path.stat()
    except OSError:
        return None
    return file.st_ino, file.st_size, file.st_mtime_ns


class _Shelf:
    """What this process keeps."""

    def __init__(self) -> None:
        self.guard = Lock()
        self.kept: dict[_Key, _Kept] = {}


_shelf = _Shelf()
_parents: list[_Shelf] = []


def _leave_to_the_parent() -> None:
    """Begin anew in a forked child; DuckDB's threads are not there to be ended."""
    global _shelf  # noqa: PLW0603  # the one thing that a process has
    _parents.append(_shelf)
    _shelf = _Shelf()


os.register_at_fork(after_in_child=_leave_to_the_parent)
