"""How unlike the label distributions of nodes are: to each other, and to the whole.

All functions take *counts*: how many examples of each label each node holds, shape
``(num_nodes, num_labels)``, finite and 0 or more. A node without examples has no
distribution: its distances are NaN.

Sources:
    Total variation: half the L1 distance that Zhao et al. measure skew by ("Federated
    Learning with Non-IID Data", arXiv:1806.00582, section 3). Jensen-Shannon: Endres and
    Schindelin, "A new metric for probability distributions", IEEE Trans. Inf. Theory 49,
    2003. Earth mover: Rubner, Tomasi and Guibas, "The Earth Mover's Distance as a Metric
    for Image Retrieval", IJCV 40, 2000. Gini: its definition by mean absolute differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.scientific import distances_between_rows
from flip_lab.core.errors import AnalysisError, nearest

Distance: TypeAlias = Literal["total_variation", "jensen_shannon", "earth_mover"]
"""How two label distributions are compared, see ``distances_between``."""

DISTANCES: tuple[Distance, ...] = get_args(Distance)

DISTANCE_WORDS: Mapping[Distance, str] = MappingProxyType(
    {
        "total_variation": "total variation",
        "jensen_shannon": "Jensen-Shannon distance",
        "earth_mover": "earth mover's distance",
    }
)

Counts: TypeAlias = npt.NDArray[np.int64] | Reals


def distances_to_whole(
    counts: Counts,
    distance: Distance = "total_variation",
    *,
    positions: Reals | None = None,
) -> Reals:
    """Compare each node's labels with those of all nodes together.

    Args:
        counts: Examples by node and label.
        distance: See ``distances_between``; the range is the same.
        positions: As there.

    Returns:
        One distance a node, shape ``(num_nodes,)``; NaN for a node without examples.

    Raises:
        AnalysisError: If the counts will not do, or there is no such distance.
    """
    held = checked_counts(counts)
    whole = held.sum(axis=0, keepdims=True)
    return _distances(held, whole, distance, positions)[:, 0]


def distances_between(
    counts: Counts,
    distance: Distance = "total_variation",
    *,
    positions: Reals | None = None,
) -> Reals:
    """Compare each node's labels with each other node's.

    Let p and q be the shares of the labels on two nodes.

    Args:
        counts: Examples by node and label.
        distance: ``"total_variation"``: half the sum of ``|p - q|``, the share of examples
            that would have to change their label; 0 to 1. ``"jensen_shannon"``: the square
            root of half the sum of ``p log2(p / m) + q log2(q / m)`` with
            ``m = (p + q) / 2``; 0 to 1. ``"earth_mover"``: how far the examples would have
            to move along labels that have an order (Wasserstein-1); 0 to the distance of
            the outermost labels.
        positions: Where each label lies, rising, shape ``(num_labels,)``; for
            ``"earth_mover"`` only. Default: one label is one step, so that the range is 0
            to ``num_labels - 1``.

    Returns:
        Shape ``(num_nodes, num_nodes)``: symmetric, 0 on the diagonal; NaN where a node
        has no examples. It takes memory for all pairs.

    Raises:
        AnalysisError: If the counts will not do, or there is no such distance.
    """
    held = checked_counts(counts)
    return _distances(held, held, distance, positions)


def gini(sizes: npt.ArrayLike) -> float:
    """Measure how unequal sizes are.

    The mean absolute difference of all pairs, over twice the mean; computed from the
    sorted sizes x as ``sum((2 i - n - 1) x_i) / (n sum(x))``, i from 1 to n.

    Args:
        sizes: Examples of each node, 0 or more.

    Returns:
        0 when all are equal, ``1 - 1 / n`` when one node has everything; NaN when there
        is nothing to share out.
    """
    ordered = np.sort(np.asarray(sizes, dtype=np.float64))
    total = float(ordered.sum())
    if total <= 0:
        return float("nan")
    number = ordered.size
    weights = 2 * np.arange(1, number + 1) - number - 1
    return float(weights @ ordered) / (number * total)


def checked_counts(counts: Counts) -> Reals:
    """Give counts as floats.

    Raises:
        AnalysisError: If they are no counts by node and label, or there are none.
    """
    held = np.asarray(counts, dtype=np.float64)
    if held.ndim != 2 or not held.size or not np.isfinite(held).all() or (held < 0).any():  # noqa: PLR2004  # nodes and labels
        raise AnalysisError(
            f"These counts, of shape {held.shape}, are none of examples by node and label.",
            fix="Pass finite numbers of 0 or more, one row a node and one column a label.",
        )
    return held


def _distances(
    held: Reals, others: Reals, distance: Distance, positions: Reals | None
) -> Reals:
    mine, theirs = _shares(held), _shares(others)
    match distance:
        case "total_variation":
            found = distances_between_rows(mine, theirs, "cityblock") / 2
        case "jensen_shannon":
            # scipy takes natural logarithms
            found = distances_between_rows(mine, theirs, "jensenshannon") / np.log(2) ** 0.5
        case "earth_mover":
            steps = _steps(positions, held.shape[1])
            risen = [np.cumsum(each, axis=1)[:, :-1] * steps for each in (mine, theirs)]
            found = distances_between_rows(risen[0], risen[1], "cityblock")
        case _:
            raise AnalysisError(
                f"There is no distance {distance!r}.", fix=nearest(distance, DISTANCES)
            )
    return found


def _shares(held: Reals) -> Reals:
    totals = held.sum(axis=1, keepdims=True)
    return np.divide(held, totals, out=np.full_like(held, np.nan), where=totals > 0)


def _steps(positions: Reals | None, num_labels: int) -> Reals:
    if positions is None:
        return np.ones(num_labels - 1)
    steps = np.diff(np.asarray(positions, dtype=np.float64))
    if steps.size != num_labels - 1 or not (steps > 0).all():
        raise AnalysisError(
            f"{len(positions)} positions do not put {num_labels} labels in order.",
            fix="Pass one rising number for each label.",
        )
    return steps
