"""Tests of two groups: by hand, against scipy and statsmodels, and what they refuse."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from flip_lab.analysis import pairwise
from flip_lab.analysis.effects import cliffs_delta, cohen_d_z, hedges_g
from flip_lab.analysis.pair_test import TestKind
from flip_lab.analysis.pairs import Correction
from flip_lab.analysis.scientific import correct
from flip_lab.core.errors import AnalysisError

if TYPE_CHECKING:
    from conftest import Scores

NAN = float("nan")
AVG = (0.80, 0.82, 0.81, 0.79, 0.83)
PROX = (0.83, 0.84, 0.85, 0.81, 0.86)


def _wilcoxon(one: np.ndarray, two: np.ndarray) -> float:
    reference: Any = stats.wilcoxon(one, two, method="exact")
    return reference.pvalue


def test_the_paired_t_test_by_hand(scores: Scores) -> None:
    """Differences -3 -2 -4 -2 -3 %: mean -2.8, s² = 0.7, t = -2.8 / √(0.7 / 5)."""
    (found,) = pairwise(scores({"avg": AVG, "prox": PROX})).tests
    assert (found.test, found.why) == ("paired t", "5 common seeds of 5 and 5")
    assert found.statistic == pytest.approx(-2.8 / (0.7 / 5) ** 0.5)
    assert found.p_value == pytest.approx(stats.ttest_rel(AVG, PROX).pvalue)
    assert found.difference == pytest.approx(-0.028)
    reach = 0.02776445 * (0.7 / 5) ** 0.5
    assert found.low == pytest.approx(-0.028 - reach, abs=1e-7)
    assert found.high == pytest.approx(-0.028 + reach, abs=1e-7)
    assert found.cohen_d_z == pytest.approx(-2.8 / 0.7**0.5)
    assert found.is_significant
    ends = [found.low, found.bootstrap_low, -0.028, found.bootstrap_high, found.high]
    assert ends == sorted(end for end in ends if end is not None)


def test_effect_sizes_by_hand() -> None:
    """Worked on three numbers a group."""
    one, two = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    assert cohen_d_z(one - two) == pytest.approx(-2.0)  # mean -2, s = 1
    # s_pooled = √((2 + 8) / 4) = √2.5; J(4) = Γ(2) / (√2 Γ(1.5)) = 0.7978846
    assert hedges_g(one, two) == pytest.approx(0.7978846 * -2 / 2.5**0.5)
    # of nine pairs: 1 larger (3 > 2), 1 equal (2 = 2), 7 smaller
    assert cliffs_delta(one, two) == pytest.approx((1 - 7) / 9)
    assert cohen_d_z(np.array([1.0])) is None
    assert hedges_g(one[:1], two[:2]) is None
    assert cliffs_delta(one, two[:0]) is None


def test_seeds_that_do_not_match_are_tested_unpaired(scores: Scores) -> None:
    """Welch's test, and the reason is said."""
    two = dict(enumerate(PROX, 10))
    (found,) = pairwise(scores({"avg": AVG, "prox": two})).tests
    reference: Any = stats.ttest_ind(AVG, PROX, equal_var=False)
    assert (found.test, found.why) == ("Welch t", "0 common seeds of 5 and 5")
    assert (found.statistic, found.p_value) == pytest.approx(
        (reference.statistic, reference.pvalue)
    )
    interval = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.cohen_d_z is None


def test_half_of_the_seeds_must_be_common_for_a_pairing(scores: Scores) -> None:
    """Two of five would throw six values away; three of five are paired."""
    few = pairwise(scores({"a": AVG, "b": dict(enumerate(PROX, 3))})).tests[0]
    most = pairwise(scores({"a": AVG, "b": dict(enumerate(PROX, 2))})).tests[0]
    assert (few.is_paired, few.num_first) == (False, 5)
    assert (most.is_paired, most.num_first, most.num_second) == (True, 3, 3)
    reference: Any = stats.ttest_rel(AVG[2:], PROX[:3])
    assert most.p_value == pytest.approx(reference.pvalue)


def test_a_pairing_can_be_asked_for_or_forbidden(scores: Scores) -> None:
    """The caller may know better."""
    frame = scores({"a": AVG, "b": PROX})
    assert pairwise(frame, paired=False).tests[0].test == "Welch t"
    frame = scores({"a": AVG, "b": dict(enumerate(PROX, 3))})
    forced = pairwise(frame, paired=True).tests[0]
    assert (forced.is_paired, forced.num_first) == (True, 2)
    assert forced.why.startswith("asked for")


