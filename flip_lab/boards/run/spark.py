"""A course of values as one line of text."""

from __future__ import annotations

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float | None]) -> str:
    """Draw values as one line of text.

    Args:
        values: Finite numbers; ``None`` where the metric diverged.

    Returns:
        One character per value: a bar from ``▁`` (lowest) to ``█``, ``×`` for ``None``.
    """
    finite = [value for value in values if value is not None]
    if not finite:
        return "×" * len(values)
    low, high = min(finite), max(finite)
    top = len(_BARS) - 1
    span = high / 2 - low / 2  # halved, so that the largest doubles do not overflow
    return "".join(
        "×"
        if value is None
        else _BARS[round((value / 2 - low / 2) / span * top) if span else top // 2]
        for value in values
    )
