"""The rows that tables are made from: journals and sealed files, as views in DuckDB.

All of it lives in the schema ``inside`` of an in-memory database. Lines of live journals
are parsed once, into ``inside.frame``; sealed files are read where a query needs them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import duckdb

from flip_lab.store import frames
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import Segment
from flip_lab.store.schema import TABLES
from flip_lab.store.schema_parts import Column
from flip_lab.store.schema_runs import LABELS
from flip_lab.store.selects import KEPT
from flip_lab.store.snapshot import Snapshot

_TYPES = {
    "sequence": "BIGINT",
    "time_s": "DOUBLE",
    "server_round": "INTEGER",
    "value": "DOUBLE",
    "node_id": "UBIGINT",
    "partition_id": "INTEGER",
    "num_examples": "DOUBLE",
    "started_s": "DOUBLE",
    "duration_s": "DOUBLE",
    "bytes_down": "BIGINT",
    "bytes_up": "BIGINT",
    "metrics": "MAP(VARCHAR, DOUBLE)",
    "error_code": "INTEGER",
    "body": "JSON",
}  # what is not here is text
_AT_ONCE_BYTES = 2**24
_ENDS_WELL = re.compile(rb',"hash":"[0-9a-f]{16}"\}$')


def _facts(part: str) -> tuple[Column, ...]:
    names = ("run_id", *frames.TABLES[part])
    columns = [
        Column(name=name, sql_type=_TYPES.get(name, "VARCHAR"), meaning="")
        for name in names
    ]
    superseded = Column(name="superseded", sql_type="BOOLEAN", meaning="")
    return (*columns, superseded)


def _kept(name: str) -> tuple[Column, ...]:
    return tuple(each for each in TABLES[name].columns if each.name not in LABELS)


SEALED: Mapping[str, tuple[Column, ...]] = MappingProxyType(
    {part: _facts(part) for part in frames.TABLES} | {name: _kept(name) for name in KEPT}
)
"""The columns of each file of a segment: three parts of facts, and tables ready-made."""


def make_rows(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, parts: Collection[str]
) -> None:
    """Make the views ``open_…`` and ``every_…`` of some parts of the journals.

    The lines of the journals are left to ``read_journals`` or ``JournalLines``.

    Args:
        connection: A database with the schema ``inside`` that may still read files.
        snapshot: What to read.
        parts: Which of ``event``, ``metric`` and ``client``.

    Raises:
        duckdb.IOException: If a file is gone: the snapshot is too old.
    """
    types = {"run_id": "VARCHAR"} | {part: _frame_type(part) for part in parts}
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())
    connection.execute(f"CREATE TABLE inside.frame ({columns})")
    told = snapshot.superseded()
    for part in parts:
        live = ", ".join(_live_column(part, column) for column in SEALED[part][:-1])
        names = ", ".join(column.name for column in SEALED[part][:-1])
        rows = [f"SELECT {live} FROM inside.frame"]  # noqa: S608  # our own names only
        if snapshot.parts:
            rows.append(
                f"SELECT {names} FROM ({sealed_rows(snapshot, part, snapshot.parts)})"  # noqa: S608  # as above
            )
        test = _superseded(told)
        connection.execute(
            f"CREATE VIEW inside.open_{part} AS SELECT *, {test} AS superseded "  # noqa: S608  # as above
            f"FROM ({' UNION ALL '.join(rows)})"
        )
        everything: list[str] = []
        if snapshot.journals or not snapshot.closed:
            everything.append(f"FROM inside.open_{part}")
        if snapshot.closed:
            everything.append(sealed_rows(snapshot, part, snapshot.closed))
        connection.execute(
            f"CREATE VIEW inside.every_{part} AS {' UNION ALL '.join(everything)}"
        )


def _superseded(spans: Iterable[tuple[str, int, int]]) -> str:
    """Say in SQL whether a row lies in a span: literals, because a join costs more."""
    tests = [
        f"(run_id = {quoted(run_id)} AND sequence > {after} AND sequence < {until})"
        for run_id, after, until in spans
    ]
    return f"({' OR '.join(tests)})" if tests else "false"


def read_journals(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, parts: Collection[str]
) -> None:
    """Read whole journals, of any size, after ``make_rows``.

    Args:
        connection: A database that may still read files.
        snapshot: What to read.
        parts: As for ``make_rows``.

    Raises:
        duckdb.IOException: If a file is gone: the snapshot is too old.
    """
    types = {"run_id": "VARCHAR"} | {part: _frame_type(part) for part in parts}
    files = [path for paths in snapshot.journals.values() for path in paths]
    if files and parts:
        connection.execute(
            "INSERT INTO inside.frame BY NAME FROM read_json($files, "
            "format = 'newline_delimited', ignore_errors = true, "
            f"columns = {types!r}, maximum_object_size = {frames.LIMIT_BYTES})",
            {"files": [_pattern(path) for path in files]},
        )


class JournalLines:
    """Reads journals as they grow: each line once, into ``inside.frame``.

    Args:
        snapshot: Whose journals.
        parts: As for ``make_rows``.
    """

    def __init__(self, snapshot: Snapshot, parts: Collection[str]) -> None:
        """Read nothing yet."""
        types = {"run_id": "VARCHAR"} | {part: _frame_type(part) for part in parts}
        self._form = json.dumps(types)
        files = [path for paths in snapshot.journals.values() for path in paths]
        self._offsets = dict.fromkeys(files, 0) if parts else {}
        self._inodes: dict[Path, int] = {}

    def read_new(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Read what came since the last time.

        Args:
            connection: The database, after ``make_rows``; it need reach no file.

        Returns:
            Whether files only grew; if not, a repair or a backup put others in their
            place, and what was read before is void.

        Raises:
            FileNotFoundError: If a file is gone: the snapshot is too old.
        """
        for path, offset in self._offsets.items():
            found = path.stat()
            inode = self._inodes.setdefault(path, found.st_ino)
            if found.st_size < offset or found.st_ino != inode:
                return False
            if found.st_size == offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                while data := _whole_lines(file):
                    self._keep(connection, data)
                    self._offsets[path] += len(data)
        return True

    def _keep(self, connection: duckdb.DuckDBPyConnection, data: bytes) -> None:
        lines = [line for line in data.split(b"\n") if _is_frame(line)]
        if lines:
            connection.execute(
                "INSERT INTO inside.frame BY NAME "
                "SELECT unnest(TRY(from_json(line, $form))) "
                "FROM (SELECT unnest(string_split($text, chr(10))) AS line)",
                {"text": b"\n".join(lines).decode(errors="replace"), "form": self._form},
            )