def test_ranks_are_exact_and_a_hopeless_size_is_said(scores: Scores) -> None:
    """Five pairs of one sign: 2 of 32 sign patterns are as extreme."""
    found = pairwise(scores({"a": AVG, "b": PROX}), test="rank")
    (test,) = found.tests
    assert test.test == "Wilcoxon signed rank"
    assert (test.p_value, test.smallest_p) == (0.0625, 0.0625)  # ties among differences
    assert not test.is_significant
    assert "p cannot be below 0.0625 at this size, so never below 0.05" in test.note
    apart = pairwise(scores({"a": [1, 2, 3], "b": {5: 4, 6: 5, 7: 6}}), test="rank").tests[
        0
    ]
    assert apart.test == "Mann–Whitney U"
    assert (apart.p_value, apart.smallest_p) == pytest.approx((0.1, 0.1))  # 2 of 20 splits


def test_a_pair_without_a_difference_makes_wilcoxon_weaker(scores: Scores) -> None:
    """Zeros have no sign: six pairs with one zero reach no less than five pairs."""
    found = pairwise(
        scores({"a": [1, 2, 3, 4, 5, 6], "b": [1, 3, 5, 7, 9, 11]}), test="rank"
    )
    assert (found.tests[0].p_value, found.tests[0].smallest_p) == (0.0625, 0.0625)


def test_significance_is_of_the_corrected_p(scores: Scores) -> None:
    """A p value that is small alone is not in a family of three."""
    frame = scores(
        {"a": (1, 2, 3, 4), "b": (2.9, 3.1, 4.2, 6.9), "c": (1.5, 1.2, 3.9, 3.4)}
    )
    plain = pairwise(frame, correction="none").between("a", "b")
    assert plain.p_value is not None
    assert 0.02 < plain.p_value < 0.05
    assert plain.is_significant
    assert not pairwise(frame, correction="bonferroni").between("a", "b").is_significant


def test_ranks_agree_with_scipy_where_there_are_no_ties(scores: Scores) -> None:
    """Against scipy's exact distributions."""
    one, two = np.random.default_rng(1).normal(size=(2, 9))
    paired = pairwise(scores({"a": one, "b": two}), test="rank").tests[0]
    apart = pairwise(scores({"a": one, "b": two}), test="rank", paired=False).tests[0]
    assert paired.p_value == pytest.approx(_wilcoxon(one, two))
    reference: Any = stats.mannwhitneyu(one, two, method="exact")
    assert (apart.statistic, apart.p_value) == pytest.approx(tuple(reference))


@pytest.mark.parametrize(
    ("correction", "method"),
    [("holm", "holm"), ("bh", "fdr_bh"), ("bonferroni", "bonferroni")],
)
def test_several_tests_are_corrected_as_statsmodels_does(
    scores: Scores,
    correction: Correction,
    method: str,
) -> None:
    """All pairs of three groups are one family."""
    third = (0.86, 0.84, 0.84, 0.80, 0.88)
    frame = scores({"a": AVG, "b": PROX, "c": third})
    found = pairwise(frame, correction=correction)
    raw = [test.p_value for test in found.tests]
    expected: Any = multipletests(raw, method=method)[1]
    assert [test.p_corrected for test in found.tests] == pytest.approx(list(expected))
    plain = pairwise(frame, correction="none")
    assert [test.p_corrected for test in plain.tests] == raw


