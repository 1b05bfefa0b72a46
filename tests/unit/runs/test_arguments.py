"""A sweep runs over NumPy arrays: their numbers are numbers."""

from __future__ import annotations

import numpy as np
import pytest

from flip_lab.core.errors import InvalidValueError
from flip_lab.runs.arguments import config_values, overrides_by_key, whole_number


def test_numbers_of_numpy_become_numbers_of_python() -> None:
    """So that JSON, Flower and a type check meet what they know."""
    values = {
        "rounds": np.int64(3),
        "rate": np.float32(0.5),
        "quick": np.True_,
        "name": "a",
    }
    plain = config_values(values)
    assert plain == {"rounds": 3, "rate": 0.5, "quick": True, "name": "a"}
    assert [type(value) for value in plain.values()] == [int, float, bool, str]
    assert type(overrides_by_key(values)["rounds"]) is int
    assert type(whole_number("The seed", np.uint32(7), at_least=0)) is int


@pytest.mark.parametrize("value", [-1, 6, 2.0, True, "3", None, np.float64(3), np.bool_(1)])
def test_what_is_no_whole_number_in_range_is_refused(value: object) -> None:
    """The message tells the value as it was given."""
    with pytest.raises(InvalidValueError) as caught:
        whole_number("The seed", value, at_least=0, at_most=5)
    assert caught.value.what == f"The seed is {value!r}."
