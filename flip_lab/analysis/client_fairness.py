"""How evenly a metric is spread over clients."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from flip_lab.analysis.client_rows import rows_of
from flip_lab.analysis.columns import Reals, by_group, reals
from flip_lab.analysis.estimates import estimate
from flip_lab.analysis.inputs import require_choice, require_columns, require_share
from flip_lab.analysis.scientific import quiet
from flip_lab.core.errors import AnalysisError
from flip_lab.core.goals import Goal, goal_of

AtRound: TypeAlias = int | Literal["last", "all"]
"""Rounds to look at: one, each run's last recorded, or every one."""

INDICES: Mapping[str, str] = MappingProxyType(
    {
        "mean": "Mean over clients, each counting once.",
        "weighted_mean": "Mean weighted by num_examples.",
        "worst_decile": "Mean of the worst 10 % of clients, at least one (Li et al. 2020).",
        "best_decile": "Mean of the best 10 % of clients, at least one.",
        "variance": "Mean squared distance from the mean (over n, not n - 1).",
        "std": "Square root of the variance.",
        "gap": "Largest minus smallest value.",
        "jain": "Jain's index (Σx)² / (n Σx²): 1 when equal, 1/n when one has all.",
        "gini": "Gini's coefficient Σᵢⱼ|xᵢ - xⱼ| / (2 n² mean): 0 when equal.",
        "entropy": "Entropy of shares x / Σx, over ln n: 1 when equal, 0 when one has all.",
    }
)
"""What each index says. Jain, Gini and entropy are of values that are not negative and not
all zero, and NaN otherwise; entropy needs two clients."""


def fairness(
    client_metrics: pd.DataFrame,
    name: str,
    *,
    at_round: AtRound = "last",
    phase: str | None = None,
    goal: Goal | None = None,
) -> pd.DataFrame:
    """Give indices of fairness over the clients of a round.

    Clients with a NaN or infinite value are counted in ``num_diverged`` and are in no
    index: a strategy that diverges for its weakest clients looks fair without that count.
    Where only a cohort is evaluated, this is fairness over the cohort.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of any runs.
        name: The metric.
        at_round: One round, ``"last"`` or ``"all"``.
        phase: Its phase; by default evaluate where it was recorded there.
        goal: Which end is worst: ``"max"`` the low one; by default guessed from the name.

    Returns:
        ``run_id``, ``server_round``, ``num_clients``, ``num_diverged``, and the columns of
        ``INDICES``; one row a run and round.

    Raises:
        AnalysisError: If a column, the metric or the phase is unknown, or no run has the
            round.
    """
    rows = rows_of(client_metrics, name, phase=phase)
    aim = goal or goal_of(name)
    require_choice(aim, ("max", "min"), name="goal")
    if at_round == "last":
        last = rows.groupby("run_id")["server_round"].transform("max")
        rows = rows[rows["server_round"] == last]
    elif at_round != "all":
        rows = rows[rows["server_round"] == at_round]
    if rows.empty:
        raise AnalysisError(
            f"No client reported {name!r} in round {at_round!r}.",
            fix='Pass a recorded round, or at_round="last".',
        )
    found = [
        {"run_id": run_id, "server_round": server_round, **_indices(group, goal=aim)}
        for (run_id, server_round), group in rows.groupby(["run_id", "server_round"])
    ]
    return pd.DataFrame(found)


