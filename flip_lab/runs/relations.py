"""An answer that can be asked further: a DuckDB relation with a database of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from flip_lab.core.errors import QueryError
from flip_lab.store import query, results
from flip_lab.store.layout import LabDir


def relation(
    lab: LabDir,
    statement: str,
    parameters: Sequence[object] | Mapping[str, object] | None = None,
) -> duckdb.DuckDBPyRelation:
    """Ask a lab and give the answer as DuckDB does.

    Args:
        lab: The lab to read.
        statement: One query.
        parameters: Values for its ``?`` or ``$name`` marks.

    Returns:
        The relation. Its database lives as long as it does; it shows the lab as it was
        and reaches nothing else.

    Raises:
        QueryError: If the query is wrong, or gives no rows.
        StoreError: If the files of the lab cannot be read.
    """
    connection = query.connect(lab)
    try:
        found = connection.sql(statement, params=parameters)
    except duckdb.Error as error:
        connection.close()
        raise QueryError(**results.complaint(statement, error)) from error
    if found is None:  # pyright: ignore[reportUnnecessaryComparison]  # DuckDB's types err
        connection.close()
        raise QueryError(
            f"The statement gives no rows: {statement.strip()!r}.", fix="Write a SELECT."
        )
    return found
