"""Arguments of a launch as notebooks give them: NumPy's numbers will do as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flip_lab.core.errors import InvalidValueError
from flip_lab.core.scenario import Scalar


def in_python(value: Any) -> Any:  # noqa: ANN401  # whatever a user gives
    """Give a NumPy number as Python's; a sweep over an array yields NumPy's.

    Args:
        value: Anything.

    Returns:
        The same value; JSON and Flower's run configuration take Python's numbers only.
    """
    return value.item() if isinstance(value, np.generic) else value  # pyright: ignore[reportUnknownVariableType]  # of any type


def whole_number(
    name: str, value: object, *, at_least: int, at_most: int | None = None
) -> int:
    """Check a whole number.

    Args:
        name: What it is, to begin a sentence with.
        value: What the user gave.
        at_least: The smallest number that will do.
        at_most: The largest one; ``None`` sets no limit.

    Returns:
        The number.

    Raises:
        InvalidValueError: If it is no whole number, or out of range.
    """
    number = in_python(value)
    fits = isinstance(number, int) and not isinstance(number, bool)
    if fits and at_least <= number and (at_most is None or number <= at_most):
        return number
    to = "" if at_most is None else f" to {at_most}"
    raise InvalidValueError(
        f"{name} is {value!r}.", fix=f"Give a whole number from {at_least}{to}."
    )


def config_values(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Check the values of a run configuration.

    Args:
        values: What the user gave, by key.

    Returns:
        The same values, as Flower carries them.

    Raises:
        InvalidValueError: If they are no mapping, or hold what Flower does not carry.
    """
    plain = overrides_by_key(values)
    for key, value in plain.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidValueError(
                f"The run configuration's {key!r} is {value!r}.",
                fix="Give true or false, a number or a text; Flower carries nothing else.",
            )
    return plain


def overrides_by_key(values: object) -> dict[str, Any]:
    """Check that overrides are given by key.

    Raises:
        InvalidValueError: If they are not.
    """
    if not isinstance(values, Mapping):
        raise InvalidValueError(
            f"The overrides are {values!r}.", fix="Give them by key: {'key': value}."
        )
    return {str(key): in_python(value) for key, value in values.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # users give anything


def seconds_or_none(name: str, value: object) -> float | None:
    """Check a length of time that may be left out.

    Args:
        name: What it is, to begin a sentence with.
        value: What the user gave.

    Returns:
        Seconds above 0; ``None`` when none were given.

    Raises:
        InvalidValueError: If it is no number, or not above 0.
    """
    number = in_python(value)
    if number is None:
        return None
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if is_number and 0 < number < float("inf"):
        return float(number)
    raise InvalidValueError(
        f"{name} is {value!r}.", fix="Give seconds above 0, or None for no limit."
    )