def _whole_lines(file: BinaryIO) -> bytes:
    """Read lines; the part of one at the end, which is being written, is left for later."""
    data = file.read(_AT_ONCE_BYTES)
    if b"\n" not in data:
        data += file.readline()
    whole, newline, tail = data.rpartition(b"\n")
    if tail and _is_frame(tail):  # its newline may come later, or never
        return data
    file.seek(-len(tail), os.SEEK_CUR)
    return whole + newline


def _is_frame(line: bytes) -> bool:
    """Say whether a line is whole: one that was cut short does not end with its hash."""
    return bool(_ENDS_WELL.search(line)) or frames.parse(line) is not None


def _frame_type(part: str) -> str:
    types = {name: _TYPES.get(name, "VARCHAR") for name in frames.TABLES[part]}
    types |= {"body": "VARCHAR"} if "body" in types else {}
    return f"STRUCT({', '.join(f'{name} {kind}[]' for name, kind in types.items())})"


def _live_column(part: str, column: Column) -> str:
    if column.name == "run_id":
        return "run_id"
    value = f"unnest({part}.{column.name})"
    return (
        f"TRY_CAST({value} AS JSON) AS body"
        if column.name == "body"
        else (f"{value} AS {column.name}")
    )


def sealed_rows(snapshot: Snapshot, name: str, segments: Sequence[Segment]) -> str:
    """Give the SELECT over one kind of sealed file, with the runs that count.

    Args:
        snapshot: What is asked for.
        name: A key of ``SEALED``.
        segments: Where to look; at least one.
    """
    ordered = sorted(segments, key=lambda each: (each.schema, _only(snapshot, each)))
    groups = groupby(ordered, key=lambda each: (each.schema, _only(snapshot, each)))
    return " UNION ALL ".join(
        _select(snapshot.lab, name, schema=schema, only=only, segments=list(some))
        for (schema, only), some in groups
    )


def _select(
    lab: LabDir, name: str, *, schema: int, only: str, segments: Sequence[Segment]
) -> str:
    columns = ", ".join(
        column.name if column.since <= schema else f"{column.before} AS {column.name}"
        for column in SEALED[name]
    )
    files = [quoted(_pattern(sealed_path(lab, each, name))) for each in segments]
    return (
        f"SELECT {columns} FROM read_parquet([{', '.join(files)}], "  # noqa: S608  # our own names and quoted paths
        f"hive_partitioning = false) {only}"
    )


def _only(snapshot: Snapshot, segment: Segment) -> str:
    """Say in SQL which runs of a segment count; nothing when all do."""
    counting = snapshot.counting(segment)
    others = frozenset(segment.run_ids) - counting
    if not others:
        return ""
    fewer, word = min((counting, "IN"), (others, "NOT IN"), key=lambda each: len(each[0]))
    return f"WHERE run_id {word} ({', '.join(map(quoted, sorted(fewer)))})"


def sealed_path(lab: LabDir, segment: Segment, name: str) -> Path:
    """Say where one file of a segment lies."""
    return lab.segments / segment.name / f"{name}.parquet"


def quoted(text: str) -> str:
    """Write a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _pattern(path: Path) -> str:
    """Keep DuckDB from reading ``*``, ``?`` and ``[`` in a path as a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
