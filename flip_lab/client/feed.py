"""Events for somebody who asks again and again: they come by themselves meanwhile."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.core.events import RunEvent

_log = logging.getLogger(__name__)
_UNUSED_S = 30.0
"""Who has not asked for so long has gone."""


class Feed:
    """Collects a run's events in a thread of its own until nobody asks for them any more.

    Args:
        news: Events in order as they come, and ``None`` now and then while there are none.
        after: Sequence of the event before the first.

    Attributes:
        reached: Sequence of the last event taken.
        is_over: Whether nothing more will come.
    """

    def __init__(self, news: Iterable[RunEvent | None], *, after: int) -> None:
        """Start to collect."""
        self.reached = after
        self.is_over = False
        self._waiting: deque[RunEvent] = deque()
        self._asked_s = tick_s()
        threading.Thread(
            target=self._collect, args=(news,), name="flip-lab events", daemon=True
        ).start()

    def take(self) -> list[RunEvent]:
        """Give what came since the last time, without waiting."""
        self._asked_s = tick_s()
        found = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self.reached = found[-1].sequence if found else self.reached
        return found

    def stop(self) -> None:
        """Collect no more."""
        self._asked_s = float("-inf")

    def _collect(self, news: Iterable[RunEvent | None]) -> None:
        try:
            for event in news:
                if tick_s() - self._asked_s > _UNUSED_S:
                    return
                if event is not None:
                    self._waiting.append(event)
        except FlipLabError as error:  # whoever asks next asks anew, and hears of it
            _log.info("Events of a run come no more by themselves: %s", error)
        finally:
            self.is_over = True
