"""What rounds would take under other conditions, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    group_names,
    nothing_yet,
    numbers,
    require_columns,
)
from flip_lab.views.lanes import intervals, lane_layout, lane_title, points
from flip_lab.views.theme import Figure, Palette, Theme, draw, palette_of

_TIMES = ("round_s", "round_low_s", "round_high_s", "num_asked", "num_replies")
_TITLE = "What if?"


def what_if_figure(choices: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw the time of a round for each choice, the first one being the yardstick.

    A lane holds the median and the interval of any of its rounds; at the right stands how
    much longer or shorter that is, how many are asked where that differs, and how many
    replies a round loses.

    Args:
        choices: Rows of ``Prediction.summary()``, put together: ``name``, ``round_s``,
            ``round_low_s``, ``round_high_s``, ``num_asked``, ``num_replies``,
            ``quorum_share``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no choice.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    needed = ("name", *_TIMES, "quorum_share")
    require_columns(choices, needed, view="what_if_figure")
    if choices.empty:
        return nothing_yet(_TITLE, "Nothing has been asked yet.", theme=theme)
    wanted = (*_TIMES, "quorum_share")
    rows = pd.DataFrame({n: numbers(choices, n, view="what_if_figure") for n in wanted})
    rows["name"] = group_names(choices, "name").to_numpy()
    palette = palette_of(theme)
    colours = [palette.muted, *[palette.series[0]] * (len(rows) - 1)]
    records = rows.to_dict("records")
    facts = [_fact(row, records[0]) for row in records]
    layout = lane_layout(
        list(rows["name"]), facts, label="time of a round (s)", palette=palette
    )
    layout["title"] = lane_title(_TITLE, "median of a round in its interval, as foretold")
    most = float(rows[["round_s", "round_high_s"]].to_numpy().max())
    layout["xaxis"] |= {"range": [0, 1.04 * most]}
    layout["yaxis"]["ticklabelstandoff"] = 6
    layout["shapes"] = [_yardstick(records[0]["round_s"], palette)]
    told = pd.Series([_told(row) for row in records], dtype=object)
    line = {"color": palette.paper, "width": 2}
    marker = {"symbol": "circle", "size": 12, "color": colours, "line": line}
    ends = [rows[name].to_numpy(dtype=np.float64) for name in _TIMES[1:3]]
    traces = [
        *intervals(ends[0], ends[1], colours),
        {**points(rows["round_s"], told), "marker": marker, "showlegend": False},
    ]
    return draw(traces, layout, theme=theme)


def _yardstick(at: float, palette: Palette) -> dict[str, Any]:
    line = {"color": palette.muted, "width": 1, "dash": "dot"}
    place = {"x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "line": line, "layer": "below", **place}


def _fact(row: dict[Any, Any], yardstick: dict[Any, Any]) -> str:
    """Say what a choice changes; the yardstick itself says how long it is."""
    is_first = row is yardstick
    change = row["round_s"] / yardstick["round_s"] - 1
    words = [f"{row['round_s']:.3g} s" if is_first else _change(change)]
    asked, lost = row["num_asked"], row["num_asked"] - row["num_replies"]
    if lost >= _NOISE:
        words.append(f"{_few(row['num_replies'])} of {_few(asked)} count")
    elif abs(asked - yardstick["num_asked"]) >= _NOISE:
        words.append(f"{_few(asked)} asked")
    if row["quorum_share"] < 0.995:  # noqa: PLR2004  # would be shown as 100 %
        words.append(f"quorum {row['quorum_share']:.0%}")
    return " · ".join(words)


_NOISE = 0.05  # a twentieth of a node: the luck of the draws


def _few(number: float) -> str:
    """Write how many a round, to a tenth."""
    return f"{number:.1f}".removesuffix(".0")


def _change(change: float) -> str:
    if abs(change) < 0.015:  # noqa: PLR2004  # no more than the luck of the draws
        return "no change"
    return f"{change:+.0%}".replace("-", "−")  # noqa: RUF001  # a minus, as long as a plus


def _told(row: dict[Any, Any]) -> str:
    return (
        f"<b>{row['name']}</b><br>{row['round_s']:.3g} s a round "
        f"({row['round_low_s']:.3g} to {row['round_high_s']:.3g})"
        f"<br>{row['num_replies']:.1f} good of {counted(round(row['num_asked']), 'reply')}"
    ).replace("replys", "replies")