@given(
    p_values=st.lists(st.floats(0, 1), min_size=1),
    method=st.sampled_from(["holm", "fdr_bh", "bonferroni"]),
)
def test_corrections_are_those_of_statsmodels_to_the_bit(
    p_values: list[float], method: str
) -> None:
    """Whatever the family: equal values, zeros, ones, and one alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)  # it does so each time, and takes its time
        expected: Any = multipletests(p_values, method=method)[1]
    assert correct(p_values, method=method) == expected.tolist()


def test_holm_by_hand(scores: Scores) -> None:
    """The smallest of three p values times 3, the next times 2, never falling."""
    found = pairwise(scores({"a": AVG, "b": PROX, "c": (0.1, 0.5, 0.3, 0.9, 0.2)}))
    raw = sorted(test.p_value or 0 for test in found.tests)
    corrected = sorted(test.p_corrected or 0 for test in found.tests)
    assert corrected[0] == pytest.approx(3 * raw[0])
    assert corrected[1] == pytest.approx(max(3 * raw[0], 2 * raw[1]))


def test_tests_against_one_group_are_fewer(scores: Scores) -> None:
    """The group asked for comes first in each."""
    frame = scores({"a": AVG, "b": PROX, "c": AVG[::-1]})
    assert len(pairwise(frame).tests) == 3
    found = pairwise(frame, against="b")
    assert [(test.first, test.second) for test in found.tests] == [("b", "a"), ("b", "c")]
    with pytest.raises(AnalysisError, match="no group 'd'"):
        pairwise(frame, against="d")
    with pytest.raises(AnalysisError, match="'a' and 'c' were not tested"):
        found.between("a", "c")


def test_one_seed_gives_a_difference_and_no_test(scores: Scores) -> None:
    """And the family says that a pair was not tested."""
    found = pairwise(scores({"a": [0.5], "b": [0.7]}))
    (test,) = found.tests
    assert test.difference == pytest.approx(-0.2)
    assert (test.p_value, test.p_corrected, test.is_significant) == (None, None, False)
    assert test.note == "one seed: no test"
    assert found.notes[0] == "1 of 1 pairs could not be tested."


def test_equal_differences_are_one_observation(scores: Scores) -> None:
    """T would be infinite and p zero, from seeds that change nothing."""
    (test,) = pairwise(scores({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.3, 0.4]})).tests
    assert (test.statistic, test.p_value) == (None, None)
    assert test.note.endswith("the seeds change nothing: no test")


def test_diverged_seeds_are_in_no_test_and_said(scores: Scores) -> None:
    """Their pairs are lost on both sides."""
    frame = scores({"a": [*AVG, NAN], "b": [*PROX, float("inf")]})
    frame.loc[0, "value"] = NAN
    (test,) = pairwise(frame).tests
    assert (test.num_first, test.num_second) == (4, 4)
    assert test.note == "a: 2 without a finite value; b: 1 without a finite value"
    (none,) = pairwise(scores({"a": [NAN], "b": [0.5]})).tests
    assert (none.difference, none.note.endswith("nothing to compare")) == (None, True)


def test_seeds_that_repeat_are_not_paired(scores: Scores) -> None:
    """Nobody could say which belongs to which."""
    frame = pd.concat([scores({"a": AVG, "b": PROX}), scores({"a": [0.5]})])
    (test,) = pairwise(frame).tests
    assert (test.is_paired, test.why) == (False, "a seed occurs twice in a group")
    (forced,) = pairwise(frame, paired=True).tests  # seed 0 of a is then (0.8 + 0.5) / 2
    assert forced.difference == pytest.approx(-0.028 - 0.15 / 5)


def test_the_frame_has_a_row_a_test_and_numbers_where_there_are_some(
    scores: Scores,
) -> None:
    """None becomes NaN, so that columns can be formatted."""
    frame = pairwise(scores({"a": [0.5], "b": [0.7]})).frame
    assert frame["p_value"].dtype == np.float64
    assert frame["is_significant"].tolist() == [False]
    assert list(pairwise(scores({"a": AVG})).frame.columns) == list(frame.columns)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0, NAN])
def test_an_alpha_outside_its_range_is_refused(scores: Scores, alpha: float) -> None:
    """5 is meant as 0.05; we do not guess."""
    with pytest.raises(AnalysisError, match=r"alpha = .*Pass alpha=0.05"):
        pairwise(scores({"a": AVG, "b": PROX}), alpha=alpha)


WHOLE = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=5)


@settings(max_examples=20)
@given(
    one=WHOLE,
    two=WHOLE,
    test=st.sampled_from(["t", "rank"]),
    scale=st.sampled_from([0.5, 4.0]),
)
def test_tests_do_not_depend_on_scale_and_turn_with_the_groups(
    scores: Scores,
    one: list[float],
    two: list[float],
    test: TestKind,
    scale: float,
) -> None:
    """Scaled values give the same p; swapped groups the opposite difference."""
    (found,) = pairwise(scores({"a": one, "b": two}), test=test).tests
    scaled = {"a": [scale * x + 3 for x in one], "b": [scale * x + 3 for x in two]}
    (again,) = pairwise(scores(scaled), test=test).tests
    (turned,) = pairwise(scores({"b": two, "a": one}), test=test).tests
    for name in ("p_value", "hedges_g", "cohen_d_z", "cliffs_delta"):
        before, after = getattr(found, name), getattr(again, name)
        assert (after is None) == (before is None), name
        assert before is None or after == pytest.approx(before, rel=1e-6), name
    assert turned.p_value is None or turned.p_value == pytest.approx(found.p_value)
    assert turned.difference == pytest.approx(-(found.difference or 0.0))
    assert found.p_value is None or 0 <= found.p_value <= 1
    assert -1 <= (found.cliffs_delta or 0.0) <= 1


@settings(max_examples=20)
@given(
    groups=st.dictionaries(
        st.sampled_from("abc"),
        st.dictionaries(st.integers(0, 5), st.floats(), max_size=5),
        max_size=3,
    ),
    test=st.sampled_from(["t", "rank"]),
)
def test_no_values_raise(scores: Scores, groups: Any, test: Any) -> None:  # noqa: ANN401  # generated
    """Whatever is missing or not finite, every number is finite or None."""
    for found in pairwise(scores(groups), test=test).tests:
        for name in ("p_value", "difference", "low", "bootstrap_low", "hedges_g"):
            value = getattr(found, name)
            assert value is None or np.isfinite(value), name
