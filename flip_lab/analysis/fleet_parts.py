"""Which part of a node's time is computing, and which is moving bytes.

From dispatch to reply is one number. Three things split it: a node that says how long it
worked itself; messages of clearly different size; and plain arithmetic: moving the bytes of
a training message cannot take longer than a message of a similar size took in all. What is
left open is given as bounds, and predictions carry them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.scientific import student_quantile
from flip_lab.core.fleet import PhaseProfile, Shares

_VARIES = 1.2  # ratio of the largest to the smallest from which sizes can tell something
_LEAST_ROWS = 6
_CONFIDENCE = 0.9
_REFITS = 3
_FAR = 4.0  # median absolute deviations


def with_parts(
    phases: Mapping[str, PhaseProfile], rows: pd.DataFrame
) -> dict[str, PhaseProfile]:
    """Bound the shares of computing and moving, for each phase of one node.

    Args:
        phases: Its profiles; their shares are not read.
        rows: Its messages, answered well: ``phase``, ``num_examples``, ``num_bytes``,
            ``own_s``, ``node_s``.
    """
    rate = _bounds_of_rate(phases, rows)
    return {
        phase: _with_shares(phase, profile, phases, rows, rate)
        for phase, profile in phases.items()
    }


def _with_shares(
    phase: str,
    profile: PhaseProfile,
    phases: Mapping[str, PhaseProfile],
    rows: pd.DataFrame,
    rate: Shares,
) -> PhaseProfile:
    median_s = profile.timing.median_s
    mine = rows[rows["phase"] == phase]
    compute = _reported(mine) or _seen_to_compute(mine, median_s)
    if compute is None:
        others = [_fits(other, profile) for other in phases.values()]
        compute = (max(0.0, 1 - min(others) / median_s), 1.0)
    moving = tuple(each * profile.num_bytes / median_s for each in rate)
    transfer = _clipped(moving[0], min(moving[1], 1 - compute[0]))
    return replace(
        profile,
        compute_share=_clipped(compute[0], min(compute[1], 1 - transfer[0])),
        transfer_share=transfer,
    )


def _fits(other: PhaseProfile, profile: PhaseProfile) -> float:
    """Bound what all but computing takes in one phase by all that another one takes."""
    if other.num_bytes <= 0:
        return float("inf")
    return other.timing.median_s * max(1.0, profile.num_bytes / other.num_bytes)


def _bounds_of_rate(phases: Mapping[str, PhaseProfile], rows: pd.DataFrame) -> Shares:
    """Bound the seconds that a byte takes, alike in all phases."""
    reported = rows["node_s"].notna().all()
    rest = rows["own_s"] - rows["node_s"] if reported else rows["own_s"]
    most = [
        float(rest[rows["phase"] == phase].median()) / profile.num_bytes
        for phase, profile in phases.items()
        if profile.num_bytes > 0
    ]
    high = max(min(most, default=0.0), 0.0)
    # without the node's own time, sizes of one phase only: phases also compute differently
    groups = [rows] if reported else [rows[rows["phase"] == phase] for phase in phases]
    for group in groups:
        seen = _slope(group, rest.loc[group.index], "num_bytes")
        if seen is not None:
            return _clipped(seen[0], min(seen[1], high), most=high)
    return 0.0, high


def _reported(rows: pd.DataFrame) -> Shares | None:
    """Read the share of computing off what the node said; ``None`` if it said nothing."""
    share = (rows["node_s"] / rows["own_s"]).to_numpy(dtype=np.float64)
    if not share.size or np.isnan(share).any():
        return None
    middle = float(np.median(share))
    error = 1.6 * float(np.median(np.abs(share - middle))) / np.sqrt(share.size)
    return _clipped(middle - error, middle + error)


def _seen_to_compute(rows: pd.DataFrame, median_s: float) -> Shares | None:
    """Read the share of computing off messages of one phase with different examples."""
    seen = _slope(rows, rows["own_s"], "num_examples")
    if seen is None:
        return None
    examples = float(rows["num_examples"].median())
    return _clipped(seen[0] * examples / median_s, seen[1] * examples / median_s)


def _slope(rows: pd.DataFrame, seconds: pd.Series, column: str) -> Shares | None:
    """Fit seconds to examples and bytes, as far as they vary; bounds of one slope.

    Returns:
        The ends of its confidence interval, which may be below 0; ``None`` if the column
        does not vary, or only together with the other one.
    """
    varying = [each for each in ("num_examples", "num_bytes") if _does_vary(rows, each)]
    if column not in varying or len(rows) < _LEAST_ROWS:
        return None
    columns = [reals(rows, each) for each in varying]
    design = np.column_stack([np.ones(len(rows)), *columns])
    scale = design.max(axis=0)
    design /= scale
    if np.linalg.matrix_rank(design, tol=1e-3) < design.shape[1]:
        return None
    at = 1 + varying.index(column)
    slope, error = _robust_slope(design, reals(rows.assign(y=seconds), "y"), at)
    reach = error * student_quantile(_CONFIDENCE, len(rows) - design.shape[1])
    return (slope - reach) / float(scale[at]), (slope + reach) / float(scale[at])


def _robust_slope(design: Reals, y: Reals, at: int) -> tuple[float, float]:
    """Give the coefficient of one column and its standard error; the design has full rank.

    Stragglers are pulled in: a mean of squares would follow them (Huber, 1964).
    """
    inverse = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    for _ in range(_REFITS):
        fitted: Reals = design @ (inverse @ y)
        y = fitted + _without_stragglers(y - fitted)
    rest: Reals = y - design @ (inverse @ y)
    variance = float(rest @ rest) / (y.size - design.shape[1])
    return float(inverse[at] @ y), float(np.sqrt(variance * (inverse[at] @ inverse[at])))


def _does_vary(rows: pd.DataFrame, column: str) -> bool:
    values = reals(rows, column)
    least = float(values.min(initial=np.inf))
    return bool(least > 0 and values.max(initial=0.0) >= _VARIES * least)


def _without_stragglers(rest: Reals) -> Reals:
    """Pull in what is far off the fit."""
    reach = _FAR * float(np.median(np.abs(rest - np.median(rest))))
    return np.clip(rest, -reach, reach) if reach else rest


def _clipped(low: float, high: float, *, most: float = 1.0) -> Shares:
    low = min(max(low, 0.0), most)
    return low, min(max(high, low), most)
