"""What all views share: checks of the frame, an empty figure in words, plain labels."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Hashable, Iterable
from hashlib import blake2b
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.core.errors import ViewError
from flip_lab.views.theme import Figure, Theme, draw, palette_of

_LONGEST_NAME = 80
_UNITS = {"_s": "s", "_ms": "ms", "_bytes": "bytes", "_mib": "MiB", "_percent": "%"}


def require_columns(frame: pd.DataFrame, columns: Iterable[str], *, view: str) -> None:
    """Refuse a frame that lacks what a view is going to read.

    Args:
        frame: What the user passed.
        columns: Names that the view reads.
        view: Name of the view, for the message.

    Raises:
        ViewError: If a column is missing; the message names all that are.
    """
    missing = [name for name in columns if name not in frame.columns]
    if not missing:
        return
    had = ", ".join(str(name) for name in frame.columns) or "none"
    raise ViewError(
        f"{view} needs the column(s) {', '.join(missing)}; the frame has: {had}.",
        fix="Pass the frame as the store gives it, such as run.metrics() or run.clients(), "
        "or keep these columns in your SQL.",
    )


def require_one_run(frame: pd.DataFrame, *, view: str) -> None:
    """Refuse a frame that mixes runs in a view that shows one.

    Raises:
        ViewError: If ``run_id`` holds more than one id.
    """
    if "run_id" not in frame.columns:
        return
    run_ids = sorted(str(run_id) for run_id in frame["run_id"].unique())
    if len(run_ids) > 1:
        raise ViewError(
            f"{view} shows one run; the frame holds {len(run_ids)}: {', '.join(run_ids)}.",
            fix=f"Keep one of them, such as frame[frame.run_id == {run_ids[0]!r}].",
        )


def nothing_yet(title: str, words: str, *, theme: Theme) -> Figure:
    """Give a figure that says in words why there is nothing to see.

    Args:
        title: What the figure will show once there is something.
        words: One sentence for the reader.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A figure without data or axes.

    Raises:
        ViewError: If there is no such theme.
    """
    note = {
        "text": words,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
        "showarrow": False,
        "font": {"size": 14, "color": palette_of(theme).muted},
    }
    hidden = {"visible": False}
    layout = {"title": {"text": title}, "height": 220, "annotations": [note]}
    return draw([], {**layout, "xaxis": hidden, "yaxis": hidden}, theme=theme)


def axis_label(name: str) -> str:
    """Give a metric's name as an axis says it, with its unit.

    Args:
        name: Such as ``eval_accuracy``, ``train_loss`` or ``epoch_duration_s``.

    Returns:
        Such as ``accuracy (0 to 1)``, ``loss`` or ``epoch duration (s)``.
    """
    bare = name.removeprefix("eval_").removeprefix("train_").removeprefix("test_")
    if bare.endswith("accuracy"):
        return f"{bare.replace('_', ' ')} (0 to 1)"
    for suffix, unit in _UNITS.items():
        if bare.endswith(suffix):
            return f"{bare.removesuffix(suffix).replace('_', ' ')} ({unit})"
    return bare.replace("_", " ")


def plain(text: object, *, at_most: int = 60) -> str:
    """Give any text so that plotly shows it as it is, and not too much of it.

    Args:
        text: A name or message from anywhere; may hold markup.
        at_most: Characters to keep, at least 2.

    Returns:
        Escaped text; shortened text ends in an ellipsis.
    """
    words = str(text)
    return escape(
        words if len(words) <= at_most else f"{words[: at_most - 1]}…", quote=False
    )


def node_names(frame: pd.DataFrame) -> pd.Series[str]:
    """Name each row's node: by ``node`` where given, else by partition, else by node id.

    Args:
        frame: With ``partition_id``; ``node`` and ``node_id`` are optional.

    Returns:
        Escaped names, one per row, under the frame's index.
    """
    ids = frame["node_id"] if "node_id" in frame.columns else frame["partition_id"]
    given = (
        frame["node"] if "node" in frame.columns else pd.Series(None, frame.index, object)
    )
    rows = zip(given, frame["partition_id"], ids, strict=True)
    return pd.Series([_node_name(*row) for row in rows], index=frame.index, dtype=object)


def _node_name(given: object, partition_id: Any, node_id: Hashable) -> str:  # noqa: ANN401  # a cell
    if isinstance(given, str) and given:
        return plain(given, at_most=32)
    if pd.isna(partition_id) or int(partition_id) < 0:
        return f"node {node_id}"
    return f"partition {int(partition_id)}"


def round_step(last_round: float) -> int:
    """Give a distance between round ticks that leaves about ten of them, all whole.

    Args:
        last_round: The highest round shown, 0 or more.

    Returns:
        1, 2 or 5 times a power of ten.
    """
    rough = max(1.0, last_round / 10)
    power = 10 ** math.floor(math.log10(rough))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= rough))


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Give a logarithmic axis with ticks that can be read.

    Args:
        low: The smallest value shown, above 0.
        high: The largest.

    Returns:
        Type, range and ticks, as plotly writes an axis: at 1, 2 and 5 times powers of ten
        over up to three decades, at powers of ten beyond.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)  # noqa: PLR2004  # decades
    step = max(1, (last - first) // 8)
    ticks = [(f, power) for power in range(first, last + 1, step) for f in factors]
    return {
        "type": "log",
        "range": [math.log10(low) - 0.1, math.log10(high) + 0.1],
        "tickvals": [factor * 10.0**power for factor, power in ticks],
        "ticktext": [_power_text(factor, power) for factor, power in ticks],
    }


def _power_text(factor: int, power: int) -> str:
    if -3 <= power <= 3:  # noqa: PLR2004  # as people write numbers
        return f"{factor * 10.0**power:,.4g}"
    return f"{f'{factor}·' if factor > 1 else ''}10<sup>{power}</sup>"


def number(value: float) -> str:
    """Give a number in at most five significant digits; NaN and infinity in words."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.5g}"


