"""What researchers' own code tells about a run: numbers, histograms, images, matrices.

``flip_lab.log`` takes them from ServerApp and ClientApp code alike. Who hears of them is
not the code's business: the run process, or the worker that carries out a client's call
(``flip_lab.core.listening``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flip_lab.core.errors import LogError
from flip_lab.core.events import Json
from flip_lab.core.png import png_of, png_size

MOST_BINS = 512
"""Bins that a histogram may have."""

MOST_CLASSES = 200
"""Classes that a confusion matrix may have."""

MOST_IMAGE_BYTES = 8 * 2**20
"""Length that an image may have, as PNG."""

LONGEST_NAME = 200
"""Letters that a name may have."""

_LARGEST = 1e300  # of a difference between two values; beyond, edges overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How values are spread.

    Attributes:
        edges: Limits of the bins, rising; one more than there are bins.
        counts: Values in each bin; the last bin holds its upper limit, too.
        num_not_finite: Values that are NaN or infinite, in no bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    num_not_finite: int = 0

    def to_json(self) -> dict[str, Json]:
        """Give the histogram as plain data."""
        return {
            "edges": list(self.edges),
            "counts": list(self.counts),
            "num_not_finite": self.num_not_finite,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture.

    Attributes:
        png: The picture as a PNG file.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    png: bytes
    width: int
    height: int

    def to_json(self) -> dict[str, Json]:
        """Give what is known of the picture without its bytes."""
        return {"width": self.width, "height": self.height, "size_bytes": len(self.png)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """How often each class was taken for each other.

    Attributes:
        counts: Row by row: of the examples of one class, how many were taken for each;
            sums of weights may be fractions.
        labels: Names of the classes.
    """

    counts: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Give the matrix as plain data."""
        return {"counts": [list(row) for row in self.counts], "labels": list(self.labels)}


Logged: TypeAlias = float | Histogram | Image | ConfusionMatrix
"""Anything that can be logged; numbers are floats by then."""

TYPES: Mapping[type, str] = {
    Histogram: "histogram",
    Image: "image",
    ConfusionMatrix: "confusion_matrix",
}
"""What the table ``logged`` calls them."""


def histogram(values: ArrayLike, *, bins: int | Sequence[float] = 64) -> Histogram:
    """Count values in bins, to be logged.

    Args:
        values: Numbers of any shape, such as a layer's weights; NaN and the infinities are
            counted apart. A tensor of torch must be on the CPU and without gradient.
        bins: How many bins of one width between the least and the greatest value, 1 to
            512; or their limits, rising. Values outside of given limits are not counted.

    Raises:
        LogError: If the values are no numbers, or the bins will not do.
    """
    numbers = _numbers("A histogram", values).ravel()
    is_good = np.abs(numbers) < _LARGEST  # false for NaN
    finite = numbers[is_good]
    edges = _equal_edges(finite, bins) if isinstance(bins, int) else _given_edges(bins)
    counts, _ = np.histogram(finite, bins=edges)
    return Histogram(
        edges=tuple(map(float, edges)),
        counts=tuple(map(int, counts)),
        num_not_finite=int(len(numbers) - len(finite)),
    )


def image(picture: ArrayLike | bytes) -> Image:
    """Make a picture to be logged.

    Args:
        picture: Bytes of a PNG file; or an array of shape ``(height, width)`` for grey,
            or ``(height, width, channels)`` with 1 to 4 channels, see ``png_of``. Whole
            numbers reach from 0 to 255, fractions from 0 to 1.

    Raises:
        LogError: If it is none of these, or too large (8,192 pixels a side, 8 MiB).
    """
    png = picture if isinstance(picture, bytes) else png_of(picture)
    size = png_size(png)
    if size is None:
        raise LogError(
            f"These {len(png)} bytes are no PNG file.",
            fix="Give an array of pixels, or the bytes of a PNG file.",
        )
    if len(png) > MOST_IMAGE_BYTES:
        raise LogError(
            f"The image has {len(png) / 2**20:.1f} MiB as PNG.",
            fix=f"Log a smaller one: at most {MOST_IMAGE_BYTES // 2**20} MiB.",
        )
    return Image(png=png, width=size[0], height=size[1])