def fairness_of_groups(
    indices: pd.DataFrame, runs: pd.DataFrame, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Average indices of fairness over the seeds of each group.

    Args:
        indices: As :func:`fairness` makes them.
        runs: ``group``, ``run_id``: a comparison's ``runs``. Other runs are ignored.
        confidence: Of the Student interval over seeds.

    Returns:
        ``group``, ``server_round`` (missing where the runs' rounds differ, as their last
        ones may), ``index``, ``centre``, ``low``, ``high``, ``num_seeds``, ``note``; in
        long form, in the order of groups.

    Raises:
        AnalysisError: If a column is missing, or ``confidence`` is out of range.
    """
    require_columns(indices, ("run_id", "server_round", *INDICES), what="indices")
    require_columns(runs, ("group", "run_id"), what="runs")
    require_share(confidence, name="confidence")
    joined = indices.merge(runs[["group", "run_id"]], on="run_id", how="inner")
    # one row a run: rounds are told apart only where a run has several
    several = bool(joined.duplicated("run_id").any())
    keys = ["group", "server_round"] if several else ["group"]
    place = {label: at for at, label in enumerate(by_group(runs))}
    rows: list[dict[str, object]] = []
    for _, group in joined.groupby(keys, sort=True):
        rounds = group["server_round"].unique()
        for index in INDICES:
            found = estimate(reals(group, index), confidence=confidence)
            rows.append(
                {
                    "group": str(group["group"].iloc[0]),
                    "server_round": int(rounds[0]) if len(rounds) == 1 else None,
                    "index": index,
                    "centre": found.centre,
                    "low": found.low,
                    "high": found.high,
                    "num_seeds": found.num_seeds,
                    "note": found.note,
                }
            )
    rows.sort(key=lambda row: place[str(row["group"])])
    columns = ["group", "server_round", "index", "centre", "low", "high"]
    frame = pd.DataFrame(rows, columns=[*columns, "num_seeds", "note"])
    ends = {end: frame[end].astype(np.float64) for end in ("centre", "low", "high")}
    return frame.assign(**ends, server_round=frame["server_round"].astype("Int64"))


def _indices(group: pd.DataFrame, *, goal: Goal) -> dict[str, float]:
    values = reals(group, "value")
    finite = np.isfinite(values)
    counts = {"num_clients": len(values), "num_diverged": int((~finite).sum())}
    if not finite.any():
        return {**counts, **dict.fromkeys(INDICES, float("nan"))}
    # sorted, so that the order of rows does not show in the last bit of a sum
    order = np.lexsort([reals(group, "num_examples"), values])
    order = order[finite[order]]
    weights = reals(group, "num_examples")[order]
    with quiet():
        return {**counts, **_spread(values[order], weights, goal=goal)}


def _spread(rising: Reals, weights: Reals, *, goal: Goal) -> dict[str, float]:
    decile = ceil(rising.size / 10)
    low, high = float(rising[:decile].mean()), float(rising[-decile:].mean())
    usable = np.where(np.isfinite(weights) & (weights > 0), weights, 0.0)
    total = float(usable.sum())
    variance = float(rising.var())
    return {
        "mean": float(rising.mean()),
        "weighted_mean": float((rising * usable).sum()) / total if total else float("nan"),
        "worst_decile": low if goal == "max" else high,
        "best_decile": high if goal == "max" else low,
        "variance": variance,
        "std": float(np.sqrt(variance)),
        "gap": float(rising[-1] - rising[0]),
        **_shares(rising),
    }


def _shares(rising: Reals) -> dict[str, float]:
    """Give the indices that see values as shares of a whole."""
    if rising[0] < 0 or rising[-1] == 0:
        return dict.fromkeys(("jain", "gini", "entropy"), float("nan"))
    scaled = rising / rising[-1]  # all three ignore the scale; squares of 1e200 overflow
    number = scaled.size
    shares = scaled / scaled.sum()
    places = np.arange(1, number + 1, dtype=np.float64)
    positive = shares[shares > 0]
    entropy = -float((positive * np.log(positive)).sum())
    return {
        "jain": float(scaled.sum() ** 2 / (number * (scaled**2).sum())),
        # Σᵢⱼ|xᵢ - xⱼ| = 2 Σᵢ (2i - n - 1) x₍ᵢ₎ of rising values
        "gini": float(((2 * places - number - 1) * shares).sum() / number),
        "entropy": entropy / log(number) if number > 1 else float("nan"),
    }