def numbers(frame: pd.DataFrame, column: str, *, view: str) -> npt.NDArray[np.float64]:
    """Give a column as plain floats, whatever kind of numbers it holds.

    Args:
        frame: What the user passed.
        column: Integers, floats, booleans or decimals, of numpy, pandas or Arrow.
        view: Name of the view, for the message.

    Returns:
        One float a row; what is missing (``None``, ``NA``) is NaN.

    Raises:
        ViewError: If the column holds text that is no number.
    """
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ViewError(
            f"{view} needs numbers in the column {column}: {error}.",
            fix=f"Convert it first, such as frame[{column!r}].astype(float).",
        ) from error


def group_names(frame: pd.DataFrame, column: str) -> pd.Series[str]:
    """Name each row's group as a legend shows it; a missing one is ``(none)``.

    Args:
        frame: What the user passed.
        column: Of any type: text, numbers, booleans, categories, lists.

    Returns:
        Escaped names, one per row, under the frame's index.
    """
    names = ["(none)" if is_missing(value) else _named(value) for value in frame[column]]
    return pd.Series(names, index=frame.index, dtype=object)


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: ``None``, NaN, ``NA`` or ``NaT``."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and math.isnan(value)


def _named(value: object) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    name = f"{value:.0f}" if is_whole else str(value)
    if len(name) <= _LONGEST_NAME:
        return plain(name, at_most=_LONGEST_NAME)
    # two long names that begin alike must stay two groups
    mark = blake2b(name.encode(errors="replace"), digest_size=2).hexdigest()
    return f"{plain(name, at_most=_LONGEST_NAME - 8)} ({mark})"


def wrapped(name: str, *, width: int = 32) -> str:
    """Break a name into lines at its blanks, so that it leaves room for the drawing.

    Args:
        name: Escaped.
        width: Characters of a line, as far as there are blanks.

    Returns:
        Lines with plotly's line break between them.
    """
    return "<br>".join(textwrap.wrap(name, width, break_long_words=False))


def where(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """Give the rows whose column equals a value, in their order."""
    return frame.take(np.flatnonzero((frame[column] == value).to_numpy()))


def natural(name: str) -> list[tuple[bool, float, str]]:
    """Give a key that sorts ``node 10`` after ``node 9``."""
    return [
        (not part.isdigit(), float(part) if part.isdigit() else 0.0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def counted(number_of: int, word: str) -> str:
    """Give a count with its word, such as ``1 seed`` or ``1,000 clients``."""
    return f"{number_of:,} {word}{'' if number_of == 1 else 's'}"
