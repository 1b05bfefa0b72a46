"""Two groups of seeds against each other: which test, its p, how large the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import comb
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, by_group, cells, reals
from flip_lab.analysis.effects import are_equal, cliffs_delta, cohen_d_z, hedges_g
from flip_lab.analysis.scientific import bootstrap, quiet, rank_test, t_test

TestKind: TypeAlias = Literal["t", "rank"]
"""Tests of means (paired t, Welch) or of ranks (Wilcoxon, Mann–Whitney)."""

_NAMES = {
    ("t", True): "paired t",
    ("t", False): "Welch t",
    ("rank", True): "Wilcoxon signed rank",
    ("rank", False): "Mann–Whitney U",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """Two groups, tested. A difference is the first group's value minus the second's.

    Attributes:
        first: Label of the first group.
        second: Label of the second.
        test: ``paired t``, ``Welch t``, ``Wilcoxon signed rank`` or ``Mann–Whitney U``.
        is_paired: Whether values of equal seeds were compared.
        why: Why it was paired, or not.
        num_first: Finite values of the first group that the test used.
        num_second: Those of the second.
        statistic: t, W or U; None where no test can be made.
        p_value: Two-sided; None where no test can be made.
        p_corrected: p after the correction; None likewise.
        is_significant: Whether the corrected p is below alpha; False without a test.
        smallest_p: The smallest p that a rank test can give at this size; None for t tests.
        difference: Mean difference; None if a group is empty.
        low: Lower end of its Student (or Welch) interval of 1 - alpha, not corrected.
        high: Upper end of it.
        bootstrap_low: Lower end of its bootstrap interval.
        bootstrap_high: Upper end of it.
        cohen_d_z: Effect size of paired differences; None where unpaired.
        hedges_g: Effect size in standard deviations of the values.
        cliffs_delta: Effect size by order, from -1 to 1.
        note: What a reader must know; empty if nothing.
    """

    first: str
    second: str
    test: str
    is_paired: bool
    why: str
    num_first: int
    num_second: int
    statistic: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    is_significant: bool = False
    smallest_p: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    cohen_d_z: float | None = None
    hedges_g: float | None = None
    cliffs_delta: float | None = None
    note: str = ""


PAIR_COLUMNS = tuple(entry.name for entry in fields(PairTest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A group's values.

    Attributes:
        label: The group.
        finite: Its finite values, in the order of seeds.
        by_seed: Those of them that have a seed; the mean where one occurs more than once.
        num_lost: Values that are NaN or infinite.
        has_twins: Whether a seed occurs more than once.
    """

    label: str
    finite: Reals
    by_seed: Mapping[object, float] = field(repr=False)
    num_lost: int
    has_twins: bool


def samples(scores: pd.DataFrame) -> dict[str, Sample]:
    """Gather each group's finite values.

    Args:
        scores: ``group``, ``run_id``, ``seed``, ``value``.

    Returns:
        The samples by label, groups in the order in which they come.
    """
    gathered: dict[str, Sample] = {}
    for label, rows in by_group(scores).items():
        values = reals(rows, "value")
        seeds: list[object] = [
            None if pd.isna(seed) else seed for seed in cells(rows, "seed")
        ]
        known = Counter(seed for seed in seeds if seed is not None)
        finite = sorted(
            (
                (seed, float(value))
                for seed, value in zip(seeds, values, strict=True)
                if np.isfinite(value)
            ),
            key=_by_seed_then_value,
        )
        twins: dict[object, list[float]] = {}
        for seed, value in finite:
            twins.setdefault(seed, []).append(value)
        gathered[label] = Sample(
            label=label,
            finite=np.array([value for _, value in finite], dtype=np.float64),
            by_seed={seed: _mean(held) for seed, held in twins.items() if seed is not None},
            num_lost=len(values) - len(finite),
            has_twins=any(count > 1 for count in known.values()),
        )
    return gathered


def _mean(values: list[float]) -> float:
    with quiet():
        return float(np.mean(values))


def _by_seed_then_value(row: tuple[object, float]) -> tuple[str, float]:
    return str(row[0]), row[1]


def _pairing(
    first: Sample, second: Sample, *, paired: bool | None
) -> tuple[bool, str, list[object]]:
    """Decide whether equal seeds are compared, and say why."""
    common = [seed for seed in first.by_seed if seed in second.by_seed]
    largest = max(first.finite.size, second.finite.size)
    said = f"{len(common)} common seeds of {first.finite.size} and {second.finite.size}"
    if paired is not None:
        return paired, f"asked for; {said}", common
    if first.has_twins or second.has_twins:
        return False, "a seed occurs twice in a group", common
    return len(common) >= max(2, largest / 2), said, common


