"""How long runs take to reach a value, with those that never do counted as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.analysis.columns import Reals, by_group, reals
from flip_lab.analysis.costs import COST_COLUMNS
from flip_lab.analysis.inputs import require_choice, require_columns
from flip_lab.analysis.scientific import log_rank, survival
from flip_lab.core.errors import AnalysisError
from flip_lab.core.goals import Goal

Unit: TypeAlias = Literal["rounds", "seconds", "bytes", "epsilon"]
"""What it is counted in."""

UNITS: dict[str, str] = {
    "rounds": "server_round",
    "seconds": "seconds",
    "bytes": "bytes",
    "epsilon": "epsilon",
}
SUMMARY_COLUMNS = (
    "group",
    "num_runs",
    "num_reached",
    "median",
    "restricted_mean",
    "horizon",
    "note",
)
_ROUNDING = 1e-9  # the estimate is a product of fractions: 1/2 may come as 0.4999999999


class LogRank(NamedTuple):
    """A log-rank test of whether groups reach the target equally fast.

    Attributes:
        chi_square: The statistic; None where no test can be made.
        p_value: Of k - 1 degrees of freedom; None likewise.
        note: Why there is none; empty if there is one.
    """

    chi_square: float | None
    p_value: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeToTarget:
    """When each run reached a value.

    A run that never did is right-censored at its last recorded round: it took longer than
    that, nobody knows how long. Means over the runs that made it would praise a group for
    losing its slow ones; Kaplan and Meier's estimate does not. It assumes that a run's end
    says nothing of when it would have arrived: true of a fixed ``num_rounds``, not of runs
    that were stopped because they went badly.

    Attributes:
        target: The value.
        goal: ``"max"``: reached at or above it; ``"min"``: at or below.
        hold: Recorded values in a row that had to reach it.
        runs: ``group``, ``run_id``, ``seed``, ``is_reached``, ``server_round``,
            ``seconds``, ``bytes``, ``epsilon``; one row a run, at the round that reached
            the target or, if none did, at its last. NaN where a cost is not known.
    """

    target: float
    goal: Goal
    hold: int
    runs: pd.DataFrame

    def summary(
        self, unit: Unit = "rounds", *, horizon: float | None = None
    ) -> pd.DataFrame:
        """Summarise each group.

        Args:
            unit: What to count.
            horizon: Where the restricted mean ends; by default the last point up to which
                every group is known.

        Returns:
            ``group``, ``num_runs`` (of known cost), ``num_reached``, ``median`` (the first
            point by which half have arrived; NaN if they never do), ``restricted_mean``
            (the mean of the time or the horizon, whichever is less: the area under the
            Kaplan–Meier estimate; Royston & Parmar, 2013), ``horizon``, ``note``.

        Raises:
            AnalysisError: If there is no such unit.
        """
        known = self._known(unit)
        end = _horizon(known) if horizon is None else horizon
        rows = [
            {
                "group": label,
                **_summary(times, reached, horizon=end),
                "note": _note(self.runs, label, times, reached),
            }
            for label, (times, reached) in known.items()
        ]
        frame = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
        reals = ("median", "restricted_mean", "horizon")
        return frame.assign(**{name: frame[name].astype(np.float64) for name in reals})

    def arrivals(self, unit: Unit = "rounds") -> pd.DataFrame:
        """Give the share of each group that has arrived, as steps to draw.

        Args:
            unit: What to count.

        Returns:
            ``group``, ``at``, ``share`` (1 - Kaplan–Meier, from 0 to 1): the share from
            this point on. Each group starts with 0 at 0 and ends at its last known point.

        Raises:
            AnalysisError: If there is no such unit.
        """
        pieces = [
            pd.DataFrame({"group": label, "at": at, "share": 1 - left})
            for label, (times, reached) in self._known(unit).items()
            for at, left in [_steps(times, reached)]
        ]
        if not pieces:
            return pd.DataFrame({"group": [], "at": [], "share": []})
        return pd.concat(pieces, ignore_index=True)

    def log_rank(self, unit: Unit = "rounds") -> LogRank:
        """Test whether all groups reach the target equally fast.

        Args:
            unit: What to count.

        Returns:
            The log-rank test (Mantel, 1966). It is asymptotic: below about five arrivals
            a group, read it as a hint.

        Raises:
            AnalysisError: If there is no such unit.
        """
        known = {label: held for label, held in self._known(unit).items() if held[0].size}
        if len(known) < 2:  # noqa: PLR2004  # a test compares groups
            return LogRank(None, None, "fewer than two groups")
        times = np.concatenate([held[0] for held in known.values()])
        reached = np.concatenate([held[1] for held in known.values()])
        labels = [label for label, held in known.items() for _ in held[0]]
        chi_square, p_value = log_rank(times, reached, labels)
        note = "" if p_value is not None else "too few arrivals to compare"
        return LogRank(chi_square, p_value, note)

    def _known(self, unit: Unit) -> dict[str, tuple[Reals, npt.NDArray[np.bool_]]]:
        require_choice(unit, UNITS, name="unit")
        known: dict[str, tuple[Reals, npt.NDArray[np.bool_]]] = {}
        for label, rows in by_group(self.runs).items():
            times = reals(rows, UNITS[unit])
            there = np.isfinite(times)
            reached = rows["is_reached"].to_numpy(dtype=np.bool_)
            known[label] = times[there], reached[there]
        return known


def rounds_to_target(
    curves: pd.DataFrame,
    *,
    target: float,
    goal: Goal,
    costs: pd.DataFrame | None = None,
    hold: int = 1,
) -> TimeToTarget:
    """Say when each run first reached a value.

    Only recorded rounds count: a run evaluated every fifth round arrives at a multiple of
    five. NaN and the infinities reach no target.

    Args:
        curves: ``group``, ``run_id``, ``seed``, ``server_round``, ``value``.
        target: The value to reach; finite.
        goal: ``"max"`` or ``"min"``.
        costs: As :func:`cumulative_costs` makes them; None leaves them unknown.
        hold: Recorded values in a row that must reach it, from 1; the first of them counts.
            More than 1 does not take a lucky spike for an arrival.

    Returns:
        When each run arrived, or until when it had not.

    Raises:
        AnalysisError: If a column is missing, or an argument is out of range.
    """
    require_columns(
        curves, ("group", "run_id", "seed", "server_round", "value"), what="curves"
    )
    require_choice(goal, ("max", "min"), name="goal")
    if not np.isfinite(target) or hold < 1:
        raise AnalysisError(
            f"target = {target!r} with hold = {hold!r} can never be reached.",
            fix="Pass a finite target, and hold=1 or more.",
        )
    ordered = curves.sort_values(["run_id", "server_round"], kind="stable")
    place = {label: at for at, label in enumerate(by_group(curves))}
    rows = [
        _arrival(rows, target=target, goal=goal, hold=hold)
        for _, rows in ordered.groupby("run_id", sort=False)
    ]
    rows.sort(
        key=lambda row: (place[str(row["group"])], str(row["seed"]), str(row["run_id"]))
    )
    columns = ["group", "run_id", "seed", "is_reached", "server_round"]
    runs = pd.DataFrame(rows, columns=columns)
    return TimeToTarget(target=target, goal=goal, hold=hold, runs=_priced(runs, costs))


def _arrival(
    rows: pd.DataFrame, *, target: float, goal: Goal, hold: int
) -> dict[str, object]:
    values = reals(rows, "value")
    good = (values >= target) if goal == "max" else (values <= target)
    good &= np.isfinite(values)
    held = good.copy()
    for later in range(1, hold):
        held &= np.concatenate([good[later:], np.zeros(min(later, good.size), np.bool_)])
    arrived = bool(held.any())
    at = int(held.argmax()) if arrived else len(values) - 1
    first = rows.iloc[at]
    return {
        "group": first["group"],
        "run_id": first["run_id"],
        "seed": first["seed"],
        "is_reached": arrived,
        "server_round": int(first["server_round"]),
    }


def _priced(runs: pd.DataFrame, costs: pd.DataFrame | None) -> pd.DataFrame:
    names = ("seconds", "bytes", "epsilon")
    if costs is None or costs.empty:
        return runs.assign(**dict.fromkeys(names, np.nan))
    require_columns(costs, COST_COLUMNS, what="costs")
    one = costs.drop_duplicates(["run_id", "server_round"])[list(COST_COLUMNS)]
    joined = runs.merge(one, on=["run_id", "server_round"], how="left")
    return joined.assign(**{name: joined[name].astype(np.float64) for name in names})


def _steps(times: Reals, reached: npt.NDArray[np.bool_]) -> tuple[Reals, Reals]:
    """Give where the share of those still on the way changes, from all of them at 0."""
    if not times.size:
        return np.zeros(1), np.ones(1)
    at, left = survival(times, reached)
    end = float(times.max())
    at = np.concatenate([[0.0], at])
    left = np.clip(np.concatenate([[1.0], left]), 0.0, 1.0)
    if end > at[-1]:
        at, left = np.append(at, end), np.append(left, left[-1])
    return at, left


def _horizon(known: dict[str, tuple[Reals, npt.NDArray[np.bool_]]]) -> float:
    """Give the last point up to which every group's estimate is known.

    One whose last run arrived is known for ever: nobody of it is on the way.
    """
    ends = [times.max() for times, _ in known.values() if times.size]
    open_ends = [
        times.max()
        for times, reached in known.values()
        if times.size and not reached[times == times.max()].all()
    ]
    return float(min(open_ends, default=max(ends, default=np.nan)))


def _summary(
    times: Reals, reached: npt.NDArray[np.bool_], *, horizon: float
) -> dict[str, object]:
    if not times.size:
        return {"num_runs": 0, "num_reached": 0, "horizon": horizon}
    at, left = _steps(times, reached)
    half = np.flatnonzero(left <= 0.5 + _ROUNDING)
    cut = np.clip(at, None, horizon)
    # the area under the steps, which go on at their last height up to the horizon
    area = float((left * np.diff(np.append(cut, max(horizon, float(cut[-1]))))).sum())
    return {
        "num_runs": int(times.size),
        "num_reached": int(reached.sum()),
        "median": float(at[half[0]]) if half.size else None,
        "restricted_mean": area,
        "horizon": horizon,
    }


def _note(
    runs: pd.DataFrame, label: str, times: Reals, reached: npt.NDArray[np.bool_]
) -> str:
    unknown = int((runs["group"] == label).sum()) - times.size
    last = times.size and not reached.all() and not reached.any()
    words = (
        f"{unknown} run(s) of unknown cost" if unknown else "",
        "no run reached it" if last else "",
    )
    return "; ".join(filter(None, words))
