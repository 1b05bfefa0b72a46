"""One number for each run: at a round, at its end, or at its best."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import reals
from flip_lab.core.goals import Goal

At: TypeAlias = Literal["final", "best"] | int
"""Where a run is read: at its last recorded round, its best one, or this round."""

SCORE_COLUMNS = ("group", "run_id", "seed", "server_round", "value", "outcome")


def score_runs(
    curves: pd.DataFrame, runs: pd.DataFrame, *, at: At, goal: Goal
) -> pd.DataFrame:
    """Read each run's curve at one place. Nothing is carried forward or interpolated.

    Args:
        curves: ``run_id``, ``server_round``, ``value``; in the order of rounds.
        runs: ``group``, ``run_id``, ``seed``; one row a run.
        at: ``"final"``: each run's own last recorded round, whatever its value there;
            ``"best"``: the best finite value, the earliest of equals; or a round.
        goal: What best means.

    Returns:
        ``group``, ``run_id``, ``seed``, ``server_round``, ``value``, ``outcome``; one row
        a run. ``outcome`` is *value*; *diverged* (NaN or infinite there); or *missing*
        (nothing was recorded at that round). ``value`` is NaN unless it is *value*.
    """
    points = {
        str(run_id): (
            group["server_round"].to_numpy(dtype=np.int64),
            reals(group, "value"),
        )
        for run_id, group in curves.groupby("run_id", sort=False)
    }
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    place: At = at if isinstance(at, str) else int(at)  # numpy integers are no int
    read = [
        _read(*points.get(str(run_id), nothing), at=place, goal=goal)
        for run_id in runs["run_id"]
    ]
    return runs[["group", "run_id", "seed"]].assign(
        server_round=pd.array([where for where, _, _ in read], dtype="Int64"),
        value=np.array([value for _, value, _ in read], dtype=np.float64),
        outcome=[outcome for _, _, outcome in read],
    )


def _read(
    rounds: np.ndarray, values: np.ndarray, *, at: At, goal: Goal
) -> tuple[int | None, float, str]:
    finite = np.isfinite(values)
    if isinstance(at, int):
        here = np.flatnonzero(rounds == at)
        if not here.size:
            return at, float("nan"), "missing"
        position = int(here[-1])
    elif not rounds.size:
        return None, float("nan"), "missing"
    elif at == "final" or not finite.any():
        position = int(rounds.size - 1)
    else:
        worst = -np.inf if goal == "max" else np.inf
        usable = np.where(finite, values, worst)
        position = int(usable.argmax() if goal == "max" else usable.argmin())
    if not finite[position]:
        return int(rounds[position]), float("nan"), "diverged"
    return int(rounds[position]), float(values[position]), "value"
