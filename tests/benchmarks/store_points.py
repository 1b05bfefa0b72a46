"""The points that are logged, and what one side makes of them: all sides log the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NAMES = ("train_loss", "eval_loss", "eval_accuracy", "train_seconds")
BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is logged at once: some rounds of every metric.

    Attributes:
        server_rounds: The round of each value.
        names: The metric of each value.
        values: The values.
    """

    server_rounds: Sequence[int]
    names: Sequence[str]
    values: Sequence[float]


def batches(num_points: int) -> list[Batch]:
    """Make curves as training gives them: they fall or rise, with noise, as float32.

    Args:
        num_points: Points over all metrics; a multiple of ``BATCH``.
    """
    rounds = np.arange(1, num_points // len(NAMES) + 1)
    generator = np.random.default_rng(7)
    fall = np.exp(-rounds / (rounds.size / 4))
    curves = np.stack([2.3 * fall, 2.4 * fall + 0.1, 0.95 - 0.85 * fall, 1.5 + 0 * fall])
    noisy = curves * generator.normal(1.0, 0.01, curves.shape)
    values = noisy.astype(np.float32).astype(np.float64).T.ravel().tolist()
    steps = np.repeat(rounds, len(NAMES)).tolist()
    names = NAMES * (BATCH // len(NAMES))
    return [
        Batch(
            server_rounds=steps[first : first + BATCH],
            names=names,
            values=values[first : first + BATCH],
        )
        for first in range(0, num_points, BATCH)
    ]
