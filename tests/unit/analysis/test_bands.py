"""Bands and smoothing: by hand, and never across a gap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.analysis import Smoothing, bands, smooth
from flip_lab.analysis.smoothing import stretches
from flip_lab.core.errors import AnalysisError

NAN = float("nan")


def curve(points: dict[int, float], *, run_id: str = "r", group: str = "g") -> pd.DataFrame:
    """Give one run's curve."""
    return pd.DataFrame(
        {
            "group": group,
            "run_id": run_id,
            "server_round": list(points),
            "value": list(points.values()),
        }
    )


def test_a_band_by_hand_and_who_is_in_it() -> None:
    """Three runs: one ends early, one diverges; t₂ = 4.302653."""
    curves = pd.concat(
        [
            curve({1: 0.1, 2: 0.2, 3: 0.4}, run_id="a"),
            curve({1: 0.2, 2: 0.3, 3: NAN}, run_id="b"),
            curve({1: 0.3}, run_id="c"),
        ]
    )
    found = bands(curves)
    assert list(found["centre"]) == pytest.approx([0.2, 0.25, 0.4])
    reach = 4.302653 * 0.1 / 3**0.5
    assert found["low"].iloc[0] == pytest.approx(0.2 - reach, abs=1e-7)
    assert found["high"].iloc[0] == pytest.approx(0.2 + reach, abs=1e-7)
    assert list(found["num_seeds"]) == [3, 2, 1]
    assert list(found["num_missing"]) == [0, 1, 1]
    assert list(found["num_diverged"]) == [0, 0, 1]
    assert np.isnan(found["low"].iloc[2])
    assert found["note"].iloc[2].startswith("one seed: no interval")


def test_groups_keep_their_order_and_quartiles_are_a_kind() -> None:
    """The second group of the frame stays second; the median is of its runs."""
    curves = pd.concat(
        [curve({1: 1.0}, group="z"), curve({1: 2.0}, group="a", run_id="s")]
        + [curve({1: value}, group="a", run_id=f"t{value}") for value in (4.0, 9.0)]
    )
    found = bands(curves, kind="quartiles")
    assert list(found["group"]) == ["z", "a"]
    assert found.iloc[1][["low", "centre", "high"]].tolist() == [3.0, 4.0, 6.5]


def test_an_empty_frame_gives_an_empty_band() -> None:
    """With the columns that a view expects."""
    assert list(bands(curve({})).columns)[:5] == [
        "group",
        "server_round",
        "centre",
        "low",
        "high",
    ]


def test_an_average_of_the_past_by_hand() -> None:
    """Span 3 weighs 1/2, 1/4, …, divided by their sum."""
    found = smooth(curve({1: 1.0, 2: 2.0, 3: 4.0}), Smoothing(span=3))
    assert list(found["value"]) == pytest.approx([1.0, 5 / 3, (4 + 1 + 0.25) / 1.75])


def test_a_centred_mean_by_hand() -> None:
    """At the ends, of those that exist."""
    found = smooth(curve({1: 1.0, 2: 2.0, 3: 6.0}), Smoothing(kind="centred", span=3))
    assert list(found["value"]) == pytest.approx([1.5, 3.0, 4.0])


@pytest.mark.parametrize("kind", ["ema", "centred"])
def test_smoothing_stops_at_a_gap_and_starts_anew(kind: Any) -> None:  # noqa: ANN401  # a literal
    """What comes before a NaN, an infinity or a hole does not show after it."""
    before = {1: 100.0, 2: 100.0, 3: NAN}
    after = {4: 1.0, 5: 1.0, 9: 7.0, 10: 7.0}
    found = smooth(curve({**before, **after}), Smoothing(kind=kind, span=5))
    assert list(found["value"]) == pytest.approx([100, 100, NAN, 1, 1, 7, 7], nan_ok=True)


def test_a_run_evaluated_every_fifth_round_has_no_gaps() -> None:
    """A gap is a step larger than the run's usual one; the last step may be smaller."""
    rounds = np.array([0, 5, 10, 15, 17, 30])
    assert stretches(rounds, np.ones(6)) == [slice(0, 5), slice(5, 6)]
    assert stretches(np.array([], dtype=np.int64), np.array([])) == []


def test_smoothing_keeps_rows_and_order() -> None:
    """Rows of other runs in between do not mix in."""
    curves = pd.concat([curve({2: 2.0, 1: 1.0}), curve({1: 9.0, 2: 9.0}, run_id="s")])
    found = smooth(curves.iloc[[3, 0, 2, 1]], Smoothing(span=1))
    assert list(found["value"]) == [9.0, 2.0, 9.0, 1.0]


def test_wrong_smoothing_is_refused() -> None:
    """A kind that is none, a window without points, an alpha of a band."""
    with pytest.raises(AnalysisError, match="span = 0"):
        Smoothing(span=0)
    with pytest.raises(AnalysisError, match="'centred'"):
        Smoothing(kind="centered")  # pyright: ignore[reportArgumentType]  # wrong
    with pytest.raises(AnalysisError, match="confidence = 1"):
        bands(curve({1: 1.0}), confidence=1)


VALUES = st.lists(st.one_of(st.floats(-10, 10), st.just(NAN)), min_size=1, max_size=12)


@given(values=VALUES, span=st.integers(1, 6), kind=st.sampled_from(["ema", "centred"]))
def test_a_smoothed_value_lies_within_its_stretch(
    values: list[float],
    span: int,
    kind: Any,  # noqa: ANN401  # a literal
) -> None:
    """Never beyond the values of its own stretch, and gaps stay where they are."""
    found = smooth(curve(dict(enumerate(values))), Smoothing(kind=kind, span=span))
    smoothed = found["value"].to_numpy()
    given_values = np.array(values)
    assert np.isnan(smoothed).tolist() == np.isnan(given_values).tolist()
    for inside in stretches(np.arange(len(values)), given_values):
        low, high = given_values[inside].min(), given_values[inside].max()
        assert (smoothed[inside] >= low - 1e-9).all()
        assert (smoothed[inside] <= high + 1e-9).all()
