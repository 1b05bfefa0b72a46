"""Whether more of a metric is better, guessed from its name."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Goal: TypeAlias = Literal["max", "min"]
"""Whether more of a metric is better, or less."""

_LESS_IS_BETTER = frozenset(
    {"bytes", "epsilon", "err", "error", "loss", "mae", "mse", "nll", "perplexity", "rmse"}
)


def goal_of(metric: str) -> Goal:
    """Guess from its name whether more of a metric is better.

    Args:
        metric: Such as ``eval_accuracy`` or ``train_loss``.

    Returns:
        ``"min"`` if one of the name's words is known to be better small, such as *loss* or
        *rmse*; otherwise ``"max"``.
    """
    words = re.split(r"[^a-z0-9]+", metric.lower())
    return "min" if _LESS_IS_BETTER.intersection(words) else "max"
