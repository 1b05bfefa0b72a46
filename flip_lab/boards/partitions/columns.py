"""Many nodes as a few columns: put in order, and drawn together where they are too many."""

from __future__ import annotations

from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import Reals
from flip_lab.boards.partitions.choice import Order

Places: TypeAlias = npt.NDArray[np.int64]

MOST_COLUMNS = 240
"""Columns of the picture; more could not be told apart on a notebook's page."""

MOST_NAMED = 60
"""Nodes up to which they come by number, unless another order is asked for."""

MOST_ROWS = 64
"""Labels that are drawn; of more, neighbours share a row."""

PER_MILLE = 1000


class Columns(TypedDict):
    """Nodes side by side; each list has one entry a column.

    Attributes:
        node: Partition of the column's first node.
        num_nodes: How many nodes it stands for.
        size: Their mean number of examples.
        smallest: The fewest examples among them.
        largest: The most.
        distance: Their mean distance to the whole; null without examples.
        worst: Their largest distance.
        shares: For each row of labels, mean shares in per mille.
        counts: For each row of labels, examples; empty where columns stand for several.
    """

    node: list[int]
    num_nodes: list[int]
    size: list[float]
    smallest: list[int]
    largest: list[int]
    distance: list[float | None]
    worst: list[float | None]
    shares: list[list[int]]
    counts: list[list[int]]


def order_of(counts: Reals, distances: Reals, order: Order) -> Places:
    """Put nodes in order.

    Args:
        counts: Examples by node and label.
        distances: Each node's distance to the whole.
        order: See ``Order``.

    Returns:
        Positions of the nodes; by number among equals.
    """
    number = counts.shape[0]
    if order == "auto":
        order = "number" if number <= MOST_NAMED else "label"
    if order == "size":
        sizes: Reals = counts.sum(axis=1)
        return np.argsort(-sizes, kind="stable")
    if order == "distance":
        return np.argsort(-np.nan_to_num(distances, nan=-1.0), kind="stable")
    if order == "label":
        main: Places = counts.argmax(axis=1)
        held = shares_of(counts)[np.arange(number), main]
        return np.lexsort((-held, main))
    return np.arange(number, dtype=np.int64)


def columns_of(counts: Reals, distances: Reals, order: Places) -> Columns:
    """Put nodes into columns.

    Args:
        counts: Examples by node and row of labels.
        distances: Each node's distance to the whole; NaN without examples.
        order: Positions of the nodes, from left to right.

    Returns:
        At most ``MOST_COLUMNS``, each for about as many nodes.
    """
    number = order.size
    width = min(number, MOST_COLUMNS)
    starts = np.linspace(0, number, width + 1).astype(np.int64)[:-1]
    many = np.diff(np.append(starts, number))
    sizes = counts.sum(axis=1)[order]
    apart = distances[order]
    known = np.isfinite(apart)
    told = np.add.reduceat(known, starts, dtype=np.int64)
    total = np.add.reduceat(np.where(known, apart, 0.0), starts)
    mean = np.divide(total, told, out=np.full(width, np.nan), where=told > 0)
    worst = np.maximum.reduceat(np.where(known, apart, -np.inf), starts)
    shares = np.add.reduceat(shares_of(counts)[order], starts, axis=0) / many[:, None]
    single = width == number
    return Columns(
        node=order[starts].tolist(),
        num_nodes=many.tolist(),
        size=np.round(np.add.reduceat(sizes, starts) / many, 1).tolist(),
        smallest=np.minimum.reduceat(sizes, starts).astype(np.int64).tolist(),
        largest=np.maximum.reduceat(sizes, starts).astype(np.int64).tolist(),
        distance=numbers(mean),
        worst=numbers(worst),
        shares=per_mille(shares.T),
        counts=counts[order].T.astype(np.int64).tolist() if single else [],
    )


def shares_of(counts: Reals) -> Reals:
    """Give each node's shares of the labels; 0 for a node without examples."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)


def rows_of(counts: Reals, labels: tuple[str, ...]) -> tuple[Reals, list[str]]:
    """Put labels into rows that a screen has room for.

    Returns:
        Examples by node and row, and the name of each row, such as ``7`` or ``10 to 19``.
    """
    number = len(labels)
    if number <= MOST_ROWS:
        return counts, [*labels]
    starts = np.linspace(0, number, MOST_ROWS + 1).astype(np.int64)[:-1]
    firsts: list[int] = starts.tolist()
    names = [
        labels[first] if last - first == 1 else f"{labels[first]} to {labels[last - 1]}"
        for first, last in zip(firsts, [*firsts[1:], number], strict=True)
    ]
    return np.add.reduceat(counts, starts, axis=1), names


def per_mille(shares: Reals) -> list[list[int]]:
    """Give shares in per mille; what is there at all has 1 or more."""
    told = np.round(shares * PER_MILLE)
    return np.where(shares > 0, np.maximum(told, 1), 0).astype(np.int64).tolist()


def numbers(values: Reals) -> list[float | None]:
    """Give numbers that JSON can hold, to four digits; null unless they are finite."""
    return [float(f"{each:.4g}") if np.isfinite(each) else None for each in values]
