"""Which facts of runs somebody looks for, as a question in SQL: DuckDB chooses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from flip_lab.core.errors import QueryError
from flip_lab.runs.conditions import (
    Ask,
    Question,
    all_of,
    among,
    joined,
    quoted,
    several,
)
from flip_lab.runs.search import (
    RUN_COLUMNS,
    Names,
    RunFilter,
    require_known,
    run_condition,
)
from flip_lab.store.schema import TABLES

Numbers: TypeAlias = "int | range | Collection[int] | None"
"""A number, or several: ``3``, ``range(1, 11)``, ``[1, 5, 9]``; None takes all."""

USUAL_KEYS = ("strategy.name", "seed")
"""What rows of metrics are told apart by, unless asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactFilter:
    """Which rows of a table of facts are asked for; None takes all.

    Attributes:
        name: Names of metrics.
        phase: ``"train"``, ``"evaluate"`` or ``"query"``, or several.
        scope: ``"federated"`` or ``"central"``, or both.
        server_round: Rounds.
        partition_id: Partitions.
    """

    name: Names = None
    phase: Names = None
    scope: Names = None
    server_round: Numbers = None
    partition_id: Numbers = None


def facts_question(
    table: str,
    runs: RunFilter,
    facts: FactFilter,
    ask: Ask,
    *,
    keys: Sequence[str] = (),
) -> Question:
    """Ask for rows of a table of facts, in the table's order.

    Args:
        table: ``metrics``, ``clients`` or ``client_metrics``.
        runs: Of which runs.
        facts: Which rows.
        ask: Answers what must be known before.
        keys: Columns of ``runs``, or parameters, that each row is given besides.

    Raises:
        QueryError: If a key or a name in the filter means nothing here.
    """
    conditions = [
        _within(f"fact.{item.name}", values)
        for item in fields(facts)
        if (values := getattr(facts, item.name)) is not None
    ]
    if runs.run_ids is not None and runs.is_list:
        conditions.append(among("fact.run_id", runs.run_ids))  # needs no other table
    else:
        chosen = run_condition(runs, ask)
        text = f"fact.run_id IN (SELECT run_id FROM runs WHERE {chosen.text})"  # noqa: S608  # values are parameters
        conditions.append(replace(chosen, text=text))
    columns, joins = _keyed(table, keys, runs, ask)
    wanted = all_of(conditions)
    order = ", ".join(f"fact.{name}" for name in TABLES[table].order_by)
    return Question(
        text=f"SELECT {', '.join(['fact.*', *columns])} FROM {table} AS fact {joins.text} "  # noqa: S608  # names of ours, or quoted
        f"WHERE {wanted.text} ORDER BY {order}",
        values=(*joins.values, *wanted.values),
    )


def _within(name: str, values: object) -> Question:
    if isinstance(values, range) and values.step == 1:
        ends = (values.start, values.stop - 1)
        return Question(text=f"{name} BETWEEN ? AND ?", values=ends)
    return among(name, several(values))


def _keyed(
    table: str, keys: Sequence[str], runs: RunFilter, ask: Ask
) -> tuple[list[str], Question]:
    """Give the columns of the keys, and where they come from."""
    own = {column.name for column in TABLES[table].columns}
    if clash := [key for key in keys if key in own]:
        raise QueryError(
            f"{clash[0]!r} cannot be a key: {table} has a column of this name.",
            fix="Leave it out, or join the tables in SQL under another name: lab.sql(…).",
        )
    names = [key for key in keys if key not in RUN_COLUMNS]
    types = _types_of(names, ask)
    columns = [
        f"run.{quoted(key)}" if key in RUN_COLUMNS else f"setting.{quoted(key)}"
        for key in keys
    ]
    of_runs = all_of([among("run_id", runs.run_ids)] if runs.run_ids is not None else [])
    joins: list[Question] = []
    if len(names) < len(keys):
        text = f"LEFT JOIN (FROM runs WHERE {of_runs.text}) AS run USING (run_id)"
        joins.append(replace(of_runs, text=text))
    if names:
        joins.append(_settings(names, types, of_runs))
    return columns, joined(joins, " ")


def _settings(
    names: Sequence[str], types: Mapping[str, tuple[str, str]], of_runs: Question
) -> Question:
    """Join parameters as columns; a run that lacks one has nothing there."""
    picks = ", ".join(
        f"CAST(max({types[name][0]}) FILTER (name = ?) AS {types[name][1]}) "
        f"AS {quoted(name)}"
        for name in names
    )
    these = all_of([among("name", names), of_runs])
    text = f"SELECT run_id, {picks} FROM parameters WHERE {these.text} GROUP BY run_id"  # noqa: S608  # quoted
    return Question(
        text=f"LEFT JOIN ({text}) AS setting USING (run_id)",
        values=(*names, *these.values),
    )


def _types_of(names: Sequence[str], ask: Ask) -> dict[str, tuple[str, str]]:
    """Say for each parameter which column holds it, and as what type it is given."""
    if not names:
        return {}
    marks = ", ".join("?" for _ in names)
    rows = ask(
        "SELECT name, bool_and(value IN ('true', 'false')) AS is_flag, "  # noqa: S608  # marks only
        "bool_and(number IS NOT NULL) AS is_number, "
        "bool_and(isfinite(number) AND number = trunc(number)) AS is_whole "
        f"FROM parameters WHERE name IN ({marks}) GROUP BY name",
        names,
    )
    found = {row["name"]: _type_of(row) for row in rows}
    require_known([n for n in names if n not in found and n not in USUAL_KEYS], ask)
    return {name: found.get(name, ("value", "VARCHAR")) for name in names}


def _type_of(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["is_flag"]:
        return "value", "BOOLEAN"
    if not row["is_number"]:
        return "value", "VARCHAR"
    return "number", "BIGINT" if row["is_whole"] else "DOUBLE"
