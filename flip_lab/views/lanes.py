"""Lanes: one line of the page per group, a name at its left and facts at its right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import wrapped
from flip_lab.views.theme import LEGEND_BELOW, Palette, Trace

_LANE_PX = 34
_CROWDED = 16  # lanes above which each gets less room
_CROWDED_PX = 22
_LINE_PX = 14
_LETTER_PX = 6.2  # of the facts' font, on average


def lane_title(text: str, subtitle: str) -> dict[str, Any]:
    """Give a title at the left edge: long names of lanes leave little room above the axes.

    Args:
        text: The title; may hold plotly's markup.
        subtitle: The line below it.
    """
    place = {"x": 0, "xref": "container", "pad": {"l": 16, "t": 18}}
    return {"text": text, "subtitle": {"text": subtitle}, **place}


def lane_layout(
    names: Sequence[str], facts: Sequence[str], *, label: str, palette: Palette
) -> dict[str, Any]:
    """Give the layout of a figure of lanes, the first one on top.

    Args:
        names: What each lane is called; escaped.
        facts: What stands at its right end; may hold plotly's markup.
        label: Title of the horizontal axis.
        palette: Colours of the theme.

    Returns:
        Layout with height, axes, the right margin that the facts need, and the facts as
        annotations. Lane n lies at height n of the vertical axis.
    """
    font = {"size": 11, "color": palette.muted}
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "showarrow": False}
    called = [wrapped(name) for name in names]
    most_lines = 1 + max((name.count("<br>") for name in called), default=0)
    lane_px = _LANE_PX if len(names) <= _CROWDED else _CROWDED_PX
    lane_px = max(lane_px, 8 + _LINE_PX * most_lines)
    longest = max((len(fact) for fact in facts), default=0)
    return {
        "height": 190 + lane_px * max(len(names), 2),
        "hovermode": "closest",
        "margin": {"r": 24 + int(_LETTER_PX * longest), "b": 76},
        "legend": LEGEND_BELOW,
        "xaxis": {"title": {"text": label}},
        "yaxis": {
            "range": [len(names) - 0.5, -0.5],
            "tickvals": list(range(len(names))),
            "ticktext": called,
            "tickfont": {"size": 12, "color": palette.text},
            "ticks": "",
            "showline": False,
            "gridcolor": palette.stripe,
        },
        "annotations": [
            {**beside, "y": at, "xshift": 12, "text": fact, "font": font}
            for at, fact in enumerate(facts)
        ],
    }


def padded(*columns: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """Give an axis a range with room at both ends: lines alone would touch the names.

    Args:
        columns: What is drawn; values that are not finite count for nothing.

    Returns:
        ``range`` for the axis; nothing when all values are one, or there is none.
    """
    values = np.concatenate(columns)
    known = values[np.isfinite(values)]
    if not known.size or known.min() == known.max():
        return {}
    low, high = float(known.min()), float(known.max())
    room = 0.04 * (high - low)
    return {"range": [low - room, high + room]}


def intervals(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    colours: Sequence[str],
) -> list[Trace]:
    """Draw one thick horizontal line per lane, from low to high; none where an end is NaN.

    Args:
        low: Left ends, one per lane.
        high: Right ends.
        colours: Colours, one per lane.

    Returns:
        One trace per lane that has an interval.
    """
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [left, right],
            "y": [at, at],
            "line": {"color": colour, "width": 5},
            "opacity": 0.45,
            "hoverinfo": "skip",
            "showlegend": False,
        }
        for at, (left, right, colour) in enumerate(zip(low, high, colours, strict=True))
        if np.isfinite(left) and np.isfinite(right)
    ]


def points(values: pd.Series[float], told: pd.Series[str]) -> Trace:
    """Give one point a lane, without its looks.

    Args:
        values: Where each lies; the index is the number of its lane.
        told: Hover texts, in the same order.
    """
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values.to_numpy(),
        "y": values.index.to_numpy(),
        "text": list(told),
        "hovertemplate": "%{text}<extra></extra>",
    }


def lost_lanes(
    centres: pd.Series[float], told: pd.Series[str], palette: Palette
) -> list[Trace]:
    """Mark lanes without a finite value, at the left end of what is drawn."""
    lost = centres[~np.isfinite(centres)]
    if lost.empty:
        return []
    known = centres[np.isfinite(centres)]
    at = pd.Series(float(known.min()) if len(known) else 0.0, index=lost.index)
    line = {"color": palette.failed, "width": 2}
    return [
        {
            **points(at, told[lost.index]),
            "marker": {"symbol": "x-thin", "size": 10, "line": line},
            "name": "no finite value",
        }
    ]


def p_words(value: float) -> str:
    """Give a p value as papers do."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"  # noqa: PLR2004  # the custom
