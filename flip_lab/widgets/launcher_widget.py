"""The form on the page: takes what the browser sends, answers with what is wrong."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import secrets
from contextvars import copy_context
from typing import Any

import traitlets

from flip_lab.boards.board import Asked
from flip_lab.boards.launcher.board import LauncherBoard
from flip_lab.boards.launcher.faces import card_html, text_of
from flip_lab.boards.launcher.form import Draft
from flip_lab.boards.scripts import script, style
from flip_lab.runs.run import Run
from flip_lab.widgets.face import BoardFace
from flip_lab.widgets.line import listen


class LaunchForm(BoardFace[LauncherBoard]):
    """The form alone: shows a draft, and asks for a launch when the button is pressed.

    The browser sends what was put in; Python answers with ``verdict``, and with ``form``
    when another name brings other fields.

    Args:
        board: The draft, and what starts it.
    """

    _esm = script("launcher")
    _css = style("launcher")

    key = traitlets.Unicode().tag(sync=True)
    form = traitlets.Dict().tag(sync=True)
    verdict = traitlets.Dict().tag(sync=True)
    launched = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shown = traitlets.Unicode().tag(sync=True)

    def __init__(self, board: LauncherBoard) -> None:
        """Show the draft as it is."""
        # What a press makes, such as a monitor, belongs to the cell that made the form, and
        # not to the subshell that brought the press.
        self._cell = copy_context()
        super().__init__(board, key=secrets.token_hex(16))
        listen(self.key, self)

    @property
    def draft(self) -> Draft:
        """What stands in the form."""
        return self._board.draft

    def fill(self, draft: Draft) -> None:
        """Put another draft into the form."""
        self._board.fill(draft)
        self._show(self._board.parts())

    def launch(self) -> Run:
        """Launch what stands in the form.

        Raises:
            FlipLabError: If a value will not do, or the run cannot be started; then
                nothing was started.
        """
        run = self._board.launch()
        self._show(self._board.parts())
        return run

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a message of the browser, in any thread; never raises.

        Args:
            asked: A wish (``ask``), and the ticket that its answer is known by.
        """
        return self._cell.copy().run(super().answer, asked)  # a copy: threads may meet here

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        return card_html(self.draft, css=style("launcher"))

    def __repr__(self) -> str:
        """Give the form as text: the same values always read the same."""
        return text_of(self.draft)
