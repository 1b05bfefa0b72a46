# pyarrow has no stubs:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
"""SQL over a lab: an in-memory DuckDB that holds what the journals hold now.

A connection is a picture of the moment it was made. It can reach no file, so a query
cannot harm the lab or read anything else on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import duckdb

from flip_lab.core.errors import QueryError, StoreError, nearest
from flip_lab.store import kept, results
from flip_lab.store.layout import LabDir
from flip_lab.store.query_limits import Limits, in_time
from flip_lab.store.schema import TABLES

if TYPE_CHECKING:  # takes longer to import than many queries take to run
    import pandas as pd

T = TypeVar("T")
Parameters: TypeAlias = Sequence[object] | Mapping[str, object] | None
Rows: TypeAlias = list[dict[str, Any]]

_ATTEMPTS = 5
_READING = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})
_FORMS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"pandas": results.to_pandas, "arrow": results.tidy, "rows": results.to_rows}
)


def connect(
    lab: LabDir, *, run_ids: Iterable[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """Give a database with every table of the schema, filled now.

    Args:
        lab: The lab to read.
        run_ids: The runs to read; None reads all. Unknown ones have no rows.

    Returns:
        An in-memory connection of the caller's own. It reaches no file but the lab's
        sealed ones and its settings are locked; tables that the caller makes in it vanish
        when it is closed. Unlike ``sql`` it takes any statement, also a ``COPY`` that names
        a sealed file and would overwrite it. Its
        ``fetchall`` of a time needs ``pytz``; ``sql`` does not.

    Raises:
        StoreError: If the files of the lab cannot be read.
    """
    runs = None if run_ids is None else [*run_ids]
    return _patiently(lab, lambda: kept.fresh(lab, tables=TABLES, run_ids=runs))


@overload
def sql(
    lab: LabDir,
    query: str,
    parameters: Parameters = None,
    *,
    as_: Literal["pandas"] = "pandas",
    limits: Limits | None = None,
) -> pd.DataFrame: ...
@overload
def sql(
    lab: LabDir,
    query: str,
    parameters: Parameters = None,
    *,
    as_: Literal["arrow"],
    limits: Limits | None = None,
) -> Any: ...  # noqa: ANN401  # a pyarrow.Table; pyarrow ships no types
@overload
def sql(
    lab: LabDir,
    query: str,
    parameters: Parameters = None,
    *,
    as_: Literal["rows"],
    limits: Limits | None = None,
) -> Rows: ...
def sql(
    lab: LabDir,
    query: str,
    parameters: Parameters = None,
    *,
    as_: str = "pandas",
    limits: Limits | None = None,
) -> Any:
    """Answer one query over all runs of a lab.

    Args:
        lab: The lab to read.
        query: One statement that reads: SELECT, FROM, WITH, PIVOT, DESCRIBE, EXPLAIN.
        parameters: Values for ``?`` or ``$name`` in the query.
        as_: ``"pandas"``, ``"arrow"``, or ``"rows"`` (one dict per row).
        limits: How much the answer may cost; None sets no limit.

    Returns:
        The answer in that form. Sums of integers are integers, times are aware UTC
        datetimes, maps are dicts (in Arrow, maps).

    Raises:
        QueryError: If the query is wrong, does more than read, takes longer than its
            limit, or ``as_`` is unknown.
        StoreError: If the files of the lab cannot be read.
    """
    if as_ not in _FORMS:
        raise QueryError(f"as_ is {as_!r}.", fix=nearest(as_, _FORMS))
    # A table that the text does not name is not needed; that a name appears in another role
    # costs only time.
    text = f"{query} {parameters}".lower()
    needed = [name for name in TABLES if name in text]
    return _asked(lab, query, tables=needed, parameters=parameters, as_=as_, limits=limits)


@overload
def table(
    lab: LabDir,
    name: str,
    *,
    run_ids: Iterable[str] | None = None,
    as_: Literal["pandas"] = "pandas",
) -> pd.DataFrame: ...
@overload
def table(
    lab: LabDir, name: str, *, run_ids: Iterable[str] | None = None, as_: Literal["arrow"]
) -> Any: ...  # noqa: ANN401  # a pyarrow.Table; pyarrow ships no types
@overload
def table(
    lab: LabDir, name: str, *, run_ids: Iterable[str] | None = None, as_: Literal["rows"]
) -> Rows: ...
def table(
    lab: LabDir, name: str, *, run_ids: Iterable[str] | None = None, as_: str = "pandas"
) -> Any:
    """Give one whole table, ordered by run and then by sequence or round.

    Args:
        lab: The lab to read.
        name: A table of ``flip_lab.store.schema.TABLES``.
        run_ids: The runs to read; None reads all. Unknown ones have no rows.
        as_: ``"pandas"``, ``"arrow"``, or ``"rows"`` (one dict per row).

    Returns:
        The table in that form, see ``sql``.

    Raises:
        QueryError: If there is no such table, or ``as_`` is unknown.
        StoreError: If the files of the lab cannot be read.
    """
    if name not in TABLES:
        raise QueryError(f"There is no table {name!r}.", fix=nearest(name, TABLES))
    if as_ not in _FORMS:
        raise QueryError(f"as_ is {as_!r}.", fix=nearest(as_, _FORMS))
    query = f"SELECT * FROM {name} ORDER BY {', '.join(TABLES[name].order_by)}"  # noqa: S608 -- names from the schema
    return _asked(lab, query, tables=[name], run_ids=run_ids, as_=as_)


def _asked(  # noqa: PLR0913  # what both public functions take
    lab: LabDir,
    query: str,
    *,
    tables: Iterable[str],
    run_ids: Iterable[str] | None = None,
    parameters: Parameters = None,
    as_: str,
    limits: Limits | None = None,
) -> Any:  # noqa: ANN401 -- the public overloads say what it is
    names, runs = [*tables], None if run_ids is None else [*run_ids]

    def ask() -> Any:  # noqa: ANN401 -- as above
        with closing(kept.reading(lab, tables=names, run_ids=runs)) as connection:
            return _answer(connection, query, parameters=parameters, as_=as_, limits=limits)

    return _patiently(lab, ask)


def _patiently(lab: LabDir, read: Callable[[], T]) -> T:
    """Read, and again when a file went meanwhile: it was sealed, merged, or removed.

    Raises:
        StoreError: If files of the lab cannot be read.
    """
    attempt = 1
    while True:
        try:
            return read()
        except (FileNotFoundError, duckdb.IOException, duckdb.InvalidInputException) as e:
            kept.forget(lab)
            if attempt == _ATTEMPTS or isinstance(e, duckdb.InvalidInputException):
                raise StoreError(
                    f"The files of {lab.root} cannot be read.",
                    fix="Check that you may read them; flip-lab doctor looks for damage.",
                    detail=str(e),
                ) from e
            attempt += 1


def _answer(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    parameters: Parameters = None,
    as_: str,
    limits: Limits | None = None,
) -> Any:  # noqa: ANN401 -- the public overloads say what it is
    with _explained(query), in_time(connection, limits):
        _require_reading(connection, query)
        # Also refuses a SELECT that hides a DELETE.
        connection.execute("BEGIN TRANSACTION READ ONLY")
        relation = connection.sql(query, params=parameters)
        if limits is not None:
            relation = relation.limit(limits.rows)
        return _FORMS[as_](relation.to_arrow_table())


def _require_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise QueryError(
            f"The text holds {len(statements)} statements: {query.strip()!r}.",
            fix="Ask one query at a time.",
        )
    kind = statements[0].type
    # DuckDB runs a PIVOT as several statements.
    if kind not in _READING and kind != duckdb.StatementType.MULTI:
        raise QueryError(
            f"A {kind.name} statement does more than read: {query.strip()!r}.",
            fix="Write a SELECT; to change tables of your own, use connect().",
        )


@contextmanager
def _explained(query: str) -> Generator[None]:
    """Turn DuckDB's complaint into ours.

    Raises:
        QueryError: With the place in the query and a fix.
        Error: As it was, if a file of the lab is the cause.
    """
    try:
        yield
    except duckdb.Error as error:
        if isinstance(error, duckdb.IOException) or ".parquet'" in str(error):
            raise  # a file of the lab, not the query
        raise QueryError(**results.complaint(query, error)) from error
