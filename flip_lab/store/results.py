# pyarrow has no stubs:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What comes out of a query: frames with sensible types, or an error with a fix."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb

from flip_lab.core.errors import nearest
from flip_lab.store.schema import TABLES

if TYPE_CHECKING:  # both take longer to import than many queries take to run
    import pandas as pd
    import pyarrow as pa

_NO_TABLE = re.compile(r'Table with name "?([^"\s]+)|table "([^"]+)" not found')
_NO_COLUMN = re.compile(r'[Cc]olumn "([^"]+)" not found|have a column named "([^"]+)"')
_WORD = re.compile(r"\w+")
_FIXES = MappingProxyType(
    {
        "file system operations are disabled": (
            "Ask only the lab's tables; read other files with pandas and merge the frames."
        ),
        "in read-only mode": "Write a SELECT that changes nothing.",
        "Values were not provided": "Give a value for every ? or $name as parameters.",
    }
)


def tidy(table: pa.Table) -> pa.Table:
    """Turn DuckDB's wide decimals, the sums of integers, into 64-bit numbers.

    Args:
        table: What DuckDB gave.

    Returns:
        The same rows; a decimal is an int64 where every value is a whole number that
        fits, else a float64.
    """
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(index, field.name, _number(table.column(index)))
    return table


def _number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type.scale == 0:
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:  # a sum beyond 2**63
            pass
    return column.cast(pa.float64())


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Give the rows as a frame.

    Args:
        table: What DuckDB gave.

    Returns:
        A frame with NumPy types where nothing is missing; an integer or Boolean column
        with missing values has pandas' nullable type, text is ``str``, a map is a dict.
    """
    import pandas as pd
    import pyarrow as pa

    # Named, so that a text column is text even where every value is missing.
    always = {pa.string(): pd.StringDtype(na_value=float("nan"))}
    nullable = always | {
        pa.bool_(): pd.BooleanDtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    table = tidy(table)
    series = [
        column.to_pandas(
            types_mapper=(nullable if column.null_count else always).get,
            maps_as_pydicts="strict",
        )
        for column in table.columns
    ]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame()
    return frame.set_axis(table.column_names, axis=1)


def to_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Give the rows as dicts of plain Python values, by column name.

    Args:
        table: What DuckDB gave.
    """
    return tidy(table).to_pylist(maps_as_pydicts="strict")


def complaint(query: str, error: duckdb.Error) -> dict[str, str]:
    """Say what is wrong with a query, and what would be right.

    Args:
        query: What the user asked.
        error: What DuckDB said.

    Returns:
        The arguments of a ``QueryError``: ``what``, ``fix`` and the offending part as
        ``detail``. For an unknown table or column the fix lists those that exist.
    """
    what, _, place = str(error).partition("\n\nLINE ")
    what = " ".join(what.split())
    detail = f"LINE {place}" if place else _part(query, what)
    return {"what": what, "fix": _fix(query, what), "detail": detail}


def _part(query: str, what: str) -> str:
    """Give the lines of a query that DuckDB's complaint names, or all of it."""
    named = [
        line.strip()
        for line in query.splitlines()
        if any(
            f'"{word}"' in what or f" {word} does" in what for word in _WORD.findall(line)
        )
    ]
    return "\n".join(named) or query.strip()


def _fix(query: str, what: str) -> str:
    if match := _NO_TABLE.search(what):
        return nearest(match[1] or match[2], TABLES)
    if match := _NO_COLUMN.search(what):
        named = [table for name, table in TABLES.items() if name in query.lower()]
        return nearest(
            match[1] or match[2],
            {column.name for table in named for column in table.columns},
        )
    for symptom, fix in _FIXES.items():
        if symptom in what:
            return fix
    return f"Correct the query; the lab's tables are {', '.join(TABLES)}."