def confusion_matrix(
    matrix: ArrayLike, *, labels: Sequence[object] | None = None
) -> ConfusionMatrix:
    """Make a confusion matrix to be logged.

    Args:
        matrix: Square, at most 200 × 200: in row i and column j, how many examples of
            class i were taken for class j (as ``sklearn.metrics.confusion_matrix`` gives
            it). Not negative.
        labels: Names of the classes; default: their numbers from 0.

    Raises:
        LogError: If the matrix or the labels will not do.
    """
    counts = _numbers("A confusion matrix", matrix)
    size = len(counts) if counts.ndim else 0
    if counts.shape != (size, size) or not 0 < size <= MOST_CLASSES:
        raise LogError(
            f"A confusion matrix cannot have the shape {counts.shape}.",
            fix=f"Give one row and one column for each class, at most {MOST_CLASSES}.",
        )
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise LogError(
            "A confusion matrix holds numbers that are negative or not finite.",
            fix="Give counts of examples.",
        )
    names = tuple(map(str, range(size) if labels is None else labels))
    if len(names) != size:
        raise LogError(
            f"{len(names)} labels do not name {size} classes.",
            fix="Give one label for each class, in the order of the rows.",
        )
    rows = cast("list[list[float]]", counts.tolist())
    return ConfusionMatrix(counts=tuple(map(tuple, rows)), labels=names)


def checked(name: object, value: object) -> Logged:
    """Give a value as it is kept.

    Args:
        name: What the app calls it.
        value: A number (also of NumPy or torch), or what the makers of this module give.

    Raises:
        LogError: If the name is no text of 1 to 200 letters, or the value no such thing.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise LogError(
            f"{str(name)[:LONGEST_NAME]!r} cannot name what is logged.",
            fix=f"Give a text of 1 to {LONGEST_NAME} letters.",
        )
    if isinstance(value, Histogram | Image | ConfusionMatrix):
        return value
    number = _number(value)
    if number is None:
        raise LogError(
            f"{name!r} is a {type(value).__name__}, which cannot be logged.",
            fix="Log a single number, or flip_lab.histogram(…), flip_lab.image(…) or "
            "flip_lab.confusion_matrix(…) of it.",
        )
    return number


def numbers_in(facts: Mapping[str, Logged]) -> dict[str, float]:
    """Give what is a single number, by name."""
    return {name: value for name, value in facts.items() if isinstance(value, int | float)}


def _number(value: Any) -> float | None:  # noqa: ANN401  # whatever an app logs
    if isinstance(value, int | float):
        return _as_float(value)
    item = getattr(value, "item", None)  # NumPy's and torch's way to give one number
    if item is None or getattr(value, "size", 1) == 0:
        return None
    try:
        found = item()
    except (RuntimeError, TypeError, ValueError):  # it holds several
        return None
    return _as_float(found) if isinstance(found, int | float) else None


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond what a float can hold
        return math.inf if number > 0 else -math.inf


def _numbers(what: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise LogError(
            f"{what} cannot be made of a {type(values).__name__}: {error}.",
            fix="Give an array of numbers; of a tensor, tensor.detach().cpu().numpy().",
        ) from error


def _equal_edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    if not 1 <= bins <= MOST_BINS:
        raise _bins_refused(bins)
    try:
        return np.histogram_bin_edges(values, bins)
    except ValueError:  # all values within a few ulp: one bin around them
        return np.array([values.min(), np.nextafter(values.max(), np.inf)])


def _given_edges(bins: Sequence[float]) -> NDArray[np.float64]:
    edges = _numbers("Bins", bins)
    rising = edges.ndim == 1 and np.isfinite(edges).all() and (np.diff(edges) > 0).all()
    if not rising or not 0 < len(edges) - 1 <= MOST_BINS:
        raise _bins_refused(bins)
    return edges


def _bins_refused(bins: int | Sequence[float]) -> LogError:
    return LogError(
        f"A histogram cannot have these bins: {str(bins)[:LONGEST_NAME]}.",
        fix=f"Give 1 to {MOST_BINS} bins, or their limits: finite and rising.",
    )
