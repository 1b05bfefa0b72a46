"""Examples as they come over HTTP: read, checked, and refused with the place and a fix."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from flip_lab.core.errors import PredictionError
from flip_lab.fl.data.dataset import Features
from flip_lab.node.serving.input_schema import InputSchema

Cells: TypeAlias = npt.NDArray[np.object_]

_NUMBERS = frozenset({int, float, bool})
_LARGEST = float(np.finfo(np.float32).max)
_MOST_KEYS = 5  # names that an error lists


def read_body(body: bytes) -> tuple[list[Any], bool]:
    """Read what a request for predictions holds.

    Args:
        body: JSON with ``inputs``, a list of examples, or ``input``, one example.

    Returns:
        The examples, and whether it was one.

    Raises:
        PredictionError: If it is something else.
    """
    try:
        told = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PredictionError(
            f"The body is no JSON ({error!s:.200}).",
            fix='Send {"inputs": [[…], […]]}; null stands for what was not measured.',
        ) from None
    if isinstance(told, dict):
        found = cast("dict[str, Any]", told)
        if found.keys() == {"input"}:
            return [found["input"]], True
        if found.keys() == {"inputs"} and isinstance(found["inputs"], list):
            return cast("list[Any]", found["inputs"]), False
    raise PredictionError(
        "The body holds neither inputs, a list of examples, nor input, one example.",
        fix='Send {"inputs": [[…], […]]} or {"input": […]} and nothing else.',
    )


def read_rows(
    examples: list[Any], schema: InputSchema, *, most: int, takes_gaps: bool
) -> Features:
    """Turn examples into rows of features.

    Args:
        examples: Nested lists of numbers in the schema's shape; where features have names,
            also tables from name to number. ``True`` counts as 1.
        schema: What the model takes.
        most: Largest number of examples.
        takes_gaps: Whether ``None`` may stand for a missing number.

    Returns:
        Shape ``(num_examples, …)``; NaN where ``None`` was.

    Raises:
        PredictionError: If something is missing, of another shape, or no finite number.
    """
    if not 0 < len(examples) <= most:
        raise PredictionError(
            f"inputs holds {len(examples):,} examples.",
            fix=f"Send 1 to {most:,} at a time.",
        )
    rows = [_by_name(row, at, schema) for at, row in enumerate(examples)]
    cells = _cells(rows, schema)
    kinds = set(map(type, cells.ravel().tolist()))
    if not kinds <= (_NUMBERS | {type(None)} if takes_gaps else _NUMBERS):
        _tell_kind(cells, schema, takes_gaps=takes_gaps)
    try:
        wide = cells.astype(np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        wide = np.vectorize(_as_float, otypes=[np.float64])(cells)
    _require_range(wide, schema)
    return wide.astype(np.float32)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _by_name(row: object, at: int, schema: InputSchema) -> object:
    """Put a table's values into the order of the features; lists are left as they are.

    Raises:
        PredictionError: If a feature is missing, or there is one that the model lacks.
    """
    if not isinstance(row, dict):
        return row
    values, names = cast("dict[str, object]", row), schema.feature_names
    if not names:
        raise PredictionError(
            f"inputs[{at}] is a table, and the features of this model have no names.",
            fix=f"Send nested lists of the shape {list(schema.shape)}.",
        )
    missing = [name for name in names if name not in values]
    unknown = sorted(values.keys() - set(names))
    if missing or unknown:
        said = [("lacks", missing), ("has the unknown", unknown)]
        told = " and ".join(f"{verb} {_some(keys)}" for verb, keys in said if keys)
        raise PredictionError(
            f"inputs[{at}] {told}.",
            fix="Send each feature that /schema names, and no others.",
        )
    return [values[name] for name in names]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in names[:_MOST_KEYS])
    more = len(names) - _MOST_KEYS
    return f"{shown} and {more} more" if more > 0 else shown


def _cells(rows: list[object], schema: InputSchema) -> Cells:
    """Give the examples as an array of whatever they hold.

    Raises:
        PredictionError: If one has another shape.
    """
    wanted = (len(rows), *schema.shape)
    try:
        cells = np.array(rows, dtype=object)
    except ValueError:  # deeper than an array can be
        cells = np.empty(0, dtype=object)
    if cells.shape == wanted:
        return cells
    for at, row in enumerate(rows):
        _require_shape(row, schema.shape, f"inputs[{at}]")
    raise PredictionError(
        f"The examples do not have the shape {list(schema.shape)}.",
        fix="Send each example in the shape that /schema names.",
    )


def _require_shape(value: object, shape: Sequence[int], where: str) -> None:
    """Find what has another shape, and refuse it."""
    if not shape:
        if type(value) in {list, dict}:
            raise _wrong_shape(where, value, "a number")
        return
    if not isinstance(value, list):
        raise _wrong_shape(where, value, f"a list of {shape[0]}")
    items = cast("list[object]", value)
    if len(items) != shape[0]:
        raise _wrong_shape(where, items, f"a list of {shape[0]}")
    for at, item in enumerate(items):
        _require_shape(item, shape[1:], f"{where}[{at}]")


def _wrong_shape(where: str, value: object, wanted: str) -> PredictionError:
    if isinstance(value, list):
        found = f"a list of {len(cast('list[object]', value)):,}"
    else:
        found = _shown(value)
    return PredictionError(
        f"{where} is {found}; the model takes {wanted} there.",
        fix="Send each example in the shape that /schema names.",
    )


def _tell_kind(cells: Cells, schema: InputSchema, *, takes_gaps: bool) -> NoReturn:
    """Say where something is no number.

    Raises:
        PredictionError: Always.
    """
    allowed = _NUMBERS | {type(None)} if takes_gaps else _NUMBERS
    where, value = next(
        (where, value)
        for where, value in np.ndenumerate(cells)
        if type(value) not in allowed
    )
    if value is None:
        fix = "Give a number there: this node cannot fill in what was not measured."
    else:
        fix = "Send numbers, without quotes" + (", or null." if takes_gaps else ".")
    shown = "null" if value is None else _shown(value)
    raise PredictionError(f"{_place(where, schema)} is {shown}.", fix=fix)


def _require_range(wide: npt.NDArray[np.float64], schema: InputSchema) -> None:
    """Check that numbers fit into 32 bits; what is missing is NaN already.

    Raises:
        PredictionError: If one does not.
    """
    too_large = np.abs(wide) > _LARGEST
    if too_large.any():
        where = tuple(int(part) for part in np.argwhere(too_large)[0])
        raise PredictionError(
            f"{_place(where, schema)} is {wide[where]:.3g}: no model here takes that.",
            fix="Give values in the units that /schema names.",
        )


def _shown(value: object) -> str:
    """Write a value so that it fits into a line, however deep it is."""
    return reprlib.repr(value)[:60]


def _as_float(value: object) -> float:
    try:
        return float(cast("float", np.nan if value is None else value))
    except OverflowError:
        return np.inf


def _place(where: tuple[int, ...], schema: InputSchema) -> str:
    """Name a place as the sender wrote it: ``inputs[2]['age']`` or ``inputs[2][0][7]``."""
    row, *rest = where
    name = f" ({schema.feature_names[rest[0]]})" if schema.feature_names else ""
    return f"inputs[{row}]" + "".join(f"[{part}]" for part in rest) + name
