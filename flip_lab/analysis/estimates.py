"""A centre and its interval from the values of a few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.inputs import require_choice, require_share
from flip_lab.analysis.scientific import bootstrap, quiet, student_quantile

BandKind: TypeAlias = Literal["student", "bootstrap", "quartiles"]
"""Which centre and interval: mean and t, mean and BCa bootstrap, median and quartiles."""

BAND_KINDS = ("student", "bootstrap", "quartiles")
_FEW = 8  # values below which bootstrap intervals cover visibly less than they promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A centre and its interval.

    Attributes:
        centre: Mean or median of the finite values; None if there is none.
        low: Lower end; None where no interval can be given.
        high: Upper end; None where no interval can be given.
        num_seeds: Finite values it rests on.
        num_lost: Values that are NaN or infinite (diverged or missing); in no centre.
        note: What a reader must know; empty if nothing.
    """

    centre: float | None
    low: float | None
    high: float | None
    num_seeds: int
    num_lost: int
    note: str


def estimate(
    values: Sequence[float] | npt.NDArray[np.float64],
    *,
    kind: BandKind = "student",
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a centre with an interval.

    - ``student``: mean ± t · s / √n, t of n - 1 degrees of freedom (Student, 1908). Right
      where the values are near normal; at n = 3 it is wide because it must be.
    - ``bootstrap``: mean with the BCa interval (Efron, 1987). No shape is assumed, but few
      values do not hold the tails: below 8 it is too narrow.
    - ``quartiles``: median with the 25 % and 75 % quantiles (linear, numpy's default). It
      describes the seeds; it is no interval of confidence.

    Args:
        values: One per seed, in any order; NaN and the infinities are counted, not used.
        kind: As above.
        confidence: Of the interval; quartiles do not use it.

    Returns:
        The estimate; without interval for one value, without centre for none.

    Raises:
        AnalysisError: If ``confidence`` is not between 0 and 1, or there is no such kind.
    """
    require_share(confidence, name="confidence")
    require_choice(kind, BAND_KINDS, name="kind")
    given = np.asarray(values, dtype=np.float64)
    # sorted: the order of seeds must not show in the last bit, nor in a bootstrap's draws
    finite = np.sort(given[np.isfinite(given)])
    with quiet():
        centre = float(np.median(finite) if kind == "quartiles" else finite.mean())
    ends, note = _interval(finite, kind=kind, confidence=confidence)
    lost = int(given.size - finite.size)
    said = f"{lost} of {given.size} without a finite value" if lost else ""
    return Estimate(
        centre=centre if np.isfinite(centre) else None,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        num_seeds=int(finite.size),
        num_lost=lost,
        note="; ".join(filter(None, (note, said))),
    )


def _interval(
    finite: Reals, *, kind: BandKind, confidence: float
) -> tuple[tuple[float, float] | None, str]:
    if finite.size == 0:
        return None, "no finite value"
    if finite.size == 1:
        return None, "one seed: no interval"
    if kind == "bootstrap":
        if np.ptp(finite) == 0:
            return (float(finite[0]), float(finite[0])), "all seeds agree"
        ends, method = bootstrap([finite], statistic="mean", confidence=confidence)
        few = "few seeds: too narrow" if finite.size < _FEW else ""
        fallback = "percentile instead of BCa" if method == "percentile" else ""
        return ends, "; ".join(filter(None, (few, fallback)))
    with quiet():
        if kind == "quartiles":
            low, high = (float(end) for end in np.quantile(finite, [0.25, 0.75]))
        else:
            spread = float(finite.std(ddof=1)) / float(np.sqrt(finite.size))
            reach = student_quantile(confidence, finite.size - 1) * spread
            low, high = float(finite.mean()) - reach, float(finite.mean()) + reach
    if not (np.isfinite(low) and np.isfinite(high)):
        return None, "values too large for an interval"
    return (low, high), ""
