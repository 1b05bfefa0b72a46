"""The control room of a run in a notebook; plain text where there is no notebook."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import secrets
import threading
from contextvars import copy_context
from typing import Any

import traitlets

from flip_lab.boards.board import Asked
from flip_lab.boards.run.board import Observable, RunBoard
from flip_lab.boards.run.card import card_html
from flip_lab.boards.run.outbox import Outbox
from flip_lab.boards.run.snapshot import Snapshot
from flip_lab.boards.run.text import text_of
from flip_lab.boards.scripts import script, style
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import InvalidValueError
from flip_lab.widgets.face import BoardFace, Bundle
from flip_lab.widgets.line import listen

FASTEST_HZ = 8.0
USUAL_HZ = 6.0
"""A little more than five updates a second: a poll takes its time, too."""


def watch(run: Observable, *, refresh_hz: float = USUAL_HZ) -> RunMonitor:
    """Show a run while it goes, steer it, and see its end when it has ended.

    Args:
        run: The run, from any kernel; one that has ended is shown at once.
        refresh_hz: How often to look for news, above 0, at most 8 times a second.

    Returns:
        The widget; the last expression of a cell shows it. ``print`` gives its text.

    Raises:
        InvalidValueError: If ``refresh_hz`` is out of range.
    """
    return RunMonitor(run, refresh_hz=refresh_hz)


class RunMonitor(BoardFace[RunBoard]):
    """Follows one run from a daemon thread until it ends or the widget is closed.

    The thread sends only what changed, within a budget of bytes, never keeps the kernel
    alive, and shows in the widget what goes wrong with following. What the buttons do
    comes back as events of the run, as everything else does: two views of a run, or two
    kernels, show the same.

    Args:
        run: The run to follow.
        refresh_hz: Polls per second, above 0, at most 8.

    Raises:
        InvalidValueError: If ``refresh_hz`` is out of range.
    """

    _esm = script("run")
    _css = style("run")

    key = traitlets.Unicode().tag(sync=True)
    can_steer = traitlets.Bool().tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    notes = traitlets.Dict().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)
    clients = traitlets.Dict().tag(sync=True)
    cells = traitlets.Bytes().tag(sync=True)
    nodes = traitlets.Dict().tag(sync=True)
    story = traitlets.Dict().tag(sync=True)
    usage = traitlets.Dict().tag(sync=True)
    log = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Observable, *, refresh_hz: float = USUAL_HZ) -> None:
        """Look once, then go on looking in the background until the run has ended."""
        # First: a widget that cannot be made is closed, too.
        self._closed = threading.Event()
        self._news = threading.Event()  # something was done: look at once
        self._sending = threading.RLock()  # the thread and a display may do so at once
        board = RunBoard(run, interval_s=_interval_s(refresh_hz))
        board.poll()
        self._outbox = Outbox(urgent=board.urgent)
        self._outbox.begin(board.parts())
        super().__init__(board, key=secrets.token_hex(16), can_steer=board.can_steer)
        listen(self.key, self)
        if not self._board.is_done:
            # In the cell's context: what the thread sends is that cell's, and answers to
            # it are not sent after a subshell that is gone.
            follow = copy_context().run
            threading.Thread(
                target=follow, args=(self._follow,), name=f"watch-{run.run_id}", daemon=True
            ).start()

    # --- following -----------------------------------------------------------------

    def _follow(self) -> None:
        next_s = tick_s()
        while not (self._board.is_done and self._outbox.is_empty):
            next_s = max(next_s + self._board.pause_s, tick_s())
            if self._news.wait(max(0.0, next_s - tick_s())):
                self._news.clear()
                next_s = tick_s()
            if self._closed.is_set():
                return
            self._refresh()

    def _refresh(self) -> None:
        with self._sending:
            if self._closed.is_set():
                return
            if not self._board.is_done:
                self._board.poll()
                self._outbox.put(self._board.parts())
            self._show(self._outbox.take(tick_s()))

    def close(self) -> None:
        """Stop following and take the view off the page."""
        self._closed.set()
        self._news.set()
        super().close()

    # --- messages of the page ------------------------------------------------------

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a message of the page, in any thread: a question, or a command."""
        try:
            return self._board.answer(asked)
        finally:
            if self._board.is_deed(asked):
                self._news.set()

    # --- faces ---------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """What the text and the card show."""
        return self._board.snapshot()

    @property
    def sent_bytes(self) -> int:
        """Bytes that the kernel sent to the page so far, the first picture left out."""
        return self._outbox.sent_bytes

    @property
    def sent_messages(self) -> int:
        """Messages that they were sent in."""
        return self._outbox.sent_messages

    def __repr__(self) -> str:
        """Give the run as text: the same snapshot always reads the same."""
        return text_of(self.snapshot)

    def card(self) -> str:
        """Give what is shown as HTML that needs no script."""
        return card_html(self.snapshot, css=style("run"))

    def _repr_mimebundle_(self, **_options: object) -> Bundle:
        """Give the live view, and a card and a text for pages that cannot show it."""
        self._refresh()  # a notebook that ran unattended keeps what was true at the display
        return super()._repr_mimebundle_()


def _interval_s(refresh_hz: float) -> float:
    if 0 < refresh_hz <= FASTEST_HZ:
        return 1 / refresh_hz
    raise InvalidValueError(
        f"refresh_hz is {refresh_hz}, not above 0 and at most {FASTEST_HZ:g}.",
        fix=f"Leave it out, or take a value such as {FASTEST_HZ / 2:g}.",
    )
