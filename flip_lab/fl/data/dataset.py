"""What a data set is here: arrays in memory with the names that explain them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Features: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Prepare: TypeAlias = Callable[[Features, Features], tuple[Features, Features]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """One labelled data set; its arrays are shared and never written to.

    Attributes:
        title: One line for people.
        features: Shape ``(num_examples, …)``; NaN marks a missing value.
        labels: Class of each example, shape ``(num_examples,)``, 0-based.
        class_names: Name of each class, by label.
        feature_names: Name of each column of tabular data; empty for images.
        sites: Where each example comes from, shape ``(num_examples,)``; ``None`` when the
            data has no natural sites.
        attribution: Whom to cite, and the licence of the data.
        prepare: Makes a partition's train and test features ready for a model, from that
            partition's train rows alone, and keeps their shape; ``None`` when they are
            ready as they are.
    """

    title: str
    features: Features
    labels: Labels
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = ()
    sites: npt.NDArray[np.str_] | None = None
    attribution: str
    prepare: Prepare | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, such as ``(1, 28, 28)`` or ``(13,)``."""
        return tuple(self.features.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def data_fingerprint(dataset: Dataset) -> str:
    """Hash everything in a data set that can change a number of a run.

    Returns:
        64 hexadecimal digits; equal on every machine for equal data.
    """
    digest = hashlib.sha256()
    arrays = [dataset.features.astype("<f4"), dataset.labels.astype("<i8")]
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    sites = () if dataset.sites is None else dataset.sites
    digest.update("\n".join([*dataset.class_names, *map(str, sites)]).encode())
    return digest.hexdigest()
