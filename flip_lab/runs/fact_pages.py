"""Facts of one run, some rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flip_lab.runs.facts import FactFilter, facts_question
from flip_lab.runs.search import RunFilter
from flip_lab.store import query
from flip_lab.store.layout import LabDir

_ALL = FactFilter()


def fact_page(
    lab: LabDir,
    table: str,
    run_id: str,
    *,
    facts: FactFilter = _ALL,
    start: int = 0,
    limit: int,
) -> list[dict[str, Any]]:
    """Give rows of a table about one run, in the table's order.

    Args:
        lab: The lab that keeps the run.
        table: A table with a column ``run_id``.
        run_id: The run.
        facts: Only rows with these values; the table must have the columns.
        start: How many rows to leave out, from 0.
        limit: The most rows to give.

    Raises:
        StoreError: If the lab cannot be read.
    """

    def ask(statement: str, values: Sequence[object]) -> list[dict[str, Any]]:
        return query.sql(lab, statement, list(values), as_="rows")

    question = facts_question(table, RunFilter(run_ids=[run_id]), facts, ask)
    return ask(f"{question.text} LIMIT {limit:d} OFFSET {start:d}", question.values)
