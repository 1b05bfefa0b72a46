"""What a caller may pass: columns, names, probabilities. A wrong one is a coded error."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from flip_lab.core.errors import AnalysisError, nearest


def require_columns(frame: pd.DataFrame, columns: Iterable[str], *, what: str) -> None:
    """Refuse a frame that lacks a column.

    Args:
        frame: What the caller passed.
        columns: Columns that are needed.
        what: The frame's role, such as ``"metrics"``.

    Raises:
        AnalysisError: If one is missing.
    """
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        have = ", ".join(str(name) for name in frame.columns) or "none"
        raise AnalysisError(
            f"The frame {what!r} lacks the column(s) {', '.join(lacking)}; it has: {have}.",
            fix="Pass it as the store gives it, or keep these columns in your SQL.",
        )


def require_share(value: float, *, name: str) -> float:
    """Refuse a probability that is not strictly between 0 and 1.

    Args:
        value: What the caller passed.
        name: The argument's name, such as ``"alpha"``.

    Returns:
        The value.

    Raises:
        AnalysisError: If it is 0, 1, outside, or NaN.
    """
    if not 0.0 < value < 1.0:
        usual = "0.05" if name == "alpha" else "0.95"
        raise AnalysisError(
            f"{name} = {value!r} is no probability between 0 and 1, both excluded.",
            fix=f"Pass {name}={usual}, for example.",
        )
    return value


def require_choice(value: str, valid: Iterable[str], *, name: str) -> None:
    """Refuse a word that is none of those that an argument takes.

    Args:
        value: What the caller passed.
        valid: Every word that would work.
        name: The argument's name.

    Raises:
        AnalysisError: If it is none of them.
    """
    words = list(valid)
    if value not in words:
        raise AnalysisError(f"{name} = {value!r} means nothing.", fix=nearest(value, words))


def require_metric(name: str, recorded: Iterable[str]) -> None:
    """Refuse a metric that nobody recorded.

    Args:
        name: What the caller asked for.
        recorded: Names that were recorded.

    Raises:
        AnalysisError: If it is none of them; the nearest is named.
    """
    names = set(recorded)
    if name not in names:
        raise AnalysisError(
            f"No run recorded a metric named {name!r}.", fix=nearest(name, names)
        )
