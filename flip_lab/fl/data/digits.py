"""Handwritten digits of 8 × 8 pixels, shipped inside scikit-learn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.extras import needs_extra

_BRIGHTEST = 16  # a pixel counts the dark cells of a 4 × 4 block


def load_digits() -> Dataset:
    """Load 1,797 digits: features of shape ``(1797, 1, 8, 8)`` in ``[0, 1]``, 10 classes.

    Raises:
        MissingExtraError: If scikit-learn is not installed.

    Source:
        Alpaydin and Kaynak, UCI Machine Learning Repository, 1998 (the test set).
    """
    with needs_extra("data", "The data set 'digits'"):
        sklearn: Any = import_module("sklearn.datasets")  # untyped
    bunch = sklearn.load_digits()
    return Dataset(
        title="Handwritten digits, 8 × 8 pixels",
        features=(bunch.images[:, None] / _BRIGHTEST).astype(np.float32),
        labels=bunch.target.astype(np.int64),
        class_names=tuple("0123456789"),
        attribution=(
            "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI "
            "Machine Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0."
        ),
    )
