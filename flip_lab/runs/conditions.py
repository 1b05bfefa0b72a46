"""Pieces of SQL with the values that belong to them.

Values that people give are always parameters of a statement; names are columns of the
schema, or quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from flip_lab.runs.arguments import in_python

Ask: TypeAlias = Callable[[str, Sequence[object]], list[dict[str, Any]]]
"""Answers one statement with its parameters, a dict a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A part of a statement, or a whole one.

    Attributes:
        text: SQL with a ``?`` for each value.
        values: The values, in order.
    """

    text: str
    values: tuple[object, ...] = ()


def quoted(name: str) -> str:
    """Write a name so that SQL takes it as one, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def several(values: object) -> list[Any]:
    """Give one value, or several, as a list of Python's own."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return [in_python(values)]
    return [in_python(value) for value in cast("Iterable[object]", values)]


def among(name: str, values: Sequence[object]) -> Question:
    """Ask that a column has one of these values; None stands for a missing one."""
    there = [str(v) if isinstance(v, str) else v for v in values if v is not None]
    marks = ", ".join("?" for _ in there)
    parts = [f"{name} IN ({marks})"] if there else []
    parts += [f"{name} IS NULL"] if None in values else []
    text = " OR ".join(parts) or "false"
    return Question(text=f"({text})", values=tuple(there))


def all_of(parts: Sequence[Question]) -> Question:
    """Ask for all of these; nothing to ask is always true."""
    return joined(parts, " AND ") if parts else Question(text="true")


def any_of(parts: Sequence[Question]) -> Question:
    """Ask for one of these, at least one of which there is."""
    found = joined(parts, " OR ")
    return replace(found, text=f"({found.text})")


def joined(parts: Sequence[Question], by: str) -> Question:
    """Write pieces one after another, and their values likewise."""
    return Question(
        text=by.join(part.text for part in parts),
        values=tuple(value for part in parts for value in part.values),
    )
