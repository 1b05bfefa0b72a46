"""Test groups against each other, all pairs or all against one, as one family."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from flip_lab.analysis.inputs import require_choice, require_columns, require_share
from flip_lab.analysis.pair_test import (
    PAIR_COLUMNS,
    PairTest,
    TestKind,
    pair_test,
    samples,
)
from flip_lab.analysis.scientific import correct
from flip_lab.core.errors import AnalysisError, nearest

Correction: TypeAlias = Literal["holm", "bh", "bonferroni", "none"]
"""Holm (1979) and Bonferroni bound the chance of any false claim; Benjamini and Hochberg
(1995) bound the share of false ones among the claims."""

_METHODS = {"holm": "holm", "bh": "fdr_bh", "bonferroni": "bonferroni"}
_FEW = 8  # seeds below which bootstrap intervals cover visibly less than they promise


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
    gathered = samples(scores)
    if against is not None and against not in gathered:
        raise AnalysisError(
            f"There is no group {against!r}.", fix=nearest(against, gathered)
        )
    pairs = (
        list(combinations(gathered, 2))
        if against is None
        else [(against, label) for label in gathered if label != against]
    )
    raw = [
        pair_test(gathered[first], gathered[second], test=test, alpha=alpha, paired=paired)
        for first, second in pairs
    ]
    tests = _corrected(raw, alpha=alpha, correction=correction)
    return Pairwise(
        alpha=alpha,
        correction=correction,
        tests=tests,
        notes=_notes(tests, alpha=alpha, correction=correction),
    )


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
