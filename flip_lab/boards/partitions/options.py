"""The form of a partitioner: one control for each of its options, from its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from inspect import cleandoc
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt

from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.validation import describe, options_type

_REACH: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"alpha": (0.01, 100.0), "min_partition_size": (2, 100), "shard_size": (1, 500)}
)
"""Ends of the sliders of options that we know; the box beside a slider takes any value."""

_STEPS = 20  # of a slider for whole numbers that nothing is known of
_SPAN = (
    100.0  # how far a slider for numbers goes around the default: a hundredth, hundredfold
)


class OptionField(TypedDict):
    """One control.

    Attributes:
        name: The option.
        kind: ``"switch"``, ``"choice"``, ``"whole"``, ``"number"`` or ``"text"``.
        default: Its value when it is not set; null where that means "none".
        optional: Whether it may be left empty.
        low: Lower end of the slider, of numbers.
        high: Upper end.
        choices: What may be chosen, of choices.
        allowed: What may stand there, in words.
        help: What it means, from the partitioner's docstring.
    """

    name: str
    kind: str
    default: Any
    optional: bool
    low: float
    high: float
    choices: list[str]
    allowed: str
    help: str


@cache
def option_fields(partitioner: str) -> tuple[OptionField, ...]:
    """Describe the options of a partitioner, in the order of its signature.

    Args:
        partitioner: A name in the registry.

    Raises:
        UnknownNameError: If there is no such partitioner.
    """
    builder = PARTITIONERS.get(partitioner)
    kind = options_type(builder)
    hints = get_type_hints(kind, include_extras=True)
    doc = cleandoc(builder.__doc__ or "")
    return tuple(
        _field(
            item.name,
            hints[item.name],
            None if item.default is MISSING else item.default,
            _help(doc, item.name),
        )
        for item in fields(kind)
    )


def _field(name: str, hint: Any, default: Any, told: str) -> OptionField:  # noqa: ANN401  # any type hint
    parts = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    bare = next(part for part in parts if part is not NoneType)
    rules = get_args(bare)[1:] if get_origin(bare) is Annotated else ()
    bare = get_args(bare)[0] if rules else bare
    is_choice = get_origin(bare) is Literal
    kind = {bool: "switch", int: "whole", float: "number"}.get(bare, "text")
    low, high = _ends(name, kind, default, rules)
    return OptionField(
        name=name,
        kind="choice" if is_choice else kind,
        default=default,
        optional=NoneType in parts,
        low=low,
        high=high,
        choices=[str(each) for each in get_args(bare)] if is_choice else [],
        allowed=describe(hint),
        help=told,
    )


def _ends(
    name: str, kind: str, default: object, rules: tuple[object, ...]
) -> tuple[float, float]:
    """Give the ends of a slider: what is declared, what we know, or around the default."""
    middle = float(default) if isinstance(default, int | float) and default else 1.0
    low, high = (
        (1.0, max(4 * middle, _STEPS))
        if kind == "whole"
        else (
            middle / _SPAN,
            middle * _SPAN,
        )
    )
    low, high = _REACH.get(name, (low, high))
    for rule in rules:
        match rule:
            case Ge(bound) | Gt(bound):
                low = max(low, float(str(bound)))
            case Le(bound) | Lt(bound):
                high = min(high, float(str(bound)))
            case _:
                pass
    return low, high


def _help(doc: str, name: str) -> str:
    """Find what the section ``Args`` says of an argument."""
    found = re.search(rf"^    {name}: (.*(?:\n {{8,}}.*)*)", doc, re.MULTILINE)
    return re.sub(r"\s+", " ", found.group(1)).replace("``", "") if found else ""
