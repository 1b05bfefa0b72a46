"""What every error has, and how a wrong name is answered."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class FlipLabError(Exception):
    """Base of all errors raised on purpose by FLIP Lab.

    Args:
        what: What happened, with the offending value.
        fix: One sentence that tells the user what to do next.
        detail: Longer evidence, such as the tail of a client's traceback; may be empty.
    """

    code: ClassVar[str] = "FLIP-000"

    def __init__(self, what: str, *, fix: str, detail: str = "") -> None:
        """Keep the parts so that a widget, the API and a log can show them apart."""
        text = f"[{self.code}] {what} Fix: {fix}"
        super().__init__(f"{text}\n{detail}" if detail else text)
        self.what = what
        self.fix = fix
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes whole (keyword arguments defeat the default)."""
        parts = {"what": self.what, "fix": self.fix, "detail": self.detail}
        return _rebuild, (type(self), parts)


def _rebuild(cls: type[FlipLabError], parts: dict[str, str]) -> FlipLabError:
    return cls(**parts)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid name the user probably meant, and list all of them.

    Args:
        name: What the user wrote.
        valid: Every name that would have worked; may be empty.

    Returns:
        A sentence without code, such as ``Did you mean 'iid'? Valid: dirichlet, iid.``
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Valid: {', '.join(names) if names else 'none'}."
