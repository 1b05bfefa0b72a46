"""How large a difference is, beside whether it is there."""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.scientific import quiet

_SAME = 1e-12  # relative spread below which numbers that were computed alike are equal


def are_equal(values: Reals, *, scale: float) -> bool:
    """Tell whether values differ by no more than rounding.

    Args:
        values: At least one.
        scale: Size of the numbers that they were computed from.
    """
    with quiet():
        return bool(np.ptp(values) <= _SAME * scale)


def cohen_d_z(differences: Reals) -> float | None:
    """Give Cohen's d_z = mean(d) / s(d) of paired differences (Cohen, 1988; Lakens, 2013).

    Args:
        differences: One per pair.

    Returns:
        The effect in standard deviations of the *difference*, so it grows with how well the
        pairs agree; None for fewer than two pairs or equal differences.
    """
    if differences.size < 2:  # noqa: PLR2004  # one has no spread
        return None
    with quiet():
        spread = float(differences.std(ddof=1))
        return _finite(float(differences.mean()), spread)


def hedges_g(first: Reals, second: Reals) -> float | None:
    """Give Hedges' g = J · (mean₁ - mean₂) / s_pooled (Hedges, 1981).

    J = Γ(m/2) / (√(m/2) · Γ((m-1)/2)) with m = n₁ + n₂ - 2 takes the small-sample bias away
    (at 5 against 5 it is 0.90).

    Args:
        first: Values of one group.
        second: Values of the other.

    Returns:
        The effect in standard deviations of the *values*, comparable whether or not the
        groups are paired; None without spread, or for fewer than two degrees of freedom.
    """
    degrees = first.size + second.size - 2
    if degrees < 2 or not (first.size and second.size):  # noqa: PLR2004  # J needs two
        return None
    with quiet():
        within = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
        pooled = float(np.sqrt(within / degrees))
        raw = _finite(float(first.mean() - second.mean()), pooled)
    unbias = exp(lgamma(degrees / 2) - lgamma((degrees - 1) / 2) - log(degrees / 2) / 2)
    return None if raw is None else unbias * raw


def cliffs_delta(first: Reals, second: Reals) -> float | None:
    """Give Cliff's delta = P(first > second) - P(first < second) (Cliff, 1993).

    Args:
        first: Values of one group.
        second: Values of the other.

    Returns:
        From -1 (every value of the first is smaller) to 1; None for an empty group.
    """
    if not (first.size and second.size):
        return None
    return float(np.sign(np.subtract.outer(first, second)).mean())


def _finite(numerator: float, denominator: float) -> float | None:
    if not denominator > 0:
        return None
    ratio = numerator / denominator
    return ratio if np.isfinite(ratio) else None
