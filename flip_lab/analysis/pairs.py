"""Test groups against each other, two at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import combinations
from math import comb
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, by_group, cells, reals
from flip_lab.analysis.effects import are_equal, cliffs_delta, cohen_d_z, hedges_g
from flip_lab.analysis.inputs import require_choice, require_columns, require_share
from flip_lab.analysis.scientific import bootstrap, correct, quiet, rank_test, t_test
from flip_lab.core.errors import AnalysisError, nearest

TestKind: TypeAlias = Literal["t", "rank"]
"""Tests of means (paired t, Welch) or of ranks (Wilcoxon, Mann–Whitney)."""

Correction: TypeAlias = Literal["holm", "bh", "bonferroni", "none"]
"""Holm (1979) and Bonferroni bound the chance of any false claim; Benjamini and Hochberg
(1995) bound the share of false ones among the claims."""

_METHODS = {"holm": "holm", "bh": "fdr_bh", "bonferroni": "bonferroni"}
_NAMES = {
    ("t", True): "paired t",
    ("t", False): "Welch t",
    ("rank", True): "Wilcoxon signed rank",
    ("rank", False): "Mann–Whitney U",
}
_FEW = 8  # seeds below which bootstrap intervals cover visibly less than they promise


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
class Pairwise:
    """One family of tests.

    Attributes:
        alpha: Chance of a false claim that was accepted.
        correction: How p values were corrected for being several.
        tests: One for each pair.
        notes: What a reader of all of them must know.
    """

    alpha: float
    correction: Correction
    tests: tuple[PairTest, ...]
    notes: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """All tests, one row each; columns are the attributes of :class:`PairTest`."""
        rows = [asdict(test) for test in self.tests]
        frame = pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
        reals = PAIR_COLUMNS[PAIR_COLUMNS.index("statistic") : -1]
        numbers = [name for name in reals if name != "is_significant"]
        return frame.assign(**{name: frame[name].astype(np.float64) for name in numbers})

    def between(self, first: str, second: str) -> PairTest:
        """Find the test of two groups, in either order.

        Args:
            first: Label of one group.
            second: Label of the other.

        Returns:
            The test, as it was made.

        Raises:
            AnalysisError: If these two were not tested.
        """
        for test in self.tests:
            if {test.first, test.second} == {first, second}:
                return test
        labels = {label for test in self.tests for label in (test.first, test.second)}
        raise AnalysisError(
            f"{first!r} and {second!r} were not tested.", fix=nearest(first, labels)
        )


def pairwise(
    scores: pd.DataFrame,
    *,
    test: TestKind = "t",
    alpha: float = 0.05,
    correction: Correction = "holm",
    against: str | None = None,
    paired: bool | None = None,
) -> Pairwise:
    """Test groups against each other.

    Values of equal seeds are paired when at least two seeds, and at least half of each
    group's, are common: a seed fixes data partition, cohorts and initial model, so a pair
    shares them and the difference has less noise (Dror et al., 2018). Otherwise the groups
    are tested as independent samples; ``why`` says which and for what reason.

    t tests assume that (differences of) values are near normal; rank tests only that they
    are independent, and a paired one that differences are symmetric. With n pairs Wilcoxon
    cannot give less than p = 2^(1-n): with five seeds 0.0625.

    Args:
        scores: ``group``, ``run_id``, ``seed``, ``value``; one row a run. NaN and the
            infinities are in no test, and the test's note counts them.
        test: ``"t"`` or ``"rank"``.
        alpha: Accepted chance of a false claim; intervals are of 1 - alpha.
        correction: For several tests; over all tests made here.
        against: A group: test the others against it only, which makes fewer tests.
        paired: Force pairing (over the common seeds) or forbid it; None decides as above.

    Returns:
        The tests, in the order in which groups come in ``scores``.

    Raises:
        AnalysisError: If a column or group is unknown, or an argument out of range.
    """
    require_columns(scores, ("group", "run_id", "seed", "value"), what="scores")
    require_share(alpha, name="alpha")
    require_choice(test, ("t", "rank"), name="test")
    require_choice(correction, (*_METHODS, "none"), name="correction")
    samples = _samples(scores)
    if against is not None and against not in samples:
        raise AnalysisError(
            f"There is no group {against!r}.", fix=nearest(against, samples)
        )
    pairs = (
        list(combinations(samples, 2))
        if against is None
        else [(against, label) for label in samples if label != against]
    )
    raw = [
        _pair_test(samples[first], samples[second], test=test, alpha=alpha, paired=paired)
        for first, second in pairs
    ]
    tests = _corrected(raw, alpha=alpha, correction=correction)
    return Pairwise(
        alpha=alpha,
        correction=correction,
        tests=tests,
        notes=_notes(tests, alpha=alpha, correction=correction),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """A group's finite values, in the order of seeds."""

    label: str
    finite: Reals
    by_seed: Mapping[object, float] = field(repr=False)
    num_lost: int
    has_twins: bool


