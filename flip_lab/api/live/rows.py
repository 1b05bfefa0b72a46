"""A row of the list of runs, ready for JSON, from the tables or from a ``run.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from flip_lab.boards.comparer.catalogue import USUAL_METRIC
from flip_lab.core.clock import at_utc
from flip_lab.core.state import RunState
from flip_lab.store import query
from flip_lab.store.audit import Labels
from flip_lab.store.layout import LabDir


class Headline(TypedDict):
    """A run's most telling metric.

    ``name``: the metric. ``value``: its newest value; one that JSON has no number for is
    the text ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``.
    """

    name: str
    value: float | str


class RunRow(TypedDict):
    """What a list shows of a run; the columns of the table ``runs``, and two more.

    Times are ISO 8601 in UTC with six decimals, so that texts sort as times do.
    ``headline``: its most telling metric; ``None`` before the first. ``fraction``: share of
    its work that is done, 0 to 1; ``None`` while unknown.
    """

    run_id: str
    name: str
    kind: str
    experiment: str
    sweep: str | None
    tags: list[str]
    note: str
    is_archived: bool
    state: str
    engine: str
    federation: str | None
    seed: int
    num_rounds: int | None
    rounds_done: int
    num_nodes: int
    created_at: str | None
    started_at: str | None
    ended_at: str | None
    parent_run_id: str | None
    forked_at_round: int | None
    error_code: str | None
    error: str | None
    headline: Headline | None
    fraction: float | None


_COLUMNS = tuple(
    name for name in RunRow.__annotations__ if name not in {"headline", "fraction"}
)
_MOMENTS = ("created_at", "started_at", "ended_at")
_SCOPES = ("server", "federated", "central")  # as the comparer prefers them
_QUESTION = f"""
    WITH telling AS (
        SELECT run_id, arg_min(
            {{'name': name, 'value': last}},
            {{'is_other': name <> $usual, 'phase': phase,
              'scope': coalesce(list_position($scopes, scope), 0), 'name': name}}
        ) AS headline
        FROM run_metrics GROUP BY run_id
    )
    SELECT {", ".join(_COLUMNS)}, headline
    FROM runs LEFT JOIN telling USING (run_id)
    WHERE $run_ids IS NULL OR run_id IN (SELECT unnest($run_ids::VARCHAR[]))
"""  # noqa: S608  # our own names only


def rows_in_tables(lab: LabDir, run_ids: Iterable[str] | None = None) -> list[RunRow]:
    """Read rows from the store's tables: one question, however many they are.

    Args:
        lab: The lab.
        run_ids: Which runs; ``None`` for all. Unknown and deleted ones have no row.

    Raises:
        StoreError: If the lab cannot be read.
    """
    values = {
        "usual": USUAL_METRIC,
        "scopes": list(_SCOPES),
        "run_ids": None if run_ids is None else list(run_ids),
    }
    return [_row(found) for found in query.sql(lab, _QUESTION, values, as_="rows")]


def _row(found: Mapping[str, Any]) -> RunRow:
    headline = found["headline"]
    told = {name: found[name] for name in _COLUMNS}
    told |= {name: moment_text(found[name]) for name in _MOMENTS}
    return RunRow(
        **told,
        headline=None if headline is None else told_metric(**headline),
        fraction=_fraction(found["state"], found["rounds_done"], found["num_rounds"]),
    )


def row_of_spec(spec: Mapping[str, Any], labels: Labels) -> RunRow:
    """Give the row of a run that nothing has happened to yet.

    Args:
        spec: The content of its ``run.json``.
        labels: What people have said about it.
    """
    name, created_s = str(spec.get("name", "")), spec.get("created_s")
    return RunRow(
        run_id=spec["run_id"],
        name=name,
        kind=str(spec.get("kind", "")),
        experiment=spec.get("experiment") or name,
        sweep=spec.get("sweep"),
        tags=list(labels.tags),
        note=labels.note,
        is_archived=labels.is_archived,
        state=RunState.PENDING.value,
        engine=str(spec.get("engine", "")),
        federation=spec.get("federation"),
        seed=int(spec.get("seed", 0)),
        num_rounds=spec.get("num_rounds"),
        rounds_done=0,
        num_nodes=int(spec.get("num_nodes", 0)),
        created_at=second_text(created_s) if isinstance(created_s, int | float) else None,
        started_at=None,
        ended_at=None,
        parent_run_id=spec.get("parent_run_id"),
        forked_at_round=spec.get("forked_at_round"),
        error_code=None,
        error=None,
        headline=None,
        fraction=_fraction(RunState.PENDING, 0, spec.get("num_rounds")),
    )


def told_metric(name: str, value: float) -> Headline:
    """Give a metric's newest value as JSON can hold it."""
    if math.isfinite(value):
        return Headline(name=name, value=value)
    odd = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return Headline(name=name, value=odd)


def telling_first(phase: str, scope: str, name: str) -> tuple[bool, str, int, str]:
    """Give what to sort a run's metrics by, so that the most telling one comes first."""
    place = _SCOPES.index(scope) + 1 if scope in _SCOPES else 0
    return name != USUAL_METRIC, phase, place, name


def second_text(time_s: float) -> str:
    """Write seconds since the Unix epoch as rows hold times, rounded as the tables do."""
    return _text(at_utc(0.0) + timedelta(microseconds=round(time_s * 1e6)))


def moment_text(moment: datetime | None) -> str | None:
    """Write an aware UTC time as rows hold times; ``None`` stays."""
    return None if moment is None else _text(moment)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _fraction(state: str, rounds_done: int, num_rounds: int | None) -> float | None:
    if state == RunState.COMPLETED:
        return 1.0
    return round(min(1.0, rounds_done / num_rounds), 4) if num_rounds else None
