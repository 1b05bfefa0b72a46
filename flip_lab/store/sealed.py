"""Read back the sealed facts of one run, as they were written."""

from __future__ import annotations

import json
import os
from contextlib import closing
from functools import cache
from typing import Any

import duckdb

from flip_lab.core.errors import StoreError
from flip_lab.store import frames
from flip_lab.store.database import open_database
from flip_lab.store.layout import LabDir
from flip_lab.store.rows import sealed_rows
from flip_lab.store.snapshot import Snapshot

_ATTEMPTS = 5


def sealed_facts(
    lab: LabDir, run_id: str, *, after: int, until: int
) -> list[dict[str, Any]]:
    """Give the sealed facts of a run, in no order.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        after: Leave out facts up to this sequence.
        until: Leave out facts from this sequence on.

    Returns:
        For each fact its ``sequence``, ``time_s``, ``server_round``, ``kind``, and the
        keys of its body.

    Raises:
        StoreError: If they cannot be read.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _read(Snapshot.take(lab, [run_id], with_trash=True), after, until)
        except duckdb.Error as error:
            if attempt == _ATTEMPTS or not isinstance(error, duckdb.IOException):
                raise StoreError(
                    f"The sealed facts of run {run_id} cannot be read.",
                    fix="flip-lab doctor looks for damage; restore the lab from a backup.",
                    detail=str(error),
                ) from error
    return []


def _read(snapshot: Snapshot, after: int, until: int) -> list[dict[str, Any]]:
    segments = [*snapshot.closed, *snapshot.parts]
    found: list[dict[str, Any]] = []
    if not segments:
        return found
    with closing(_database().cursor()) as connection:
        for part, columns in frames.TABLES.items():
            rows = connection.execute(
                f"SELECT {', '.join(columns)} "  # noqa: S608  # our own names only
                f"FROM ({sealed_rows(snapshot, part, segments)}) "
                "WHERE sequence > ? AND sequence < ?",
                [after, until],
            ).fetchall()
            found += [_fact(part, dict(zip(columns, row, strict=True))) for row in rows]
    return found


@cache
def _database_of(process_id: int) -> duckdb.DuckDBPyConnection:
    """Give a process's own database: DuckDB's threads do not live on in a forked child."""
    del process_id
    return open_database()


def _database() -> duckdb.DuckDBPyConnection:
    """Give an empty database; to open one takes a third of what reading a run takes."""
    return _database_of(os.getpid())


def _fact(part: str, row: dict[str, Any]) -> dict[str, Any]:
    if part != "event":
        return row | {"kind": part}
    body = json.loads(row.pop("body"))
    return body | row