def _samples(scores: pd.DataFrame) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for label, rows in by_group(scores).items():
        values = reals(rows, "value")
        seeds: list[object] = [
            None if pd.isna(seed) else seed for seed in cells(rows, "seed")
        ]
        known = Counter(seed for seed in seeds if seed is not None)
        finite = sorted(
            (str(seed), float(value), seed)
            for seed, value in zip(seeds, values, strict=True)
            if np.isfinite(value)
        )
        samples[label] = _Sample(
            label=label,
            finite=np.array([value for _, value, _ in finite], dtype=np.float64),
            by_seed={seed: value for _, value, seed in finite if seed is not None},
            num_lost=len(values) - len(finite),
            has_twins=any(count > 1 for count in known.values()),
        )
    return samples


def _pairing(
    first: _Sample, second: _Sample, *, paired: bool | None
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


def _pair_test(
    first: _Sample,
    second: _Sample,
    *,
    test: TestKind,
    alpha: float,
    paired: bool | None,
) -> PairTest:
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


def _lost(first: _Sample, second: _Sample) -> str:
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
    statistic, p_value = (
        rank_test(one, two, paired=sized.is_paired)
        if test == "rank"
        else t_test(one, two, paired=sized.is_paired, confidence=1 - alpha)[:2]
    )
    # the interval of the difference of means goes with either test
    interval = t_test(one, two, paired=sized.is_paired, confidence=1 - alpha)[2]
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


def _corrected(
    tests: list[PairTest], *, alpha: float, correction: Correction
) -> tuple[PairTest, ...]:
    made = [test.p_value for test in tests if test.p_value is not None]
    adjusted = iter(
        made if correction == "none" else correct(made, method=_METHODS[correction])
    )
    return tuple(
        test if test.p_value is None else _decided(test, next(adjusted), alpha=alpha)
        for test in tests
    )


def _decided(test: PairTest, p_corrected: float, *, alpha: float) -> PairTest:
    return replace(test, p_corrected=p_corrected, is_significant=p_corrected < alpha)


def _notes(
    tests: tuple[PairTest, ...], *, alpha: float, correction: Correction
) -> tuple[str, ...]:
    made = [test for test in tests if test.p_value is not None]
    smallest = [test.smallest_p for test in made if test.smallest_p is not None]
    notes: list[str] = []
    if len(tests) > len(made):
        notes.append(f"{len(tests) - len(made)} of {len(tests)} pairs could not be tested.")
    if smallest and correction != "none" and min(smallest) * len(made) >= alpha:
        notes.append(
            f"After {correction} over {len(made)} tests, rank tests of this few seeds can "
            f"hardly fall below {alpha:g}: take more seeds, fewer pairs (against=), or t."
        )
    if any(min(test.num_first, test.num_second) < _FEW for test in tests):
        notes.append(
            f"Below {_FEW} seeds bootstrap intervals are too narrow; prefer low and high."
        )
    return tuple(notes)
