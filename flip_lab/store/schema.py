"""The tables that the store offers, as data: the SQL and the reference page follow it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flip_lab.store.schema_facts import (
    ARTIFACTS,
    CLIENT_METRICS,
    CLIENTS,
    EVENTS,
    LOGGED,
    METRICS,
    RESOURCES,
    ROUNDS,
    SPANS,
)
from flip_lab.store.schema_parts import Table
from flip_lab.store.schema_runs import (
    AUDIT,
    COMMANDS,
    EXPERIMENTS,
    MODELS,
    PARAMETERS,
    RUN_METRICS,
    RUNS,
    SETTINGS,
    SWEEPS,
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            RUNS,
            ROUNDS,
            METRICS,
            CLIENTS,
            CLIENT_METRICS,
            EVENTS,
            ARTIFACTS,
            LOGGED,
            PARAMETERS,
            SETTINGS,
            COMMANDS,
            RUN_METRICS,
            RESOURCES,
            SPANS,
            EXPERIMENTS,
            SWEEPS,
            MODELS,
            AUDIT,
        )
    }
)
"""Every table by name."""


def reference_page() -> str:
    """Give the reference of all tables as Markdown; ``docs/reference/tables.md`` is it."""
    head = (
        "# Tables\n\n<!-- Made from flip_lab/store/schema.py; edit that. -->\n\n"
        "What SQL over a lab can ask for. Times are UTC, durations are seconds. Where a\n"
        "resumed run made facts anew, the tables show the new ones only; `events` has "
        "both.\n"
    )
    return "\n".join([head, *map(_section, TABLES.values())])


def _section(table: Table) -> str:
    rows = [
        f"| `{column.name}` | {column.sql_type} | {column.unit or '–'} "
        f"| {'yes' if column.nullable else 'no'} | {column.meaning} |"
        for column in table.columns
    ]
    order = ", ".join(f"`{name}`" for name in table.order_by)
    head = f"## {table.name}\n\n{table.meaning} In order of {order}.\n\n"
    rule = "| column | type | unit | may be missing | meaning |\n|---|---|---|---|---|\n"
    return head + rule + "\n".join(rows) + "\n"
