"""Whose nodes the fleet view shows: those of one run, or of all runs on a federation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.core.errors import InvalidValueError, RunNotFoundError, nearest

MOST_RUNS = 500
"""Newest runs that are offered; others are shown by their handle."""

_RUNS = """
    SELECT run_id, name, state, federation, num_nodes FROM runs
    WHERE NOT is_archived OR run_id = $run ORDER BY created_at DESC, run_id DESC
"""

_EXCLUDED = """
    SELECT CAST(body->'excluded' AS VARCHAR) AS excluded FROM events
    WHERE run_id = ? AND kind = 'settings' ORDER BY sequence DESC LIMIT 1
"""

_METRICS = """
    WITH recent AS (
        SELECT phase, metrics, server_round,
            max(server_round) OVER (PARTITION BY run_id) AS last_round
        FROM clients WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
    )
    SELECT DISTINCT phase, unnest(map_keys(metrics)) AS name FROM recent
    WHERE server_round >= last_round - 1 ORDER BY phase, name
"""

_PHASES = """
    SELECT phase, count(*) AS num_replies FROM clients
    WHERE run_id IN (SELECT unnest($ids::VARCHAR[])) GROUP BY phase ORDER BY phase
"""

_USUAL = ("evaluate/eval_accuracy", "train/train_accuracy", "evaluate/eval_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The runs whose clients are looked at.

    Attributes:
        key: ``run:`` and an id, or ``federation:`` and its name.
        title: What it is, in words.
        run_ids: The runs, newest first.
        num_nodes: Nodes that there are at least; 0 where nobody knows.
        excluded: Partitions that are left out now, of one run.
        metrics: What clients reported lately, as ``phase/name``.
        phase: The phase whose durations count.
    """

    key: str
    title: str
    run_ids: tuple[str, ...]
    num_nodes: int
    excluded: frozenset[int]
    metrics: tuple[str, ...]
    phase: str

    @property
    def is_one_run(self) -> bool:
        """Whether these are the nodes of one run."""
        return self.key.startswith("run:")

    def metric(self, wanted: str) -> str:
        """Give the metric that is shown: the wanted one, or the usual one.

        Args:
            wanted: ``phase/name``, a name, or empty.

        Raises:
            InvalidValueError: If no client reported it lately.
        """
        if not wanted:
            usual = [each for each in _USUAL if each in self.metrics]
            return next(iter([*usual, *self.metrics]), "")
        found = [m for m in self.metrics if wanted in {m, m.partition("/")[2]}]
        if not found:
            fix = nearest(wanted, self.metrics) if self.metrics else "Leave it out."
            raise InvalidValueError(f"No client reported {wanted!r} lately.", fix=fix)
        return found[0]


def offered(lab: Readable, run_id: str = "") -> list[dict[str, Any]]:
    """List runs and federations that can be looked at.

    Args:
        lab: The lab.
        run_id: A run that is offered in any case.

    Returns:
        JSON-ready: ``key`` (see ``Scope``) and ``words``; runs come newest first, then
        federations.
    """
    runs = _runs(lab, run_id)
    kept = [run for at, run in enumerate(runs) if at < MOST_RUNS or run["run_id"] == run_id]
    federations = dict.fromkeys(r["federation"] for r in runs if _is_named(r["federation"]))
    return [
        {
            "key": f"run:{r['run_id']}",
            "words": f"{r['name']} · {r['run_id']} · {r['state']}",
        }
        for r in kept
    ] + [
        {"key": f"federation:{name}", "words": f"all runs on {name}"}
        for name in federations
    ]


def read_scope(lab: Readable, key: str) -> Scope:
    """Read what a choice stands for.

    Args:
        lab: The lab.
        key: See ``Scope``; empty: the newest run.

    Raises:
        RunNotFoundError: If there is no such run, or none on such a federation.
    """
    kind, _, name = key.partition(":")
    runs = _runs(lab, name if kind == "run" else "")
    column = {"run": "run_id", "federation": "federation"}.get(kind)
    found = runs[:1] if not key else [r for r in runs if column and r[column] == name]
    if not found and key:
        raise RunNotFoundError(f"There is nothing to see of {key!r}.", fix="Refresh.")
    ids = tuple(str(run["run_id"]) for run in found)
    is_one = kind != "federation"
    excluded = _excluded(lab, ids[0]) if is_one and ids else frozenset[int]()
    return Scope(
        key=key or (f"run:{ids[0]}" if ids else ""),
        title=_title(found, is_one=is_one),
        run_ids=ids,
        num_nodes=int(found[0]["num_nodes"] or 0) if is_one and found else 0,
        excluded=excluded,
        metrics=_metrics(lab, ids) if ids else (),
        phase=_phase(lab, ids) if ids else "train",
    )


def _runs(lab: Readable, run_id: str) -> list[dict[str, Any]]:
    return lab.sql(_RUNS, {"run": run_id}).to_dict("records")


def _title(runs: Sequence[dict[str, Any]], *, is_one: bool) -> str:
    if not runs:
        return "There are no runs here yet"
    if is_one:
        return f"{runs[0]['name']} · {runs[0]['run_id']} · {runs[0]['state']}"
    return f"{runs[0]['federation']} over {len(runs)} run{'s' * (len(runs) != 1)}"


def _excluded(lab: Readable, run_id: str) -> frozenset[int]:
    found = lab.sql(_EXCLUDED, [run_id]).to_dict("records")
    text = found[0]["excluded"] if found else None
    told: object = json.loads(text) if isinstance(text, str) else []
    return frozenset(int(each) for each in cast("list[int]", told or []))


def _metrics(lab: Readable, run_ids: Sequence[str]) -> tuple[str, ...]:
    rows = lab.sql(_METRICS, {"ids": [*run_ids]}).to_dict("records")
    return tuple(f"{row['phase']}/{row['name']}" for row in rows)


def _phase(lab: Readable, run_ids: Sequence[str]) -> str:
    rows = lab.sql(_PHASES, {"ids": [*run_ids]}).to_dict("records")
    phases = [str(row["phase"]) for row in rows]
    return "train" if "train" in phases or not phases else phases[0]


def _is_named(value: object) -> bool:
    return isinstance(value, str) and bool(value)
