"""Which runs a comparison rests on, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flip_lab.analysis.grouping import Grouping, Value, values_under
from flip_lab.analysis.inputs import require_columns, require_metric
from flip_lab.core.errors import AnalysisError, nearest

METRIC_COLUMNS = ("run_id", "server_round", "phase", "scope", "name", "value")
_PHASES = ("evaluate", "train", "query")
_SCOPES = ("federated", "central", "server")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recorded:
    """The points of one metric.

    Attributes:
        phase: The phase they were recorded in.
        scope: Their scope.
        points: ``run_id``, ``server_round``, ``value``; one row a run and round.
        note: What else was recorded under the name; empty when nothing was.
    """

    phase: str
    scope: str
    points: pd.DataFrame
    note: str


def recorded(
    metrics: pd.DataFrame,
    metric: str,
    *,
    run_ids: Collection[str],
    phase: str | None = None,
    scope: str | None = None,
) -> Recorded:
    """Take the points of one metric from the table ``metrics``.

    Where the name was recorded in several phases or scopes, and the caller does not say
    which, the one that most runs have is taken: evaluate before train, federated before
    central. Of several points of one run and round, the last recorded counts.

    Args:
        metrics: Rows of the table ``metrics``.
        metric: The metric's name.
        run_ids: Runs to look at.
        phase: Phase to take, or None.
        scope: Scope to take, or None.

    Returns:
        The points, in the order of run and round.

    Raises:
        AnalysisError: If none of the runs recorded the metric, or not there.
    """
    require_columns(metrics, METRIC_COLUMNS, what="metrics")
    mine = metrics[metrics["run_id"].isin(list(run_ids))]
    require_metric(metric, (str(name) for name in mine["name"].unique()))
    rows = mine[mine["name"] == metric]
    places = _places(rows)
    fitting = [
        place for place in places if phase in {None, place[0]} and scope in {None, place[1]}
    ]
    if not fitting:
        raise AnalysisError(
            f"{metric!r} was not recorded with phase={phase!r}, scope={scope!r}.",
            fix=nearest(f"{phase}, {scope}", (", ".join(place) for place in places)),
        )
    chosen = fitting[0]
    rows = rows[(rows["phase"] == chosen[0]) & (rows["scope"] == chosen[1])]
    others = [" ".join(place) for place in fitting[1:]]
    note = f"{metric} is also recorded as {'; '.join(others)}; taken: {' '.join(chosen)}."
    return Recorded(
        phase=chosen[0], scope=chosen[1], points=_last(rows), note=note if others else ""
    )


def _places(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Give phases and scopes that hold the metric, best first."""
    runs: dict[tuple[str, str], set[str]] = {}
    for phase, scope, run_id in zip(
        rows["phase"].tolist(), rows["scope"].tolist(), rows["run_id"].tolist(), strict=True
    ):
        runs.setdefault((str(phase), str(scope)), set()).add(str(run_id))
    return sorted(
        runs,
        key=lambda place: (
            -len(runs[place]),
            _rank(_PHASES, place[0]),
            _rank(_SCOPES, place[1]),
            place,
        ),
    )


def _rank(order: tuple[str, ...], word: str) -> int:
    return order.index(word) if word in order else len(order)


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one point a run and round, whatever the order of the rows."""
    order = [
        "run_id",
        "server_round",
        *(["sequence"] if "sequence" in rows else []),
        "value",
    ]
    ordered = rows.sort_values(order, na_position="first", kind="stable")
    kept = ordered.drop_duplicates(["run_id", "server_round"], keep="last")
    points = kept[["run_id", "server_round", "value"]].reset_index(drop=True)
    return points.assign(
        server_round=points["server_round"].astype(np.int64),
        value=points["value"].astype(np.float64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One run that might be compared.

    Attributes:
        run_id: The run.
        state: Its state; empty if the frame has none.
        seed: Its seed; None if it has none.
        group: Label of its group.
        created: Key that orders runs by age.
        num_points: Points of the metric that it recorded.
        settings: What was configured, for telling duplicates of a seed apart.
    """

    run_id: str
    state: str
    seed: Value
    group: str
    created: str
    num_points: int
    settings: Mapping[str, str]


def candidates_of(
    runs: pd.DataFrame,
    parameters: pd.DataFrame | None,
    grouping: Grouping,
    points: pd.DataFrame,
    *,
    seed: str,
) -> list[Candidate]:
    """Gather what decides about each run, whatever columns the frame has.

    Args:
        runs: Rows of the table ``runs``; needs ``run_id``.
        parameters: Rows of the table ``parameters``, or None.
        grouping: Their groups.
        points: ``run_id`` of each recorded point of the metric.
        seed: Key of the replicate.

    Returns:
        One for each run.

    Raises:
        AnalysisError: If no run has the key ``seed``, unless it is the default one.
    """
    nothing: dict[str, Value] = dict.fromkeys(grouping.of_run)
    seeds = (
        nothing
        if seed == "seed" and seed not in runs.columns and parameters is None
        else values_under(seed, runs, parameters)
    )
    states, created = (
        values_under(key, runs, None) if key in runs.columns else nothing
        for key in ("state", "created_at")
    )
    counts = Counter(map(str, points["run_id"]))
    settings = _settings(parameters, seed=seed)
    return [
        Candidate(
            run_id=run_id,
            state=str(states[run_id] or ""),
            seed=seeds[run_id],
            group=group,
            created=str(created[run_id] or ""),
            num_points=counts[run_id],
            settings=settings.get(run_id, {}),
        )
        for run_id, group in grouping.of_run.items()
    ]


def _settings(
    parameters: pd.DataFrame | None, *, seed: str
) -> Mapping[str, Mapping[str, str]]:
    settings: dict[str, dict[str, str]] = {}
    if parameters is not None:
        for run_id, name, value in zip(
            parameters["run_id"].tolist(),
            parameters["name"].tolist(),
            parameters["value"].tolist(),
            strict=True,
        ):
            if name != seed:
                settings.setdefault(str(run_id), {})[str(name)] = str(value)
    return settings


def leave_out(
    candidates: Collection[Candidate], *, states: Collection[str]
) -> dict[str, str]:
    """Say which runs cannot be compared, and why.

    Left out are runs in another state, runs without a single point, and, where a group
    holds several runs of one seed, all but the newest: in FLIP Lab a run is a function of
    its configuration and seed, so another run of both is no further replicate.

    Args:
        candidates: All runs.
        states: States that count as finished.

    Returns:
        The reason, by ``run_id``.
    """
    reasons: dict[str, str] = {}
    newest: dict[tuple[str, Value], Candidate] = {}
    for run in sorted(candidates, key=lambda run: (run.created, run.run_id), reverse=True):
        if run.state and run.state not in states:
            reasons[run.run_id] = run.state
        elif not run.num_points:
            reasons[run.run_id] = "no point of the metric in this phase and scope"
        elif run.seed is not None and (run.group, run.seed) in newest:
            kept = newest[run.group, run.seed]
            reasons[run.run_id] = _again(run, kept)
        else:
            newest[run.group, run.seed] = run
    return reasons


def _again(run: Candidate, kept: Candidate) -> str:
    keys = sorted(
        key
        for key in run.settings.keys() | kept.settings.keys()
        if run.settings.get(key) != kept.settings.get(key)
    )
    advice = f"; they differ in {', '.join(keys[:3])}: add it to by=" if keys else ""
    return f"seed {run.seed} again, the newer {kept.run_id} counts{advice}"
