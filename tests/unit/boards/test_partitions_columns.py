"""Nodes as columns: in order, and drawn together where they are too many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.analysis import distances_to_whole
from flip_lab.boards.partitions.choice import ORDERS, Order
from flip_lab.boards.partitions.columns import (
    MOST_COLUMNS,
    MOST_ROWS,
    columns_of,
    order_of,
    rows_of,
)

HELD = np.array([[0.0, 9.0], [5.0, 0.0], [2.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("auto", [0, 1, 2, 3]),
        ("number", [0, 1, 2, 3]),
        ("size", [0, 1, 2, 3]),
        ("label", [1, 2, 3, 0]),
        ("distance", [1, 0, 2, 3]),
    ],
)
def test_orders(order: Order, expected: list[int]) -> None:
    """By hand; nodes without examples come last where it matters."""
    apart = distances_to_whole(HELD)
    assert order_of(HELD, apart, order).tolist() == expected


def test_many_nodes_come_by_their_main_label() -> None:
    """By number they would only be noise."""
    many = np.tile(HELD, (20, 1))
    apart = distances_to_whole(many)
    chosen = order_of(many, apart, "auto")
    assert chosen.tolist() == order_of(many, apart, "label").tolist()


@given(st.integers(1, 2_000), st.sampled_from(ORDERS))
def test_no_node_is_lost(number: int, order: Order) -> None:
    """However many columns there are, they stand for all nodes and all examples."""
    counts = np.random.default_rng(number).integers(0, 9, (number, 3)).astype(float)
    apart = distances_to_whole(counts) if counts.sum() else np.full(number, math.nan)
    places = order_of(counts, apart, order)
    assert sorted(places.tolist()) == list(range(number))
    told = columns_of(counts, apart, places)
    assert len(told["node"]) == min(number, MOST_COLUMNS)
    assert sum(told["num_nodes"]) == number
    assert max(told["largest"]) == counts.sum(axis=1).max()
    total = np.dot(told["size"], told["num_nodes"])
    assert total == pytest.approx(counts.sum(), abs=0.05 * number + 1e-6)
    assert bool(told["counts"]) == (number <= MOST_COLUMNS)
    for mean, worst in zip(told["distance"], told["worst"], strict=True):
        assert (mean is None) == (worst is None)
        if mean is not None and worst is not None:
            assert mean <= worst + 1e-9


def test_a_trace_of_a_label_is_seen() -> None:
    """A share below half a per mille is not drawn as none."""
    counts = np.array([[10_000.0, 1.0]])
    told = columns_of(counts, np.zeros(1), np.array([0]))
    assert told["shares"] == [[1000], [1]]


def test_many_labels_share_rows() -> None:
    """Neighbours do, and the name of a row says which."""
    counts = np.ones((2, 100))
    rows, names = rows_of(counts, tuple(map(str, range(100))))
    assert rows.shape == (2, MOST_ROWS)
    assert rows.sum() == 200
    assert (names[0], names[1]) == ("0", "1 to 2")
    few, same = rows_of(HELD, ("a", "b"))
    assert (few is HELD, same) == (True, ["a", "b"])
