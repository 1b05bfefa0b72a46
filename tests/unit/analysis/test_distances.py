"""Distances between label distributions: by hand, against scipy, and what always holds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from flip_lab.analysis import (
    distances_between,
    distances_to_whole,
    gini,
    label_skew,
    skew_summary,
)
from flip_lab.analysis.distances import DISTANCES, Distance
from flip_lab.core.errors import AnalysisError

EITHER_OR = np.array([[4, 0], [0, 4]])
THREE = np.array([[2, 2, 0], [0, 0, 8], [1, 1, 2]])
SOME = arrays(np.int64, (4, 5), elements=st.integers(0, 20))


@pytest.mark.parametrize("distance", DISTANCES)
def test_nodes_that_share_no_label_are_farthest_apart(distance: Distance) -> None:
    """All three are 1 between two labels; half of that, or its root, to the mixture."""
    np.testing.assert_allclose(distances_between(EITHER_OR, distance), [[0, 1], [1, 0]])
    mixture = {"jensen_shannon": math.sqrt(1 - 0.75 * math.log2(3) + 0.5)}
    np.testing.assert_allclose(
        distances_to_whole(EITHER_OR, distance), [mixture.get(distance, 0.5)] * 2
    )


def test_total_variation_by_hand() -> None:
    """Half the sum of the differences; the whole holds 3, 3 and 10 of 16 examples."""
    between = distances_between(THREE)
    np.testing.assert_allclose(between, [[0, 1, 0.5], [1, 0, 0.5], [0.5, 0.5, 0]])
    np.testing.assert_allclose(distances_to_whole(THREE), [0.625, 0.375, 0.125])


def test_the_earth_mover_walks_along_the_labels() -> None:
    """From half 0 and half 1 to all 2: half an example walks two steps, half walks one."""
    apart = distances_between(THREE, "earth_mover")
    assert apart[0, 1] == pytest.approx(1.5)
    far = distances_between(THREE, "earth_mover", positions=np.array([0.0, 1.0, 11.0]))
    assert far[0, 1] == pytest.approx(10.5)


@given(SOME)
def test_each_agrees_with_scipy(counts: np.ndarray) -> None:
    """Pair by pair, as scipy computes one pair."""
    counts = counts + np.eye(4, 5, dtype=np.int64)  # nobody is without examples
    places = np.array([0.0, 1.0, 4.0, 6.0, 7.0])
    shannon = distances_between(counts, "jensen_shannon")
    walked = distances_between(counts, "earth_mover", positions=places)
    for one in range(4):
        for other in range(4):
            p, q = counts[one], counts[other]
            expected = jensenshannon(p, q, base=2)
            assert shannon[one, other] == pytest.approx(expected, abs=1e-7)
            expected = stats.wasserstein_distance(places, places, p, q)
            assert walked[one, other] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("distance", "most"),
    [("total_variation", 1), ("jensen_shannon", 1), ("earth_mover", 4)],
)
@given(counts=SOME)
def test_they_are_distances(distance: Distance, most: float, counts: np.ndarray) -> None:
    """0 for equals, symmetric, bounded, and no detour is shorter; NaN without examples."""
    apart = distances_between(counts, distance)
    has_some = counts.sum(axis=1) > 0
    assert (np.isfinite(apart) == np.outer(has_some, has_some)).all()
    apart = apart[np.ix_(has_some, has_some)]
    np.testing.assert_allclose(np.diag(apart), 0, atol=1e-7)
    np.testing.assert_allclose(apart, apart.T, atol=1e-12)
    assert (apart >= 0).all()
    assert (apart <= most + 1e-9).all()
    detours = apart[:, :, None] + apart[None, :, :]
    assert (apart[:, None, :] <= detours + 1e-7).all()
    scaled = distances_between(counts * 3, distance)[np.ix_(has_some, has_some)]
    np.testing.assert_allclose(scaled, apart, atol=1e-7)


def test_a_single_label_leaves_nothing_to_compare() -> None:
    """Everybody holds the same."""
    for distance in DISTANCES:
        np.testing.assert_array_equal(distances_between(np.array([[3], [5]]), distance), 0)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([5, 5, 5], 0.0), ([0, 0, 9], 2 / 3), ([1, 3], 0.25), ([7], 0.0)],
)
def test_gini_by_hand(sizes: list[int], expected: float) -> None:
    """0 for equals, 1 - 1/n when one node has it all."""
    assert gini(sizes) == pytest.approx(expected)
    assert math.isnan(gini([0, 0]))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_gini_is_the_mean_difference_of_all_pairs(sizes: list[int]) -> None:
    """Its definition, whatever the order."""
    if sum(sizes):
        held = np.array(sizes, dtype=float)
        expected = np.abs(held[:, None] - held).mean() / (2 * held.mean())
        assert gini(sizes) == pytest.approx(expected, abs=1e-12)
        assert 0 <= gini(sizes) < 1


def test_a_summary_names_the_worst_node() -> None:
    """Sizes, labels held, mean and worst distance; an empty node counts as one."""
    told = skew_summary(np.vstack([THREE, [0, 0, 0]]))
    assert (told.num_nodes, told.num_labels, told.num_examples) == (4, 3, 16)
    assert (told.smallest, told.median, told.largest) == (0, 4.0, 8)
    assert told.labels_per_node == 1.5
    assert told.mean == pytest.approx(0.375)
    assert (told.worst, told.worst_node) == (0.625, 0)
    nothing = skew_summary(np.zeros((2, 2)))
    assert nothing.worst_node == -1
    assert math.isnan(nothing.mean)


def test_the_table_has_a_row_for_each_node() -> None:
    """Ten comes after nine; labels keep their order; names stay."""
    frame = pd.DataFrame(
        {
            "partition_id": [10, 10, 9, 9],
            "label": ["b", "a", "b", "a"],
            "num_examples": [0, 4, 4, 0],
            "node": ["Hungary", "Hungary", "Cleveland", "Cleveland"],
        }
    )
    told = label_skew(frame)
    assert list(told["partition_id"]) == [9, 10]
    assert list(told["node"]) == ["Cleveland", "Hungary"]
    assert list(told["num_labels"]) == [1, 1]
    assert list(told["total_variation"]) == [0.5, 0.5]
    assert "node" not in label_skew(frame.drop(columns="node")).columns
    with pytest.raises(AnalysisError, match="label, num_examples"):
        label_skew(frame[["partition_id"]])


@pytest.mark.parametrize("counts", [[], [1, 2], [[1, -1]], [[math.nan, 1]]])
def test_what_are_no_counts_is_refused(counts: list[object]) -> None:
    """With the shape that came."""
    with pytest.raises(AnalysisError, match="shape"):
        distances_between(np.asarray(counts))


def test_unknown_distances_and_disorder_are_refused() -> None:
    """The message names the nearest distance."""
    with pytest.raises(AnalysisError, match="'total_variation'"):
        distances_between(EITHER_OR, "total_variaton")  # pyright: ignore[reportArgumentType]
    for places in ([1.0], [1.0, 0.0]):
        with pytest.raises(AnalysisError, match="in order"):
            distances_between(EITHER_OR, "earth_mover", positions=np.array(places))
