"""One metric's course in bounded space, whatever the number of rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flip_lab.boards.run.snapshot import Tile, number_text

MOST_POINTS = 40
_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A metric's values so far, thinned evenly; the last and the best one are exact.

    When more than ``MOST_POINTS`` are kept, every second one is dropped and from then on
    only every second new one is kept, so what is kept depends on the values alone and not
    on how they arrived.

    Attributes:
        name: The metric's name.
        phase: ``"train"`` or ``"evaluate"``.
        scope: ``"federated"``, ``"central"`` or ``"server"``.
        points: Kept ``(server_round, value)`` pairs, oldest first, at most 40.
        stride: Every how many values one is kept; a power of two.
        count: Values seen.
        last: The newest pair, kept or not.
        best: The pair with the smallest finite value where the name ends in ``loss``, else
            with the largest; ``None`` while all have diverged.
    """

    name: str
    phase: str
    scope: str
    points: tuple[tuple[int, float], ...] = ()
    stride: int = 1
    count: int = 0
    last: tuple[int, float] = (0, math.nan)
    best: tuple[int, float] | None = None

    def add(self, server_round: int, value: float) -> Series:
        """Add one value.

        Args:
            server_round: The round it belongs to, 0 or more.
            value: Any number, NaN and infinities included.

        Returns:
            The series with that value added.
        """
        pair = (server_round, value)
        points, stride = self.points, self.stride
        if self.count % stride == 0:
            points = (*points, pair)
        if len(points) > MOST_POINTS:
            points, stride = points[::2], stride * 2
        best = pair if self._beats_best(value) else self.best
        return replace(
            self, points=points, stride=stride, count=self.count + 1, last=pair, best=best
        )

    def _beats_best(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best is None:
            return True
        lower_is_better = self.name.endswith("loss")
        return value < self.best[1] if lower_is_better else value > self.best[1]

    def shown(self) -> tuple[tuple[int, float], ...]:
        """Give the kept points, and the newest one after them; at most 41."""
        if not self.count or (self.points and self.points[-1] == self.last):
            return self.points
        return (*self.points, self.last)

    def tile(self) -> Tile:
        """Give the series as a snapshot shows it; JSON-ready, diverged values as null."""
        best = (
            f"best {number_text(self.best[1])}, round {self.best[0]}" if self.best else ""
        )
        return Tile(
            name=self.name[:_NAME_LENGTH],
            phase=self.phase,
            scope=self.scope,
            value=number_text(self.last[1]),
            best=best,
            diverged=not math.isfinite(self.last[1]),
            points=[[at, _json_number(value)] for at, value in self.shown()],
        )


def _json_number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
