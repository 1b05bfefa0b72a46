"""Read frames: a column as numbers or as cells, rows by group."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Reals: TypeAlias = npt.NDArray[np.float64]


def reals(frame: pd.DataFrame, name: str) -> Reals:
    """Give a column as floats; what is missing is NaN.

    Args:
        frame: Any frame.
        name: A column of numbers.
    """
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def cells(frame: pd.DataFrame, name: str) -> list[Any]:
    """Give a column as Python values.

    Args:
        frame: Any frame.
        name: Any column.
    """
    return frame[name].tolist()


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give the rows of each group, groups in the order in which they come.

    Args:
        frame: A frame with the column ``group``.
    """
    return {str(label): rows for label, rows in frame.groupby("group", sort=False)}
