"""Values as JSON has them, and numbers as they were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, cast

import numpy as np


def plain(value: Any) -> Any:  # noqa: ANN401  # whatever users give
    """Give a value as JSON carries it.

    Args:
        value: Numbers, texts, lists and tables, NumPy's included; paths become texts.

    Returns:
        The same, where a number that is not finite is a text: ``"NaN"``, ``"Infinity"`` or
        ``"-Infinity"``. JSON has no such numbers.
    """
    match value:
        case None | bool() | str() | int():
            return value
        case np.generic():
            return plain(value.item())
        case float():
            return value if math.isfinite(value) else _word(value)
        case Mapping():
            table = cast("Mapping[object, Any]", value)
            return {str(key): plain(each) for key, each in table.items()}
        case list() | tuple() | AbstractSet() | range() | np.ndarray():
            return [plain(each) for each in cast("Iterable[Any]", value)]
        case _:
            return str(value)


def _word(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
