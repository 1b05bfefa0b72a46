"""Keep of a long curve what a screen can show."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Reals: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]

ALL_POINTS = 30_000
"""Points of a picture in all: with their positions some hundred KB."""

LINE_POINTS = 400
"""Points of one curve: more than one for each two pixels nobody can see."""

FEWEST_POINTS = 24
"""Points that a curve keeps however many curves there are."""


def points_for(num_lines: int) -> int:
    """Say how many points each curve may have.

    Args:
        num_lines: Curves in the picture, all panels together.
    """
    share = ALL_POINTS // max(num_lines, 1)
    return min(max(share, FEWEST_POINTS), LINE_POINTS)


def kept(values: Reals, at_most: int) -> Places:
    """Choose points so that peaks, gaps and both ends stay.

    The curve is cut into equal stretches; of each its lowest and its highest value stay,
    and the first one that is not finite.

    Args:
        values: The curve; NaN and the infinities are welcome.
        at_most: Points to keep, 8 or more.

    Returns:
        Rising positions, at most so many; all of them when there are no more.
    """
    if values.size <= at_most:
        return np.arange(values.size)
    finite = np.isfinite(values)
    each = 2 if finite.all() else 3
    edges = np.linspace(0, values.size, (at_most - 2) // each + 1).astype(np.int64)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    found = {0, values.size - 1}
    for start, stop in pairwise(edges.tolist()):
        found.add(start + int(low[start:stop].argmin()))
        found.add(start + int(high[start:stop].argmax()))
        if each > 2:  # noqa: PLR2004  # there are gaps
            found.add(start + int(finite[start:stop].argmin()))
    return np.array(sorted(int(place) for place in found), dtype=np.int64)
