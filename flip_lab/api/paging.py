"""Cursors: where a list goes on, bound to the question that it answers."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import orjson
import xxhash
from fastapi import Path, Query

from flip_lab.core.errors import CursorError

MOST = 1000
"""Items of one answer, at most."""

USUAL = 100
"""Items of one answer, unless asked otherwise."""

RunId: TypeAlias = Annotated[
    str,
    Path(description="A run's id, or the beginning or end of it if only one run has that."),
]

_LONGEST = 1000

Limit: TypeAlias = Annotated[
    int, Query(ge=1, le=MOST, description="The most items of this answer.")
]
Cursor: TypeAlias = Annotated[
    str | None,
    Query(
        description="`next_cursor` of the answer before; it counts for the same question "
        "only."
    ),
]


def cursor_at(question: object, place: Sequence[str | int]) -> str:
    """Make a cursor.

    Args:
        question: What was asked, besides how many and from where.
        place: Where the next answer begins.
    """
    content = orjson.dumps([_mark(question), *place])
    return urlsafe_b64encode(content).decode("ascii").rstrip("=")


def place_of(cursor: str, question: object, *, kinds: Sequence[type]) -> list[Any]:
    """Read a cursor.

    Args:
        cursor: What somebody sent.
        question: What is asked now.
        kinds: What a place is made of: ``int`` or ``str`` for each part.

    Returns:
        The place, as ``cursor_at`` was given it.

    Raises:
        CursorError: If we did not make it, or made it for another question.
    """
    found = _read(cursor)
    if found is None or not _fits(found[1:], kinds):
        raise CursorError(
            f"The cursor {cursor[:80]!r} was not made here.",
            fix="Send next_cursor of an earlier answer as it is, or no cursor to begin.",
        )
    if found[0] != _mark(question):
        raise CursorError(
            "The cursor belongs to another question.",
            fix="Keep all other parameters as they were, or begin anew without a cursor.",
        )
    return found[1:]


def page_of(
    rows: Sequence[Any], limit: int, question: object, *, start: int
) -> dict[str, Any]:
    """Give a page of a list that is read by position.

    Args:
        rows: The rows from the page's first one on; one more than the page, if there is.
        limit: Rows of the page.
        question: What was asked.
        start: Position of its first row, from 0.
    """
    is_more = len(rows) > limit
    following = cursor_at(question, [start + limit]) if is_more else None
    return {"items": rows[:limit], "next_cursor": following}


def start_of(cursor: str | None, question: object) -> int:
    """Give the position that a page of such a list begins at.

    Raises:
        CursorError: If the cursor is none of ours.
    """
    if cursor is None:
        return 0
    start = int(place_of(cursor, question, kinds=(int,))[0])
    if not 0 <= start < 2**62:
        raise CursorError(
            f"The cursor {cursor[:80]!r} was not made here.",
            fix="Send next_cursor of an earlier answer as it is, or no cursor to begin.",
        )
    return start


def _mark(question: object) -> str:
    """Tell questions apart, not keep them secret."""
    return xxhash.xxh3_64_hexdigest(orjson.dumps(question, default=str))


def _read(cursor: str) -> list[Any] | None:
    if len(cursor) > _LONGEST:
        return None
    try:
        content = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        found = orjson.loads(content)
    except ValueError:  # also what base64 and orjson raise
        return None
    return found if isinstance(found, list) and found else None  # pyright: ignore[reportUnknownVariableType]  # JSON has no types


def _fits(place: Sequence[object], kinds: Sequence[type]) -> bool:
    return len(place) == len(kinds) and all(
        isinstance(part, kind) and not isinstance(part, bool)
        for part, kind in zip(place, kinds, strict=True)
    )
