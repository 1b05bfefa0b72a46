"""A family of runs: forks, their parents, and what each changed against its parent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flip_lab.core.edits import EDITS
from flip_lab.core.goals import goal_of
from flip_lab.core.kinship import Link, kin_of
from flip_lab.runs.edits import edit_text
from flip_lab.store import query
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    import pandas as pd

USUAL_METRIC = "eval_accuracy"

_LINKS = "SELECT run_id, parent_run_id, forked_at_round FROM runs ORDER BY run_id"

_RUNS = """
    SELECT run_id, name, parent_run_id, forked_at_round, state, rounds_done, num_rounds
    FROM runs WHERE list_contains($ids, run_id)
"""

_SETTINGS = """
    SELECT run_id, name, value FROM parameters WHERE list_contains($ids, run_id)
    ORDER BY run_id, name
"""

_METRICS = """
    SELECT run_id, name, last, min, max FROM run_metrics
    WHERE list_contains($ids, run_id) ORDER BY run_id, name, phase, scope DESC
"""

_MARKS = """
    SELECT run_id, sequence, from_round AS server_round, command AS kind, body
    FROM commands WHERE list_contains($ids, run_id) AND NOT is_refused
        AND from_round IS NOT NULL
    UNION ALL
    SELECT run_id, sequence, coalesce((body->>'server_round')::INT, server_round),
        CASE WHEN (body->>'broke')::BOOLEAN THEN 'break' ELSE 'pause' END, body
    FROM events WHERE list_contains($ids, run_id) AND kind = 'state'
        AND (body->>'state') = 'paused'
    ORDER BY run_id, sequence
"""

_TWICE = {"num_rounds": "train.num_rounds", "num_nodes": "data.num_partitions"}
_COLUMNS = (
    "run_id",
    "name",
    "parent_run_id",
    "forked_at_round",
    "depth",
    "changed",
    "state",
    "rounds_done",
    "num_rounds",
    "metric",
    "best",
    "last",
    "num_edits",
    "marks",
)


def read_links(lab: LabDir) -> dict[str, Link | None]:
    """Give the parent of each run of a lab, and the round it was forked at, by run."""
    rows = query.sql(lab, _LINKS, as_="rows")
    known = {row["run_id"] for row in rows}
    return {
        row["run_id"]: (row["parent_run_id"], int(row["forked_at_round"] or 0))
        if row["parent_run_id"] in known
        else None
        for row in rows
    }


def family_frame(lab: LabDir, run_id: str, *, metric: str | None = None) -> pd.DataFrame:
    """Describe a run's family, see ``Lab.family``.

    Args:
        lab: The lab.
        run_id: Any run of the family.
        metric: Whose best and last value are given; ``None``: the evaluated accuracy, or
            else what most of the runs recorded.
    """
    import pandas as pd

    kin = dict(kin_of(read_links(lab), run_id))
    asked = {"ids": list(kin)}
    settings = _by_run(query.sql(lab, _SETTINGS, asked, as_="rows"))
    marks = _by_run(query.sql(lab, _MARKS, asked, as_="rows"))
    rows: dict[str, dict[str, Any]] = {}
    for run in query.sql(lab, _RUNS, asked, as_="rows"):
        each, parent = run["run_id"], settings.get(run["parent_run_id"] or "")
        own = _marks(marks.get(each, []), after=int(run["forked_at_round"] or 0))
        rows[each] = {
            **run,
            "depth": kin[each],
            "changed": changed_text(parent, settings[each]) if parent else "",
            "num_edits": sum(mark["kind"] == "edit" for mark in own),
            "marks": own,
        }
    _add_metric(rows, query.sql(lab, _METRICS, asked, as_="rows"), metric)
    frame = pd.DataFrame([rows[each] for each in kin], columns=list(_COLUMNS))
    return frame.astype({"forked_at_round": "Int64", "num_rounds": "Int64"})


def _add_metric(
    rows: Mapping[str, dict[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    metric: str | None,
) -> None:
    name = metric or _usual(metrics)
    values = {row["run_id"]: row for row in reversed(metrics) if row["name"] == name}
    better = goal_of(name) if name else "max"
    for run_id, row in rows.items():
        value = values.get(run_id, {})
        row |= {"metric": name, "best": value.get(better), "last": value.get("last")}


def changed_text(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> str:
    """Say in which settings one run differs from another.

    Args:
        before: Rows of ``parameters`` of the one.
        after: Those of the other.

    Returns:
        Such as ``train.learning_rate 0.05 → 0.01; seed 0 → 7``; empty for none.
    """
    old, new = ({row["name"]: row["value"] for row in each} for each in (before, after))
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    told = [name for name in names if _TWICE.get(name) not in {*old, *new}]
    return "; ".join(
        f"{name} {old.get(name, 'not set')} → {new.get(name, 'not set')}" for name in told
    )


def _by_run(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["run_id"], []).append(row)
    return found


def _usual(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    names = [row["name"] for row in metrics]
    if not names or USUAL_METRIC in names:
        return USUAL_METRIC if names else None
    return max(dict.fromkeys(names), key=names.count)


def _marks(rows: Iterable[Mapping[str, Any]], *, after: int) -> list[dict[str, Any]]:
    """Give what happened to a run itself, not to the rounds that it was forked from."""
    import orjson

    found: list[dict[str, Any]] = []
    for row in rows:
        body: dict[str, Any] = orjson.loads(row["body"])
        kind, server_round = str(row["kind"]), int(row["server_round"])
        if kind in EDITS:
            if server_round <= after:
                continue
            kind, text = "edit", edit_text(kind, body)
        else:
            text = str(body.get("because") or "")
        found.append({"kind": kind, "server_round": server_round, "text": text})
    return found
