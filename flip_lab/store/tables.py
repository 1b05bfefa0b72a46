"""Fill the tables of the schema, in memory, from the journals and the ``run.json`` files.

DuckDB reads the journals itself, each once: lines that were cut short are passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import cast

import duckdb
import orjson

from flip_lab.core.errors import StoreError
from flip_lab.core.state import RunState
from flip_lab.store import frames
from flip_lab.store.journal import journals, resumptions
from flip_lab.store.layout import LabDir
from flip_lab.store.schema import TABLES
from flip_lab.store.selects import MOMENT, RUN_JSON, SELECTS, SOURCES

_ATTEMPTS = 5
_FINAL = [state.value for state in RunState if state.is_final]
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
}  # what is not here is text


def fill(
    connection: duckdb.DuckDBPyConnection,
    lab: LabDir,
    *,
    tables: Collection[str],
    run_ids: Iterable[str] | None,
) -> None:
    """Make every table of the schema, and fill those that are asked for.

    Args:
        connection: An empty in-memory database that may still read files.
        lab: Where the journals are.
        tables: Names of the tables to fill; the others stay without rows.
        run_ids: The runs to read; None reads all. Unknown ones have no rows.

    Raises:
        StoreError: If the files of the lab cannot be read.
    """
    for table in TABLES.values():
        connection.execute(table.create_sql())
    connection.execute(f"CREATE TEMP MACRO moment(seconds) AS {MOMENT}")
    parts = sorted({part for table in tables for part in SOURCES[table]})
    wanted = _run_ids(lab) if run_ids is None else sorted(set(run_ids))
    _stage(connection, lab, parts=parts, run_ids=wanted)
    for name in tables:
        parameters = _runs_parameters(lab, wanted) if name == "runs" else None
        statement = f"INSERT INTO {name} BY NAME {SELECTS[name]}"
        connection.execute(statement, parameters)
    for part in parts:
        connection.execute(f"DROP VIEW {part}_row")
        connection.execute(f"DROP VIEW {part}_any")
    connection.execute("DROP TABLE superseded")
    connection.execute("DROP TABLE frame")
    connection.execute("DROP MACRO moment")


def _run_ids(lab: LabDir) -> list[str]:
    folders = [folder for folder in (lab.runs, lab.live) if folder.is_dir()]
    return sorted({path.name for folder in folders for path in folder.iterdir()})


def _stage(
    connection: duckdb.DuckDBPyConnection,
    lab: LabDir,
    *,
    parts: list[str],
    run_ids: list[str],
) -> None:
    """Read the journals into one table of lines, with views of rows for each part."""
    types = {"run_id": "VARCHAR"} | {part: _part_type(part) for part in parts}
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())
    connection.execute(f"CREATE TEMP TABLE frame ({columns})")
    _read_journals(connection, lab, types=types, run_ids=run_ids)
    condition = _in_force(connection, lab, run_ids)
    for part in parts:
        rows = ", ".join(_row_column(part, name) for name in frames.TABLES[part])
        select = f"SELECT run_id, {rows} FROM frame"  # noqa: S608 -- our own names only
        connection.execute(f"CREATE TEMP VIEW {part}_any AS {select}")
        counts = f"SELECT * FROM {part}_any AS fact {condition}"  # noqa: S608 -- as above
        connection.execute(f"CREATE TEMP VIEW {part}_row AS {counts}")


def _in_force(
    connection: duckdb.DuckDBPyConnection, lab: LabDir, run_ids: list[str]
) -> str:
    """Note what resumed runs made anew; give the condition that leaves out the old."""
    connection.execute(
        "CREATE TEMP TABLE superseded (run_id VARCHAR, after BIGINT, until BIGINT)"
    )
    spans = [(run_id, *span) for run_id in run_ids for span in resumptions(lab, run_id)]
    if not spans:
        return ""
    names = [list(column) for column in zip(*spans, strict=True)]
    connection.execute(
        "INSERT INTO superseded SELECT unnest(?), unnest(?), unnest(?)", names
    )
    return (
        "WHERE NOT EXISTS (FROM superseded AS old WHERE old.run_id = fact.run_id "
        "AND old.after < fact.sequence AND fact.sequence < old.until)"
    )


def _part_type(part: str) -> str:
    columns = (f"{name} {_TYPES.get(name, 'VARCHAR')}[]" for name in frames.TABLES[part])
    return f"STRUCT({', '.join(columns)})"


def _row_column(part: str, name: str) -> str:
    value = f"unnest({part}.{name})"
    return f"TRY_CAST({value} AS JSON) AS body" if name == "body" else f"{value} AS {name}"


def _read_journals(
    connection: duckdb.DuckDBPyConnection,
    lab: LabDir,
    *,
    types: dict[str, str],
    run_ids: list[str],
) -> None:
    source = (
        "read_json($files, format = 'newline_delimited', ignore_errors = true, "
        f"columns = {types!r}, maximum_object_size = {frames.LIMIT_BYTES})"
    )
    for attempt in range(1, _ATTEMPTS + 1):
        files = [path for run_id in run_ids for path in journals(lab, run_id)]
        if not files:
            return
        try:
            connection.execute(
                f"INSERT INTO frame BY NAME FROM {source}",
                {"files": [_literal(path) for path in files]},
            )
        except duckdb.IOException as error:  # a run was removed since we listed it
            if attempt == _ATTEMPTS:
                raise StoreError(
                    f"The journals of {lab.root} cannot be read.",
                    fix="Check that you may read every file under its live directory.",
                    detail=str(error),
                ) from error
        else:
            return


def _literal(path: Path) -> str:
    """Keep DuckDB from reading ``*``, ``?`` and ``[`` in a path as a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def _runs_parameters(lab: LabDir, run_ids: list[str]) -> dict[str, object]:
    launched = [run for run_id in run_ids if (run := _read_run(lab, run_id))]
    return {
        "launched": orjson.dumps(launched).decode(),
        "run_json": orjson.dumps([dict(RUN_JSON)]).decode(),
        "final": _FINAL,
    }


def _read_run(lab: LabDir, run_id: str) -> dict[str, object] | None:
    """Read what was launched; None when it cannot be read, so that other runs still can."""
    try:
        found = orjson.loads((lab.run_dir(run_id) / "run.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(found, dict):
        return None
    run = cast("dict[str, object]", found)
    return run if run.get("run_id") == run_id else None
