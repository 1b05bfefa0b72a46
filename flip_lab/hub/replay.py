"""Signatures that count once, in bounded memory.

Flower's nodes sign nothing but the time. Within the five minutes for which a time is good,
whoever got hold of a request could send it again, so each signature is taken once.
"""

from __future__ import annotations

import heapq

_MOST = 4096  # of one key; a node asks some ten times a second at most


class Once:
    """Remembers what one key signed, for as long as it would still be good.

    Not for several threads at once. Nothing is kept over a start of the hub: what was
    recorded before it is about runs and calls that the hub no longer has.

    Args:
        window_s: How far from now a time may be.
        most: How many are remembered. If there are more, those with the earliest times
            go, and any as early as these are refused from then on.
    """

    def __init__(self, window_s: float, *, most: int = _MOST) -> None:
        """Remember nothing yet."""
        self._window_s = window_s
        self._most = most
        self._seen: set[tuple[float, int]] = set()
        self._earliest: list[tuple[float, int]] = []
        self._floor_s = float("-inf")

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, time_s: float, signature: int, *, now_s: float) -> bool:
        """Say whether this is the first time, and remember it.

        Args:
            time_s: What was signed.
            signature: Its number r. Not the whole: from a signature (r, s) anybody can
                make a second one (r, -s) that fits as well.
            now_s: The time now; all in seconds since the Unix epoch.
        """
        mark = (time_s, signature)
        if time_s <= self._floor_s or mark in self._seen:
            return False
        self._seen.add(mark)
        heapq.heappush(self._earliest, mark)
        while self._earliest and self._is_too_much(now_s):
            gone = heapq.heappop(self._earliest)
            self._seen.discard(gone)
            if gone[0] >= now_s - self._window_s:  # its time alone would not refuse it
                self._floor_s = gone[0]
        return True

    def _is_too_much(self, now_s: float) -> bool:
        is_over = self._earliest[0][0] < now_s - self._window_s
        return is_over or len(self._earliest) > self._most