def pair_test(
    first: Sample,
    second: Sample,
    *,
    test: TestKind,
    alpha: float,
    paired: bool | None,
) -> PairTest:
    """Test two groups.

    Args:
        first: One group.
        second: The other.
        test: ``"t"`` or ``"rank"``.
        alpha: Its intervals are of 1 - alpha.
        paired: Force pairing or forbid it; None decides.

    Returns:
        The test without correction; without p where none can be made.
    """
    is_paired, why, common = _pairing(first, second, paired=paired)
    one, two = first.finite, second.finite
    if is_paired:
        one = np.array([first.by_seed[seed] for seed in common], dtype=np.float64)
        two = np.array([second.by_seed[seed] for seed in common], dtype=np.float64)
    blank = PairTest(
        first=first.label,
        second=second.label,
        test=_NAMES[test, is_paired],
        is_paired=is_paired,
        why=why,
        num_first=int(one.size),
        num_second=int(two.size),
        note=_lost(first, second),
    )
    if not (one.size and two.size):
        return _noted(blank, "nothing to compare")
    sized = _with_sizes(blank, one, two, alpha=alpha)
    if min(one.size, two.size) < 2:  # noqa: PLR2004  # a test needs a spread
        return _noted(sized, "one seed: no test")
    return _with_test(sized, one, two, test=test, alpha=alpha)


def _lost(first: Sample, second: Sample) -> str:
    return "; ".join(
        f"{sample.label}: {sample.num_lost} without a finite value"
        for sample in (first, second)
        if sample.num_lost
    )


def _noted(test: PairTest, words: str) -> PairTest:
    return replace(test, note="; ".join(filter(None, (test.note, words))))


def _with_sizes(blank: PairTest, one: Reals, two: Reals, *, alpha: float) -> PairTest:
    """Add effect sizes and the bootstrap interval; they need no test."""
    with quiet():
        difference = float(one.mean() - two.mean())
    ends, method = (None, "")
    if not _is_flat(one, two, is_paired=blank.is_paired):
        ends, method = bootstrap(
            [one, two],
            statistic="difference",
            paired=blank.is_paired,
            confidence=1 - alpha,
        )
    sized = replace(
        blank,
        difference=difference if np.isfinite(difference) else None,
        bootstrap_low=ends[0] if ends else None,
        bootstrap_high=ends[1] if ends else None,
        cohen_d_z=cohen_d_z(one - two) if blank.is_paired else None,
        hedges_g=hedges_g(one, two),
        cliffs_delta=cliffs_delta(one, two),
    )
    return _noted(sized, "bootstrap is percentile" if method == "percentile" else "")


def _is_flat(one: Reals, two: Reals, *, is_paired: bool) -> bool:
    """Tell whether there is no spread for a test to work with."""
    scale = float(max(np.abs(one).max(), np.abs(two).max()))
    if is_paired:
        return are_equal(one - two, scale=scale)
    return are_equal(one, scale=scale) and are_equal(two, scale=scale)


def _with_test(
    sized: PairTest, one: Reals, two: Reals, *, test: TestKind, alpha: float
) -> PairTest:
    if _is_flat(one, two, is_paired=sized.is_paired):
        # identical seeds are one observation: t would be infinite, and p a false zero
        return _noted(sized, "the seeds change nothing: no test")
    smallest = _smallest_p(one, two, is_paired=sized.is_paired) if test == "rank" else None
    # the interval of the difference of means goes with either test
    t_value, t_p, interval = t_test(one, two, paired=sized.is_paired, confidence=1 - alpha)
    statistic, p_value = (
        rank_test(one, two, paired=sized.is_paired) if test == "rank" else (t_value, t_p)
    )
    tested = replace(
        sized,
        statistic=statistic,
        p_value=p_value,
        smallest_p=smallest,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )
    if smallest is not None and smallest >= alpha:
        words = f"p cannot be below {smallest:.4g} at this size, so never below {alpha:g}"
        return _noted(tested, words)
    return tested


def _smallest_p(one: Reals, two: Reals, *, is_paired: bool) -> float:
    """Give the smallest two-sided p of a rank test without ties.

    Signed ranks: 2 of 2ⁿ signs, zeros left out. Mann–Whitney: 2 of the C(n+m, n) splits.
    """
    if is_paired:
        return float(2.0 ** (1 - np.count_nonzero(one - two)))
    return 2 / comb(one.size + two.size, one.size)
