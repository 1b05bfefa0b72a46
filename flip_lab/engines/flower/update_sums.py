"""Norms and cosines of many clients' updates, without a second copy of their arrays.

All replies are gone through block by block, side by side, so that what is worked on stays
in the processor's cache. Sums are of single precision first, in half the time; where those
overflow or vanish, they are done again in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reals: TypeAlias = NDArray[np.float64]
Values: TypeAlias = dict[str, NDArray[Any]]

_BLOCK_BYTES = 1_000_000  # of all replies together
_LEAST_BLOCK, _MOST_BLOCK = 1_024, 32_768
_FAINT = 1e-24  # of a sum of squares: some of its terms may have vanished


def difference(values: Values, before: Values) -> Values:
    """Give what one client changed, by array; arrays of whole numbers are left out."""
    with np.errstate(all="ignore"):
        return {
            name: np.subtract(each, before[name], dtype=before[name].dtype)
            for name, each in values.items()
            if is_like(each, before.get(name)) and before[name].dtype.kind == "f"
        }


def is_like(values: NDArray[Any], before: NDArray[Any] | None) -> bool:
    """Whether one array is an update of another."""
    is_number = values.dtype.kind in "fiu"
    return is_number and before is not None and values.shape == before.shape


def shares_of(weights: Sequence[float]) -> Reals:
    """Give what each client counts, 1 in all; alike where nobody reports examples."""
    counted = np.asarray(weights, dtype=np.float64)
    is_usable = np.isfinite(counted).all() and (counted >= 0).all() and counted.sum() > 0
    counted = counted if is_usable else np.ones(counted.shape)
    return counted / (counted.sum() or 1.0)


def measure(
    clients: Sequence[Values], before: Values, weights: Sequence[float]
) -> tuple[Reals, Reals]:
    """Give norms by client and layer, and cosines with the mean of who did not diverge.

    Args:
        clients: What they replied.
        before: What they were sent: arrays of floating point numbers.
        weights: How much each client counts.
    """
    cosines = np.full(len(clients), np.nan)
    if not clients:
        return np.zeros((0, len(before))), cosines
    sums = _precise_sums(clients, before, weights)
    layer_norms = np.sqrt(sums.squares)
    is_good = np.isfinite(sums.squares.sum(axis=1))
    if is_good.any():
        if not is_good.all():
            kept = [at for at, keep in enumerate(is_good) if keep]
            shares = shares_of([weights[at] for at in kept])
            sums = _sums([clients[at] for at in kept], before, shares, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths = np.sqrt(sums.squares.sum(axis=1) * sums.mean_square)
            cosines[is_good] = np.clip(sums.dots / lengths, -1.0, 1.0)
    return layer_norms, cosines


def norm_of(values: Values, before: Values) -> float:
    """Give the L2 norm of one client's update."""
    if _is_single(before):
        square = _square(values, before, np.float32)
        if _is_precise(np.array([square])):
            return math.sqrt(square)
    return float(np.sqrt(_square(values, before, np.float64)))


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Squares of the updates by client and layer, and their products with the mean."""

    squares: Reals
    dots: Reals
    mean_square: float


def _precise_sums(
    clients: Sequence[Values], before: Values, weights: Sequence[float]
) -> _Sums:
    shares = shares_of(weights)
    if _is_single(before):
        sums = _sums(clients, before, shares, np.float32)
        if _is_precise(sums.squares.sum(axis=1)):
            return sums
    return _sums(clients, before, shares, np.float64)


def _is_single(before: Values) -> bool:
    return all(each.dtype.itemsize <= np.float32().itemsize for each in before.values())


def _is_precise(squares: Reals) -> bool:
    """Whether sums of single precision will do: they may have overflown, or vanished."""
    return bool(((squares > _FAINT) & np.isfinite(squares)).all())


def _square(values: Values, before: Values, dtype: type[np.float32 | np.float64]) -> float:
    with np.errstate(all="ignore"):
        return sum(
            float(np.einsum("ij,ij->", part, part))
            for name, base in before.items()
            for part in _differences([values.get(name)], base, dtype)
        )


def _sums(
    clients: Sequence[Values],
    before: Values,
    shares: Reals,
    dtype: type[np.float32 | np.float64],
) -> _Sums:
    squares = np.zeros((len(clients), len(before)))
    dots = np.zeros(len(clients))
    mean_square = 0.0
    weights = shares.astype(dtype)
    with np.errstate(all="ignore"):
        for layer, (name, values) in enumerate(before.items()):
            for part in _differences([each.get(name) for each in clients], values, dtype):
                mean = np.einsum("i,ij->j", weights, part)
                squares[:, layer] += np.einsum("ij,ij->i", part, part)
                dots += np.einsum("ij,j->i", part, mean)
                mean_square += float(np.einsum("j,j->", mean, mean))
    return _Sums(squares=squares, dots=dots, mean_square=mean_square)


def _differences(
    replied: Sequence[NDArray[Any] | None],
    before: NDArray[Any],
    dtype: type[np.float32 | np.float64],
) -> Iterator[NDArray[Any]]:
    """Give one array's updates block by block, clients × elements, in the same memory."""
    base = before.reshape(-1)
    flat = [
        (at, values.reshape(-1))
        for at, values in enumerate(replied)
        if values is not None and is_like(values, before)
    ]
    block = _BLOCK_BYTES // (len(replied) * dtype().itemsize)
    block = min(max(block, _LEAST_BLOCK), _MOST_BLOCK)
    rows = np.zeros((len(replied), min(block, base.size)), dtype)
    for start in range(0, base.size, block):
        here = slice(start, start + block)
        part = rows[:, : base[here].size]
        for at, values in flat:
            np.subtract(values[here], base[here], out=part[at], dtype=dtype)
        yield part
