"""When each row of a list changed last, so that a reader is told only what is new."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from flip_lab.core.clock import now_s

_MOST_GONE = 10_000


class Changes:
    """Counts changes; the count goes on where an earlier server's cannot have been.

    Attributes:
        position: Number of the last change. The first is the time in milliseconds, so a
            position that an earlier process gave out is known to be too old.
    """

    def __init__(self) -> None:
        """Begin with a position of its own."""
        self.position = int(now_s() * 1000)
        self._begin = self.position
        self._changed: dict[str, int] = {}  # in the order of their positions
        self._gone: deque[tuple[int, str]] = deque()

    def note(self, changed: Iterable[str], gone: Iterable[str] = ()) -> None:
        """Count one change of these rows.

        Args:
            changed: Rows that are new or other than before.
            gone: Rows that are no more.
        """
        self.position += 1
        for key in changed:
            self._changed.pop(key, None)
            self._changed[key] = self.position
        for key in gone:
            self._changed.pop(key, None)
            self._gone.append((self.position, key))
        while len(self._gone) > _MOST_GONE:
            self._begin, _ = self._gone.popleft()

    def after(self, position: int) -> tuple[list[str], list[str]] | None:
        """Say what changed and what went since a position; ``None`` if nobody knows."""
        if not self._begin <= position <= self.position:
            return None
        changed: list[str] = []
        for key, at in reversed(self._changed.items()):
            if at <= position:
                break
            changed.append(key)
        gone = [key for at, key in self._gone if at > position]
        return changed, [key for key in dict.fromkeys(gone) if key not in self._changed]
