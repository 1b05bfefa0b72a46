"""How much an answer may cost: a server asks for strangers to its code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer

import duckdb

from flip_lab.core.errors import QueryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an answer may cost.

    Attributes:
        time_s: Seconds after which the query is stopped, above 0.
        rows: The most rows that are given, 1 or more; others are left out.
    """

    time_s: float
    rows: int


@contextmanager
def in_time(
    connection: duckdb.DuckDBPyConnection, limits: Limits | None
) -> Generator[None]:
    """End a query that takes longer than it may.

    Args:
        connection: What is asked meanwhile.
        limits: How long it may take; None sets no limit.

    Raises:
        QueryError: If it took longer.
    """
    if limits is None:
        yield
        return
    alarm = Timer(limits.time_s, connection.interrupt)
    alarm.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError(
            f"The query took longer than {limits.time_s:g} s and was stopped.",
            fix="Ask for fewer runs or rows, or ask in a notebook: lab.sql(…).",
        ) from error
    finally:
        alarm.cancel()
