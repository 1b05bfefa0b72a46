"""The end of a run's log, made readable for a page."""

from __future__ import annotations

import re
from typing import Protocol

from flip_lab.core.events import Json

MOST_LINES = 200
_LONGEST_LINE = 240
_MOST_CHARACTERS = 24_000
_EVERY_S = 1.0
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class Logging(Protocol):
    """What the tail needs of a run."""

    def logs(self, *, tail: int | None = None) -> str:
        """Give the last lines of what the run's processes printed."""
        ...


class LogTail:
    """Looks at the end of a run's log, at most once a second.

    Args:
        run: The run.
    """

    def __init__(self, run: Logging) -> None:
        """Look at nothing yet."""
        self._run = run
        self._next_s = float("-inf")
        self._lines: list[str] = []

    def part(self, now_s: float, *, is_last: bool) -> dict[str, Json]:
        """Give what the widget shows: the last lines, oldest first.

        Args:
            now_s: Seconds on a clock that never goes back.
            is_last: Whether to look in any case, because nobody will ask again.
        """
        if is_last or now_s >= self._next_s:
            self._next_s = now_s + _EVERY_S
            self._lines = readable(self._run.logs(tail=MOST_LINES))
        return {"lines": list(self._lines)}


def readable(text: str) -> list[str]:
    """Give text as lines without colours and control characters.

    Args:
        text: What processes printed; of a progress bar that writes over itself only the
            last state is kept.

    Returns:
        At most 200 lines of at most 240 characters, 24,000 in all: the newest.
    """
    lines: list[str] = []
    room = _MOST_CHARACTERS
    for line in reversed(text.split("\n")[-MOST_LINES - 1 :]):
        shown = _CONTROLS.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip()
        if len(shown) > _LONGEST_LINE:
            shown = f"{shown[: _LONGEST_LINE - 1]}…"
        room -= len(shown) + 1
        if room < 0:
            break
        lines.append(shown)
    lines.reverse()
    while lines and not lines[-1]:
        lines.pop()
    return lines[-MOST_LINES:]
