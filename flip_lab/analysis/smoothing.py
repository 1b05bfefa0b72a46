"""Smooth curves for the eye, without ever reaching across a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.inputs import require_choice, require_columns
from flip_lab.core.errors import AnalysisError


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """How to smooth a curve.

    Attributes:
        kind: ``"ema"``: exponential moving average of the past, which lags;
            ``"centred"``: mean of as many points before as after, which sees the future.
        span: Points it looks at, from 1. The average weighs the newest with
            2 / (span + 1), without bias at the start; a centred window holds ``span``
            points, at the ends of a stretch those that exist.
    """

    kind: Literal["ema", "centred"] = "ema"
    span: int = 5

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            AnalysisError: If there is no such kind, or the span is below 1.
        """
        require_choice(self.kind, ("ema", "centred"), name="kind")
        if self.span < 1:
            raise AnalysisError(
                f"span = {self.span} is no number of points.", fix="Pass 1 or more."
            )


def smooth(curves: pd.DataFrame, smoothing: Smoothing) -> pd.DataFrame:
    """Smooth each run's curve.

    A stretch ends where a value is NaN or infinite and where rounds are missing: where the
    step to the next recorded round is larger than the run's usual (median) one. Each
    stretch is smoothed by itself. Values that are not finite stay as they are.

    Args:
        curves: ``run_id``, ``server_round``, ``value``, and any other columns.
        smoothing: How.

    Returns:
        The same rows in the same order, newly numbered, with ``value`` smoothed.

    Raises:
        AnalysisError: If a column is missing.
    """
    require_columns(curves, ("run_id", "server_round", "value"), what="curves")
    ordered = curves.reset_index(drop=True)
    ordered = ordered.sort_values(["run_id", "server_round"], kind="stable")
    values = reals(ordered, "value").copy()
    rounds = ordered["server_round"].to_numpy(dtype=np.int64)
    for where in ordered.groupby("run_id", sort=False).indices.values():
        for stretch in stretches(rounds[where], values[where]):
            inside = where[stretch]
            values[inside] = _smoothed(values[inside], smoothing)
    return ordered.assign(value=values).sort_index()


def stretches(rounds: npt.NDArray[np.int64], values: Reals) -> list[slice]:
    """Cut one curve where it has gaps.

    Args:
        rounds: Recorded rounds, rising.
        values: As many values.

    Returns:
        Slices of finite values without a missing round, in order; none is empty.
    """
    if not rounds.size:
        return []
    steps = np.diff(rounds)
    usual = np.median(steps) if steps.size else 1
    finite = np.isfinite(values)
    joined = finite[1:] & finite[:-1] & (steps <= usual)
    starts = np.flatnonzero(finite & np.concatenate([[True], ~joined]))
    stops = np.flatnonzero(finite & np.concatenate([~joined, [True]])) + 1
    return [slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _smoothed(values: Reals, smoothing: Smoothing) -> Reals:
    series = pd.Series(values)
    if smoothing.kind == "ema":
        return series.ewm(span=smoothing.span, adjust=True).mean().to_numpy(np.float64)
    window = series.rolling(smoothing.span, center=True, min_periods=1)
    return window.mean().to_numpy(np.float64)
