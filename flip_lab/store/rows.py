"""The rows that tables are made from: journals and sealed files, as views in DuckDB.

All of it lives in the schema ``inside`` of an in-memory database. Live journals are parsed
once, when the database is made; sealed files are read where a query needs them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

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

    Args:
        connection: A database with the schema ``inside`` that may still read files.
        snapshot: What to read.
        parts: Which of ``event``, ``metric`` and ``client``.

    Raises:
        duckdb.IOException: If a file is gone: the snapshot is too old.
    """
    _read_journals(connection, snapshot, parts)
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
        everything = [f"FROM inside.open_{part}"]
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


def _read_journals(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, parts: Collection[str]
) -> None:
    types = {"run_id": "VARCHAR"} | {part: _frame_type(part) for part in parts}
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())
    connection.execute(f"CREATE TABLE inside.frame ({columns})")
    files = [path for paths in snapshot.journals.values() for path in paths]
    if files and parts:
        connection.execute(
            "INSERT INTO inside.frame BY NAME FROM read_json($files, "
            "format = 'newline_delimited', ignore_errors = true, "
            f"columns = {types!r}, maximum_object_size = {frames.LIMIT_BYTES})",
            {"files": [_pattern(path) for path in files]},
        )


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
