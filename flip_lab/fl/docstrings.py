"""What docstrings say, for forms and for the reference: no text is written twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from inspect import getdoc

_LINES = re.MULTILINE | re.DOTALL
_NUMPY = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", _LINES)
_GOOGLE = re.compile(r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", _LINES)


def first_line(thing: object) -> str:
    """Give the first line of a docstring as plain text; empty where there is none."""
    return plain((getdoc(thing) or "").partition("\n")[0]) if thing is not None else ""


def plain(text: str) -> str:
    """Take the markup of code off a docstring's text."""
    return text.replace("`", "")


@lru_cache(maxsize=128)
def meanings(thing: object) -> Mapping[str, str]:
    """Read what a docstring says of each argument or attribute.

    Args:
        thing: A class or a function; its docstring has the form of Google or of NumPy.

    Returns:
        The texts by name, on one line each, with the docstring's markup.
    """
    return meanings_in(getdoc(thing) or "")


def meanings_in(text: str) -> dict[str, str]:
    """Read the same from a docstring's text."""
    for section, head in ((_NUMPY, r"^(\w+) ?: .*$"), (_GOOGLE, r"^    (\w+): ")):
        if found := section.search(text):
            return _entries(found[1], head)
    return {}


def _entries(section: str, head: str) -> dict[str, str]:
    parts = re.split(head, section, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split())
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
