"""Offer the tables of the schema, in memory, as views of what a lab holds now."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import duckdb

from flip_lab.store.audit import Labels
from flip_lab.store.registered import registered
from flip_lab.store.rows import JournalLines, make_rows, quoted, sealed_path, sealed_rows
from flip_lab.store.schema import TABLES
from flip_lab.store.schema_runs import LABELS
from flip_lab.store.selects import (
    KEPT,
    LABEL,
    MODEL,
    MOMENT,
    NEEDS,
    PARAMETER,
    RECORD,
    SELECTS,
    SOURCES,
    SPEC,
)
from flip_lab.store.snapshot import Snapshot, parameters


def fill(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    *,
    tables: Collection[str],
) -> JournalLines:
    """Make every table of the schema; those that are asked for have rows.

    Args:
        connection: An empty in-memory database that may still read files. What it may
            read afterwards is what the tables need, and no other file.
        snapshot: The lab.
        tables: Names of the tables that shall have rows.

    Returns:
        The lines of the journals, which are still to be read.

    Raises:
        duckdb.IOException: If a file went meanwhile: take another snapshot.
    """
    needed = {*tables, *(name for table in tables for name in NEEDS.get(table, ()))}
    parts = sorted({part for name in needed for part in SOURCES[name]})
    connection.execute("CREATE SCHEMA inside")
    connection.execute(f"CREATE MACRO inside.moment(seconds) AS {MOMENT}")
    make_facts(connection, snapshot, needed)
    make_rows(connection, snapshot, parts)
    for name in SELECTS:
        if name in needed:
            connection.execute(f"CREATE VIEW {name} AS {_select(snapshot, name)}")
        else:
            connection.execute(TABLES[name].create_sql())
    _allow_only(connection, snapshot)
    return JournalLines(snapshot, parts)


def _allow_only(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    files = [
        quoted(str(sealed_path(snapshot.lab, each, name)))
        for each in (*snapshot.closed, *snapshot.parts)
        for name in each.files
    ]
    connection.execute(f"SET allowed_paths = [{', '.join(files)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET GLOBAL python_enable_replacements = false")
    connection.execute("SET lock_configuration = true")


def make_facts(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    tables: Collection[str] = KEPT,
) -> None:
    """Make the small tables that Python reads: specs, parameters, labels, models, the log.

    Args:
        connection: A database with the schema ``inside``.
        snapshot: What to read.
        tables: The tables that are made of them; what these need not stays empty.
    """
    specs = snapshot.specs() if {"runs", "parameters"} & {*tables} else []
    settings = specs if "parameters" in tables else []
    records = snapshot.records if "audit" in tables else ()
    told = [
        {"run_id": run_id, **{name: getattr(label, name) for name in LABELS}}
        for run_id, label in snapshot.labels.items()
        if "runs" in tables and label != _NO_LABELS
    ]
    models = registered(snapshot.records) if "models" in tables else {}
    versions = [
        asdict(each) for model in models.values() for each in model.versions.values()
    ]
    _table(connection, "spec", SPEC, specs)
    _table(connection, "parameter", PARAMETER, [r for s in settings for r in parameters(s)])
    _table(connection, "label", LABEL, told)
    _table(connection, "model", MODEL, versions)
    _table(connection, "record", RECORD, [asdict(record) for record in records])


def _table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    form: Mapping[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    columns = ", ".join(f"{key} {_sql_type(value)}" for key, value in form.items())
    connection.execute(f"CREATE TABLE inside.{name} ({columns})")
    if rows:
        connection.execute(
            f"INSERT INTO inside.{name} SELECT unnest(row) FROM "  # noqa: S608  # our own names only
            "(SELECT unnest(from_json($rows, $form)) AS row)",
            {"rows": json.dumps(rows, default=str), "form": json.dumps([dict(form)])},
        )


def _sql_type(form: Any) -> str:  # noqa: ANN401  # a name, a list of one form, forms by name
    if isinstance(form, str):
        return form
    if isinstance(form, list):
        return f"{_sql_type(form[0])}[]"
    inner = ", ".join(f"{name} {_sql_type(each)}" for name, each in form.items())
    return f"STRUCT({inner})"


def _select(snapshot: Snapshot, name: str) -> str:
    columns = [c for c in TABLES[name].columns if not (name == "runs" and c.name in LABELS)]
    names = ", ".join(f"CAST({c.name} AS {c.sql_type}) AS {c.name}" for c in columns)
    selects: list[str] = []
    if name not in KEPT or snapshot.journals or not snapshot.closed:
        selects.append(f"SELECT {names} FROM ({SELECTS[name]})")  # noqa: S608  # our own names only
    if name in KEPT and snapshot.closed:
        selects.append(sealed_rows(snapshot, name, snapshot.closed))
    rows = " UNION ALL BY NAME ".join(selects)
    return _labelled(rows) if name == "runs" else rows


_NO_LABELS = Labels()
_UNLABELLED = {"tags": "[]", "note": "''", "is_archived": "false"}


def _labelled(rows: str) -> str:
    columns = ", ".join(
        f"coalesce({c.name}, {_UNLABELLED[c.name]}) AS {c.name}"
        if c.name in LABELS
        else f"run.{c.name}"
        for c in TABLES["runs"].columns
    )
    return (
        f"SELECT {columns} FROM ({rows}) AS run "  # noqa: S608  # our own names only
        "LEFT JOIN inside.label AS label ON label.run_id = run.run_id"
    )
