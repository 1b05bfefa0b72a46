"""What a live face shows: a board says what is drawn, and does what its page asks for.

A notebook's widget and the API's WebSocket are two faces of the same boards. A part is what
the page draws under one name; it is plain JSON, or bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from flip_lab.core.errors import FlipLabError
from flip_lab.core.events import Json

Parts: TypeAlias = dict[str, Any]
"""What a page draws, by name; the names are those that its script asks its model for."""

Asked: TypeAlias = Mapping[str, Any]
"""A message of a page: a question, or a wish, with the ticket its answer is known by."""


class Board(Protocol):
    """One picture, and what can be done to it; may be used from several threads."""

    def parts(self) -> Parts:
        """Give all that the page draws."""
        ...

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Take what the page has chosen, by the names of parts.

        Args:
            values: Whatever a page sent; what will not do is told in a part.

        Returns:
            The parts that are others now.
        """
        ...

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a question, or do what is wished; never raises.

        ``parts`` tells what has become of the picture.

        Returns:
            The answer with the question's ticket; ``error`` says what was refused.
        """
        ...

    def is_deed(self, asked: Asked) -> bool:
        """Say whether a message would change more than the picture: start, steer, stop."""
        ...


@runtime_checkable
class LiveBoard(Board, Protocol):
    """A board whose picture changes by itself."""

    @property
    def urgent(self) -> frozenset[str]:
        """Parts that are small and never wait."""
        ...

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next look."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected to happen."""
        ...

    def poll(self) -> object:
        """Look for news once; never raises: trouble is shown in a part."""
        ...


def told(error: Exception) -> dict[str, Json]:
    """Give an error as the page shows it beside the control that caused it."""
    if isinstance(error, FlipLabError):
        return {"code": error.code, "what": error.what, "fix": error.fix}
    return {"code": "", "what": f"{type(error).__name__}: {error}", "fix": ""}


def ticket_of(asked: Asked) -> dict[str, Any]:
    """Give what an answer begins with, so that the page knows whose it is."""
    return {name: asked[name] for name in ("ask", "ticket") if name in asked}
