"""What a run belongs to and is called: checked where people give it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from flip_lab.core.errors import InvalidValueError

LONGEST_NAME = 200
"""Characters of a tag, or of an experiment's or a sweep's name."""

LONGEST_NOTE = 100_000
"""Characters of a note; longer text belongs into a file."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a launch says about the run's place among others.

    Attributes:
        experiment: The experiment that it belongs to; ``None``: one named like the run.
        sweep: The sweep that it is a point of; ``None`` for none.
        tags: Its first tags.
        note: Its first note; may be empty.
        run_id: The id it shall have, for callers that must know it before; ``None``: a
            new one.
    """

    experiment: str | None = None
    sweep: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    run_id: str | None = None


def group_of(
    experiment: str | None, sweep: str | None, tags: Iterable[str], note: str
) -> Group:
    """Check what a launch says about the run's place among others.

    Raises:
        InvalidValueError: If a name, a tag or the note will not do.
    """
    return Group(
        experiment=None if experiment is None else name_of("An experiment", experiment),
        sweep=None if sweep is None else name_of("A sweep", sweep),
        tags=tags_of([tags] if isinstance(tags, str) else tags),
        note=note_of(note),
    )


def name_of(what: str, name: object) -> str:
    """Check a name that people give; white space around it does not count.

    Args:
        what: What is named, to begin a sentence with.
        name: What the user gave.

    Returns:
        The name, in Unicode's composed form: é is one letter however it was typed.

    Raises:
        InvalidValueError: If it is no text, empty, too long, or cannot be printed.
    """
    text = unicodedata.normalize("NFC", name).strip() if isinstance(name, str) else ""
    if 0 < len(text) <= LONGEST_NAME and text.isprintable():
        return text
    raise InvalidValueError(
        f"{what} is called {str(name)[:LONGEST_NAME]!r}.",
        fix=f"Give 1 to {LONGEST_NAME} characters that can be printed, on one line.",
    )


def tags_of(tags: Iterable[object]) -> tuple[str, ...]:
    """Check tags, see ``name_of``; the same twice is once.

    Raises:
        InvalidValueError: If one will not do.
    """
    return tuple(dict.fromkeys(name_of("A tag", tag) for tag in tags))


def note_of(text: object) -> str:
    """Check a note: any text, several lines long if need be.

    Raises:
        InvalidValueError: If it is no text, too long, or holds half a character.
    """
    if isinstance(text, str) and len(text) <= LONGEST_NOTE and _is_whole(text):
        return text
    raise InvalidValueError(
        f"The note is {str(text)[:80]!r}.",
        fix=f"Give a text of at most {LONGEST_NOTE} characters; an empty one takes the "
        "note away.",
    )


def _is_whole(text: str) -> bool:
    """Say whether UTF-8 has a form for the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
