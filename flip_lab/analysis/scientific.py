"""The one door to scipy and statsmodels: typed, loaded on first use, and quiet.

Both libraries are untyped and slow to import. They also warn about degenerate samples, such
as three equal values. Callers here check what comes back instead: a result that is not
finite is given as None, and the caller's note says why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import Reals

Statistic: TypeAlias = Literal["mean", "median"]
Bounds: TypeAlias = tuple[float, float]

_RESAMPLES = 4_999
_PERMUTATIONS = 20_000  # more than there are of the sizes below, so all are gone through
_MOST_PAIRS = 14  # 2¹⁴ = 16,384 signs
_MOST_VALUES = 16  # C(16, 8) = 12,870 splits
_MOST_EXACT = 60  # values without ties up to which Mann–Whitney's counts are cheap


@contextmanager
def quiet() -> Generator[None]:
    """Keep warnings about degenerate samples and overflow from the user's notebook."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _finite(value: object) -> float | None:
    number = float(value)  # pyright: ignore[reportArgumentType]  # numpy scalars of scipy
    return number if math.isfinite(number) else None


def _bounds(low: object, high: object) -> Bounds | None:
    ends = _finite(low), _finite(high)
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


@lru_cache(maxsize=256)
def student_quantile(confidence: float, degrees: float) -> float:
    """Give t such that a Student variable lies within ±t with this probability.

    Args:
        confidence: Between 0 and 1.
        degrees: Degrees of freedom, above 0.
    """
    stats: Any = import_module("scipy.stats")
    return float(stats.t.ppf(0.5 + confidence / 2, degrees))


def bootstrap(
    samples: Sequence[Reals],
    *,
    statistic: Statistic | Literal["difference"],
    paired: bool = False,
    confidence: float,
) -> tuple[Bounds | None, str]:
    """Give a bootstrap interval: BCa, and percentile where BCa is not defined.

    Bias-corrected and accelerated (Efron, 1987, *JASA* 82). The generator is seeded, so the
    same values give the same interval.

    Args:
        samples: One sample, or two for ``"difference"``.
        statistic: The mean, the median, or the difference of two means.
        paired: Whether the two samples are drawn together.
        confidence: Between 0 and 1.

    Returns:
        The interval, or None below two values; and ``"BCa"``, ``"percentile"`` or ``""``.
    """
    if any(sample.size < 2 for sample in samples):  # noqa: PLR2004  # no spread in one
        return None, ""
    stats: Any = import_module("scipy.stats")
    for method in ("BCa", "percentile"):
        with quiet():
            found = stats.bootstrap(
                tuple(samples),
                _STATISTICS[statistic],
                paired=paired,
                confidence_level=confidence,
                n_resamples=_RESAMPLES,
                method=method,
                vectorized=True,
                rng=np.random.default_rng(0),
            ).confidence_interval
        ends = _bounds(found.low, found.high)
        if ends is not None:
            return ends, method
    return None, ""


def _difference(first: Reals, second: Reals, *, axis: int) -> Any:  # noqa: ANN401  # numpy
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)


_STATISTICS: dict[str, Any] = {
    "mean": np.mean,
    "median": np.median,
    "difference": _difference,
}


def t_test(
    first: Reals, second: Reals, *, paired: bool, confidence: float
) -> tuple[float | None, float | None, Bounds | None]:
    """Compare two means: the paired t test, or Welch's (1947, *Biometrika* 34).

    Args:
        first: At least two values.
        second: As many when paired, otherwise at least two.
        paired: Whether the values at one place belong together.
        confidence: Of the interval of the difference.

    Returns:
        t, the two-sided p, and the interval of the difference of the means; None for what
        is not defined.
    """
    stats: Any = import_module("scipy.stats")
    with quiet():
        found = (
            stats.ttest_rel(first, second)
            if paired
            else stats.ttest_ind(first, second, equal_var=False)
        )
        interval = found.confidence_interval(confidence)
    return (
        _finite(found.statistic),
        _finite(found.pvalue),
        _bounds(interval.low, interval.high),
    )


