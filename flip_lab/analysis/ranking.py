"""Rank groups, and say which ranks are no more than chance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import by_group, cells, reals
from flip_lab.analysis.estimates import Estimate, estimate
from flip_lab.analysis.inputs import require_choice, require_columns, require_share
from flip_lab.analysis.pair_test import PairTest, TestKind
from flip_lab.analysis.pairs import Correction, pairwise
from flip_lab.core.goals import Goal

BOARD_COLUMNS = (
    "rank",
    "is_tied",
    "group",
    "centre",
    "low",
    "high",
    "num_seeds",
    "num_diverged",
    "num_missing",
    "best_value",
    "best_run_id",
    "difference_to_leader",
    "p_to_leader",
    "note",
)


def leaderboard(
    scores: pd.DataFrame,
    *,
    goal: Goal,
    test: TestKind = "t",
    alpha: float = 0.05,
    correction: Correction = "holm",
) -> pd.DataFrame:
    """Rank groups by the mean over their seeds, ties with the leader marked.

    The leader is the group with the best mean. Every other group is tested against it, as
    :func:`pairwise` does with ``against``; one whose corrected p is not below alpha, or
    that cannot be tested, was not shown to be worse, and shares rank 1. The others have the
    rank of their mean, so ranks can skip. That the leader was chosen by the same numbers
    makes its lead look larger than it is: confirm a close race on fresh seeds.

    Args:
        scores: ``group``, ``run_id``, ``seed``, ``value``; one row a run. ``outcome``, if
            there, tells diverged from missing values.
        goal: ``"max"`` or ``"min"``.
        test: ``"t"`` or ``"rank"``.
        alpha: Accepted chance of a false claim; intervals are of 1 - alpha (Student).
        correction: Over the tests against the leader.

    Returns:
        ``rank`` (from 1, missing for a group without a finite value), ``is_tied`` (whether
        rank 1 is shared, on every row that shares it), ``group``, ``centre``, ``low``,
        ``high``, ``num_seeds``, ``num_diverged``, ``num_missing``, ``best_value``,
        ``best_run_id``, ``difference_to_leader`` (this minus the leader),
        ``p_to_leader`` (corrected), ``note``; best mean first.

    Raises:
        AnalysisError: If a column is missing, or an argument is out of range.
    """
    require_columns(scores, ("group", "run_id", "seed", "value"), what="scores")
    require_share(alpha, name="alpha")
    require_choice(goal, ("max", "min"), name="goal")
    groups = by_group(scores)
    found = {
        label: estimate(reals(rows, "value"), confidence=1 - alpha)
        for label, rows in groups.items()
    }
    order = _order(found, goal=goal)
    leader = order[0] if order and found[order[0]].centre is not None else None
    family = (
        pairwise(scores, test=test, alpha=alpha, correction=correction, against=leader)
        if leader is not None
        else None
    )
    to_leader = {each.second: each for each in family.tests} if family else {}
    rows = [
        _row(
            groups[label],
            label,
            found[label],
            test=to_leader.get(label),
            goal=goal,
            place=place,
        )
        for place, label in enumerate(order, 1)
    ]
    return _board(rows)


def _order(found: Mapping[str, Estimate], *, goal: Goal) -> list[str]:
    sign = -1.0 if goal == "max" else 1.0

    def key(label: str) -> tuple[bool, float, str]:
        centre = found[label].centre
        return centre is None, 0.0 if centre is None else sign * centre, label

    return sorted(found, key=key)


def _row(
    rows: pd.DataFrame,
    label: str,
    found: Estimate,
    *,
    test: PairTest | None,
    goal: Goal,
    place: int,
) -> dict[str, object]:
    num_lost = int((~np.isfinite(reals(rows, "value"))).sum())
    outcomes = cells(rows, "outcome") if "outcome" in rows else []
    num_missing = outcomes.count("missing")
    best = _best(rows, goal=goal)
    shares = found.centre is not None and not (test is not None and test.is_significant)
    return {
        "rank": None if found.centre is None else 1 if shares else place,
        "group": label,
        "centre": found.centre,
        "low": found.low,
        "high": found.high,
        "num_seeds": found.num_seeds,
        "num_diverged": num_lost - num_missing,
        "num_missing": num_missing,
        "best_value": best[0],
        "best_run_id": best[1],
        "difference_to_leader": -test.difference
        if test is not None and test.difference is not None
        else None,
        "p_to_leader": None if test is None else test.p_corrected,
        "note": "; ".join(filter(None, (_own_note(found), test.note if test else ""))),
    }


def _own_note(found: Estimate) -> str:
    return "" if found.num_lost and found.low is not None else found.note


def _best(rows: pd.DataFrame, *, goal: Goal) -> tuple[float | None, str | None]:
    sign = -1.0 if goal == "max" else 1.0
    usable = [
        (sign * value, str(run_id))
        for value, run_id in zip(reals(rows, "value"), cells(rows, "run_id"), strict=True)
        if np.isfinite(value)
    ]
    if not usable:
        return None, None
    best, run_id = min(usable)
    return float(sign * best), run_id


def _board(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(BOARD_COLUMNS))
    first = frame["rank"] == 1
    reals = (
        "centre",
        "low",
        "high",
        "best_value",
        "difference_to_leader",
        "p_to_leader",
    )
    return frame.assign(
        **{name: frame[name].astype(np.float64) for name in reals},
        rank=frame["rank"].astype("Int64"),
        is_tied=first & (int(first.sum()) > 1),
    )
