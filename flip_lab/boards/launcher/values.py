"""Values of a form: what is typed, as Python has it, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from flip_lab.core.errors import InvalidValueError
from flip_lab.core.scenario import Scalar
from flip_lab.fl.form_field import FormField, Kind

Raw: TypeAlias = str | bool
"""What stands in one field of a form: its text, or whether its box is ticked."""

Edits: TypeAlias = Mapping[str, Raw]
"""What somebody has put into a form, by path."""

Values: TypeAlias = Mapping[str, Any]
"""The same as Python has it, see ``value_of``."""


def value_of(field: FormField, raw: Raw) -> Any:  # noqa: ANN401  # any value
    """Read what is typed into a field.

    Args:
        field: Says of which type it should be.
        raw: What is typed.

    Returns:
        The value; ``None`` for an optional field that is empty; the text itself where it
        is no such value, so that the check of a launch can refuse it in its own words.
    """
    if isinstance(raw, bool):
        if field.kind == "boolean":
            return raw
        raw = str(raw).lower()
    text = raw.strip() if field.kind != "text" else raw
    if not text and (field.is_optional or field.kind == "list"):
        return None if field.is_optional else []
    if field.kind == "list":
        return [_scalar(field.of, part.strip()) for part in text.split(",") if part.strip()]
    return _scalar(field.kind, text)


def is_typed(field: FormField, value: object) -> bool:
    """Say whether a value is of the field's type; its range is not looked at."""
    if value is None:
        return field.is_optional
    match field.kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, float)
        case "list":
            return isinstance(value, list)
        case _:
            return True


def require_typed(field: FormField, value: object) -> None:
    """Refuse a value of another type than that of the field, which its label names.

    Raises:
        InvalidValueError: If it is of another type.
    """
    if not is_typed(field, value):
        raise InvalidValueError(
            f"{field.label} is {value!r}.", fix=f"Set it to {field.words}."
        )


def raw_of(value: object) -> Raw:
    """Give a value as it stands in a form; ``value_of`` reads it back."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in cast("list[object]", value))
    return str(value)


def is_same(one: object, other: object) -> bool:
    """Say whether two values would give the same run: 1 and 1.0 do, 1 and true do not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def _scalar(kind: Kind, text: str) -> Scalar:
    """Read one scalar; what cannot be read stays a text."""
    if kind in {"boolean", "scalar"} and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind in {"integer", "number", "scalar"}:
        for read in (int, float) if kind != "number" else (float,):
            try:
                return _finite_or_word(read(text), text)
            except ValueError:
                continue
    return text


def _finite_or_word(number: float, text: str) -> float:
    """Read ``inf`` where it is meant, but not the overflow of what somebody typed.

    Raises:
        ValueError: If the digits stand for no number that can be kept.
    """
    if isinstance(number, float) and math.isinf(number) and text[-1:].isdigit():
        raise ValueError(text)
    return number
