"""A board in a notebook: its parts are the widget's traits, its answers messages."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, cast

import anywidget

from flip_lab.boards.board import Asked, Board

B = TypeVar("B", bound=Board)

Bundle: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""What Jupyter keeps of a display: data by media type, and what belongs to them."""


class BoardFace(anywidget.AnyWidget, Generic[B]):
    """Shows a board, and does what its page asks for.

    Args:
        board: The board.
        own: Traits that are not parts of it.
    """

    _chosen: ClassVar[tuple[str, ...]] = ()  # parts that the page sets

    def __init__(self, board: B, **own: object) -> None:
        """Show the board as it is."""
        self._board = board
        super().__init__(**board.parts(), **own)
        if self._chosen:
            self.observe(self._change, list(self._chosen))
        self.on_msg(self._hear)

    def _change(self, _change: object) -> None:
        chosen = {name: getattr(self, name) for name in self._chosen}
        self._show(self._board.change(chosen))

    def _hear(self, _widget: object, asked: object, _buffers: object) -> None:
        """Take a message that came by the widget."""
        if isinstance(asked, dict):
            self.send(self.answer(cast("dict[str, Any]", asked)))

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a message of the page: a question, or a wish; never raises."""
        answer = self._board.answer(asked)
        self._show(self._board.parts())
        return answer

    def _show(self, parts: Mapping[str, Any]) -> None:
        # One message for all of them; whoever observes one sees the others as they are.
        with self.hold_sync(), self.hold_trait_notifications():
            for name, part in parts.items():
                setattr(self, name, part)

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **_options: object) -> Bundle:
        """Give the live view, and a card and a text for pages that cannot show it."""
        data, metadata = cast("Bundle", super()._repr_mimebundle_() or ({}, {}))
        return {**data, "text/plain": repr(self), "text/html": self.card()}, metadata
