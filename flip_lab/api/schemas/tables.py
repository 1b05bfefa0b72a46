"""Rows of the store's tables as schemas: made from the tables, so that they agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, Field, create_model

from flip_lab.api.schemas.base import Number
from flip_lab.store.schema import TABLES
from flip_lab.store.schema_parts import Column

_TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "VARCHAR": str,
        "VARCHAR[]": list[str],
        "INTEGER": int,
        "BIGINT": int,
        "UBIGINT": int,
        "DOUBLE": Number,
        "BOOLEAN": bool,
        "TIMESTAMPTZ": datetime,
        "JSON": Any,
        "MAP(VARCHAR, DOUBLE)": dict[str, Number],
    }
)


def row_schema(
    table: str, name: str, *, more: Mapping[str, Any] | None = None
) -> type[BaseModel]:
    """Make the schema of a table's rows.

    Args:
        table: The table.
        name: What to call the schema.
        more: Fields besides its columns: annotations by name.
    """
    columns = TABLES[table].columns
    fields: dict[str, Any] = {column.name: (_type(column), ...) for column in columns}
    fields |= {key: (kind, ...) for key, kind in (more or {}).items()}
    return create_model(name, __doc__=TABLES[table].meaning, **fields)


def _type(column: Column) -> Any:  # noqa: ANN401  # a type
    kind = _TYPES[column.sql_type]
    if column.nullable:
        kind |= None
    unit = f" Unit: {column.unit}." if column.unit not in {"", "UTC"} else ""
    return Annotated[kind, Field(description=column.meaning + unit)]


def rows_of(table: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give rows of a table as the API shows them: JSON columns as what they hold."""
    parsed = [c.name for c in TABLES[table].columns if c.sql_type == "JSON"]
    return [
        {**row, **{name: _parsed(row[name]) for name in parsed if name in row}}
        for row in rows
    ]


def _parsed(text: str | None) -> Any:  # noqa: ANN401  # JSON
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it names a number that JSON lacks
        return json.loads(text)
