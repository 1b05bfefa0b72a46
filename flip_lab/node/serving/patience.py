"""Connections that ask for nothing are not kept: enough of them keep everybody else out.

uvicorn waits for the head of a request as long as it takes; bodies have their own limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flip_lab.core.clock import tick_s

LOOK_EVERY_S = 1.0
"""Seconds between two looks."""

FIRST_S = 15.0
"""Longest time until the first head is there."""

NEXT_S = 90.0
"""Longest time from an answer to the next head; uvicorn itself ends those that are idle."""


class Patience:
    """Ends connections whose next request does not come to the point."""

    def __init__(self) -> None:
        """Wait for nobody yet."""
        self._waiting: dict[Any, tuple[object, float]] = {}

    def look(self, connections: Iterable[Any]) -> None:
        """Close those that took too long.

        Args:
            connections: uvicorn's protocols; ``cycle`` is the last request of one.
        """
        before, self._waiting, now = self._waiting, {}, tick_s()
        for each in connections:
            last: Any = each.cycle
            if last is not None and not last.response_complete:
                continue  # it has asked
            since = before.get(each)
            if since is None or since[0] is not last:
                since = (last, now)
            self._waiting[each] = since
            if now - since[1] > (FIRST_S if last is None else NEXT_S):
                each.transport.close()