def rank_test(
    first: Reals, second: Reals, *, paired: bool
) -> tuple[float | None, float | None]:
    """Compare two samples by ranks: Wilcoxon's signed ranks, or Mann–Whitney's U.

    The null distribution is exact for samples of the sizes that seeds come in: with ties or
    zeros scipy goes through all signs (up to 14 pairs) or all splits (up to 16 values).
    Larger tied samples take the normal approximation.

    Args:
        first: At least two values.
        second: As many when paired.
        paired: Whether the values at one place belong together.

    Returns:
        The statistic and the two-sided p; None for what is not defined.
    """
    stats: Any = import_module("scipy.stats")
    permute = stats.PermutationMethod(
        n_resamples=_PERMUTATIONS, rng=np.random.default_rng(0)
    )
    with quiet():
        if paired:
            differences = first - second
            sizes = np.abs(differences)
            tied = np.unique(sizes).size < sizes.size or not sizes.all()
            every = tied and first.size <= _MOST_PAIRS
            found = stats.wilcoxon(differences, method=permute if every else "auto")
        else:
            both = np.concatenate([first, second])
            tied = np.unique(both).size < both.size
            every = tied and both.size <= _MOST_VALUES
            plain = "asymptotic" if tied or both.size > _MOST_EXACT else "exact"
            found = stats.mannwhitneyu(first, second, method=permute if every else plain)
    return _finite(found.statistic), _finite(found.pvalue)


def correct(p_values: Sequence[float], *, method: str) -> list[float]:
    """Correct p values for being several.

    Gives the same bits as statsmodels' ``multipletests``, which collects all garbage of the
    process first: up to half a second a call beside torch.

    Args:
        p_values: Of one family of tests; may be empty.
        method: ``"holm"``, ``"fdr_bh"`` or ``"bonferroni"``, as statsmodels calls them.

    Returns:
        The corrected ones, in the same order.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    rising, ranks = values[order], np.arange(1, values.size + 1)
    match method:
        case "holm":
            rising = np.maximum.accumulate(rising * ranks[::-1])
        case "fdr_bh":
            rising = np.minimum.accumulate((rising / (ranks / values.size))[::-1])[::-1]
        case _:
            rising = rising * values.size
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(rising, 1.0)
    return corrected.tolist()


def survival(times: Reals, reached: npt.NDArray[np.bool_]) -> tuple[Reals, Reals]:
    """Estimate who has not yet reached the target (Kaplan & Meier, 1958, *JASA* 53).

    Args:
        times: When each run reached it, or was last seen; finite, at least one.
        reached: Whether it did.

    Returns:
        The times at which the estimate steps, rising, and the share after each step.
    """
    duration: Any = import_module("statsmodels.duration.survfunc")
    with quiet():
        found = duration.SurvfuncRight(times, reached.astype(np.int64))
    return np.asarray(found.surv_times, float), np.asarray(found.surv_prob, float)


def log_rank(
    times: Reals, reached: npt.NDArray[np.bool_], groups: Sequence[str]
) -> tuple[float | None, float | None]:
    """Test whether groups reach the target equally fast (Mantel, 1966).

    Args:
        times: As for :func:`survival`.
        reached: As for :func:`survival`.
        groups: Each run's group; at least two different ones.

    Returns:
        Chi square and p; None when nobody reached the target.
    """
    duration: Any = import_module("statsmodels.duration.survfunc")
    if not reached.any():
        return None, None
    with quiet():
        try:
            chi_square, p_value = duration.survdiff(
                times, reached.astype(np.int64), np.asarray(groups)
            )
        except np.linalg.LinAlgError:  # a group whose risk set is never compared
            return None, None
    return _finite(chi_square), _finite(p_value)


def distances_between_rows(
    rows: Reals, others: Reals, metric: Literal["cityblock", "jensenshannon"]
) -> Reals:
    """Give the distance of each row to each other row, as ``scipy.spatial`` measures it.

    Args:
        rows: Shape ``(n, k)``, k of 1 or more; NaN where there is none.
        others: Shape ``(m, k)``.
        metric: Its name there; Jensen-Shannon in natural units.

    Returns:
        Shape ``(n, m)``; NaN where a row holds NaN.
    """
    distance: Any = import_module("scipy.spatial.distance")
    with quiet():
        found = np.asarray(distance.cdist(rows, others, metric), dtype=np.float64)
    # Rounding may leave the root of a number below 0 where two rows are equal.
    found[np.isnan(found)] = 0.0
    found[np.isnan(rows).any(axis=1)] = np.nan
    found[:, np.isnan(others).any(axis=1)] = np.nan
    return found
