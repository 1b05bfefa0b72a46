"""Work that nodes still do after their phase has closed without them.

A node carries out the messages of one run one after another. Who misses a deadline goes on
computing, and whatever is asked of it next waits until it is done: so a deadline saves less
than it seems to, and a node that is always late falls further behind each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.twin_draws import Drawn, Flags


class Backlog:
    """For each draw and node, the seconds that it is still busy.

    Args:
        num_draws: How many draws there are.
    """

    def __init__(self, num_draws: int) -> None:
        """Begin with idle nodes."""
        self._idle: Reals = np.zeros(num_draws)
        self._busy_s: dict[int, Reals] = {}

    def behind(self, partitions: Sequence[int], drawn: Drawn) -> Drawn:
        """Let messages wait until their nodes are done with those before."""
        busy_s = np.stack([self._busy_s.get(node, self._idle) for node in partitions], 1)
        return replace(
            drawn,
            ready_s=drawn.ready_s + busy_s,
            known_s=np.where(drawn.is_away, drawn.known_s, drawn.known_s + busy_s),
        )

    def ask(self, partitions: Sequence[int], drawn: Drawn, is_asked: Flags) -> None:
        """Give nodes their messages.

        Args:
            partitions: Whom messages could go to.
            drawn: What becomes of them, as ``behind`` gave it.
            is_asked: Which of them were sent.
        """
        for at, node in enumerate(partitions):
            before = self._busy_s.get(node, self._idle)
            self._busy_s[node] = np.where(is_asked[:, at], drawn.known_s[:, at], before)

    def go_on(self, passed_s: Reals) -> None:
        """Let time pass, shape ``(num_draws,)``."""
        left = {node: busy_s - passed_s for node, busy_s in self._busy_s.items()}
        self._busy_s = {
            node: np.maximum(left_s, 0.0)
            for node, left_s in left.items()
            if (left_s > 0).any()
        }
