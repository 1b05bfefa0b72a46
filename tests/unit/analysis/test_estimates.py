"""A centre and its interval, by hand and against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flip_lab.analysis import estimate
from flip_lab.analysis.estimates import BandKind
from flip_lab.core.errors import AnalysisError

FIVE = (0.80, 0.82, 0.81, 0.79, 0.83)


def test_the_student_interval_by_hand() -> None:
    """Mean 0.81, s = √(0.001 / 4), t₄ = 2.776445 from the table."""
    found = estimate(FIVE)
    reach = 2.776445 * (0.001 / 4) ** 0.5 / 5**0.5
    assert found.centre == pytest.approx(0.81)
    assert found.low == pytest.approx(0.81 - reach, abs=1e-8)
    assert found.high == pytest.approx(0.81 + reach, abs=1e-8)
    assert (found.num_seeds, found.num_lost, found.note) == (5, 0, "")


def test_the_student_interval_is_scipys() -> None:
    """At another confidence, against scipy's t interval."""
    low, high = stats.t.interval(0.8, 4, loc=np.mean(FIVE), scale=stats.sem(FIVE))
    found = estimate(FIVE, confidence=0.8)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_bootstrap_interval_is_scipys_and_does_not_depend_on_order() -> None:
    """BCa with a fixed generator over the sorted values; few seeds are said."""
    many = np.random.default_rng(3).exponential(size=12)
    reference: Any = stats.bootstrap(
        (np.sort(many),), np.mean, n_resamples=4999, rng=np.random.default_rng(0)
    )
    found = estimate(many, kind="bootstrap")
    assert found.low == pytest.approx(reference.confidence_interval.low)
    assert found.high == pytest.approx(reference.confidence_interval.high)
    assert found == estimate(many[::-1], kind="bootstrap")
    assert found.note == ""
    assert estimate(FIVE, kind="bootstrap").note == "few seeds: too narrow"


def test_quartiles_by_hand() -> None:
    """Median 3 with the middle half from 2 to 4."""
    found = estimate([5, 1, 2, 4, 3], kind="quartiles")
    assert (found.low, found.centre, found.high) == (2, 3, 4)


def test_one_value_has_no_interval_and_none_no_centre() -> None:
    """An interval of one seed would be invented; the note says so."""
    one = estimate([0.5])
    assert (one.centre, one.low, one.high) == (0.5, None, None)
    assert one.note == "one seed: no interval"
    none = estimate([float("nan"), float("inf")])
    assert (none.centre, none.num_seeds, none.num_lost) == (None, 0, 2)
    assert none.note == "no finite value; 2 of 2 without a finite value"
    assert estimate([]).centre is None


def test_values_that_are_not_finite_are_counted_not_used() -> None:
    """The centre is that of the others."""
    found = estimate([*FIVE, float("nan"), float("-inf")])
    assert found.centre == pytest.approx(0.81)
    assert found.note == "2 of 7 without a finite value"


def test_seeds_that_agree_have_an_interval_of_no_width() -> None:
    """BCa is not defined there; the answer is."""
    found = estimate([0.5, 0.5, 0.5], kind="bootstrap")
    assert (found.low, found.high, found.note) == (0.5, 0.5, "all seeds agree")


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 95.0, float("nan")])
def test_a_confidence_outside_its_range_is_refused(confidence: float) -> None:
    """95 is meant as 0.95; we do not guess."""
    with pytest.raises(AnalysisError, match=r"FLIP-420.*confidence = "):
        estimate(FIVE, confidence=confidence)


def test_an_unknown_kind_is_refused() -> None:
    """The message lists the kinds."""
    with pytest.raises(AnalysisError, match="Did you mean 'student'"):
        estimate(FIVE, kind="students")  # pyright: ignore[reportArgumentType]  # wrong


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("student", 0.92, 0.98), ("bootstrap", 0.75, 0.92)]
)
def test_how_often_an_interval_of_five_seeds_holds_the_mean(
    kind: BandKind, least: float, most: float
) -> None:
    """Student's as often as it says, the bootstrap's visibly less: see the page."""
    samples = np.random.default_rng(1).normal(size=(300, 5))
    found = [estimate(values, kind=kind) for values in samples]
    held = [
        each.low <= 0 <= each.high
        for each in found
        if each.low is not None and each.high is not None
    ]
    assert len(held) == 300
    assert least < np.mean(held) < most


MODEST = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=9)


@given(values=MODEST, shift=st.integers(-500, 500), scale=st.sampled_from([0.5, 2.0, 4.0]))
def test_an_interval_moves_and_stretches_with_its_values(
    values: list[float], shift: int, scale: float
) -> None:
    """Scale and shift, which floats of this size do exactly."""
    before = estimate(values)
    after = estimate([scale * value + shift for value in values])
    for end in ("centre", "low", "high"):
        expected = scale * getattr(before, end) + shift
        assert getattr(after, end) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert before.low is not None
    assert before.high is not None
    assert before.centre is not None
    assert before.low <= before.centre <= before.high


@given(
    values=st.lists(st.floats(), max_size=8), kind=st.sampled_from(["student", "quartiles"])
)
def test_no_values_raise_or_give_what_is_not_finite(values: list[float], kind: Any) -> None:  # noqa: ANN401  # a literal
    """Infinities, NaN and the largest floats come out as numbers or None."""
    found = estimate(values, kind=kind)
    for end in (found.centre, found.low, found.high):
        assert end is None or np.isfinite(end)
