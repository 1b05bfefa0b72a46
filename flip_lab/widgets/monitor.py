"""The live view of a run in a notebook; plain text where there is no notebook."""

# ipywidgets ships no types, and the class we build on is one of its
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

import anywidget
import traitlets

from flip_lab.core.errors import InvalidValueError
from flip_lab.widgets.card import card_html
from flip_lab.widgets.follow import Follower, Watchable
from flip_lab.widgets.snapshot import Snapshot
from flip_lab.widgets.text import text_of

# With 20 KB a snapshot this stays under 100 KB/s, far below Jupyter's limit.
FASTEST_HZ = 4.0

_STATIC = Path(__file__).parent / "static"
_Bundle: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


def watch(run: Watchable, *, refresh_hz: float = FASTEST_HZ) -> RunMonitor:
    """Show a run while it goes, and its end when it has ended.

    Args:
        run: The run, from any kernel; one that has ended is shown at once.
        refresh_hz: How often to look for news, above 0, at most 4 times a second.

    Returns:
        The widget; the last expression of a cell shows it. ``print`` gives its text.

    Raises:
        InvalidValueError: If ``refresh_hz`` is out of range.
    """
    return RunMonitor(run, refresh_hz=refresh_hz)


class RunMonitor(anywidget.AnyWidget):
    """Follows one run from a daemon thread until it ends or the widget is closed.

    The thread sends a snapshot only when it differs from the last one, never keeps the
    kernel alive, and shows in the widget what goes wrong with following.

    Args:
        run: The run to follow.
        refresh_hz: Polls per second, above 0, at most 4.

    Raises:
        InvalidValueError: If ``refresh_hz`` is out of range.
    """

    _esm = _STATIC / "monitor.js"
    _css = _STATIC / "monitor.css"

    snapshot = traitlets.Dict().tag(sync=True)

    def __init__(self, run: Watchable, *, refresh_hz: float = FASTEST_HZ) -> None:
        """Look once, then go on looking in the background until the run has ended."""
        # First: a widget that cannot be made is closed, too.
        self._closed = threading.Event()
        self._polling = threading.RLock()  # the thread and a display may ask at once
        self._follower = Follower(run, interval_s=_interval_s(refresh_hz))
        super().__init__(snapshot=self._follower.poll())
        if not self._follower.is_done:
            threading.Thread(
                target=self._follow, name=f"watch-{run.run_id}", daemon=True
            ).start()

    def _follow(self) -> None:
        while not self._follower.is_done:
            if self._closed.wait(self._follower.pause_s):
                return
            self._refresh()

    def _refresh(self) -> None:
        with self._polling:
            if not self._closed.is_set() and not self._follower.is_done:
                self.snapshot = self._follower.poll()

    def close(self) -> None:
        """Stop following and take the view off the page."""
        self._closed.set()
        super().close()

    def _now(self) -> Snapshot:
        return cast("Snapshot", self.snapshot)  # traitlets only knows that it is a dict

    def __repr__(self) -> str:
        """Give the run as text: the same snapshot always reads the same."""
        return text_of(self._now())

    def _repr_mimebundle_(self, **_options: object) -> _Bundle:
        """Give the live view, and a card and a text for pages that cannot show it."""
        self._refresh()  # a notebook that ran unattended keeps what was true at the display
        data, metadata = cast("_Bundle", super()._repr_mimebundle_() or ({}, {}))
        card = card_html(self._now(), css=_style_sheet())
        return {**data, "text/plain": repr(self), "text/html": card}, metadata


def _interval_s(refresh_hz: float) -> float:
    if 0 < refresh_hz <= FASTEST_HZ:
        return 1 / refresh_hz
    raise InvalidValueError(
        f"refresh_hz is {refresh_hz}, not above 0 and at most {FASTEST_HZ:g}.",
        fix=f"Leave it out, or take a value such as {FASTEST_HZ / 2:g}.",
    )


@cache
def _style_sheet() -> str:
    return (_STATIC / "monitor.css").read_text(encoding="utf-8")
