"""The nodes of a fleet: who is slow, who fails, who learns less."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals
from flip_lab.views.canvas import (
    axis_label,
    counted,
    node_names,
    nothing_yet,
    number,
    numbers,
    plain,
    require_columns,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_COLUMNS = (
    "partition_id",
    "node_id",
    "condition",
    "num_examples",
    "rounds",
    "replies",
    "failures",
    "mean_s",
    "slowest_s",
    "last_metric",
)
_LOOKS = {  # words, symbol, position of the colour in the series
    "fine": ("fine", "circle", 0),
    "failed": ("failed at some time", "triangle-up", 1),
    "failing": ("failing now", "x", 1),
    "excluded": ("excluded", "square-open", 6),
}
_FEW = 200  # nodes up to which the size of a point tells its examples
_SMALL_PX, _LARGE_PX = 7, 26


def fleet_figure(
    nodes: pd.DataFrame, *, metric: str = "last metric", theme: Theme = "light"
) -> Figure:
    """Draw each node by its mean time and its last metric, with what went wrong as shape.

    Nodes without such a metric, or with one that is NaN or infinite, lie on the lowest
    line; those that took no part are counted in the subtitle.

    Args:
        nodes: As ``FleetView.nodes`` gives them: one row a node.
        metric: What ``last_metric`` is, for the axis.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no node has taken part.

    Raises:
        ViewError: If the frame lacks a column, or there is no such theme.
    """
    require_columns(nodes, _COLUMNS, view="fleet_figure")
    seconds = numbers(nodes, "mean_s", view="fleet_figure")
    worked = nodes.take(np.flatnonzero(np.isfinite(seconds)))
    if worked.empty:
        return nothing_yet("The fleet", "No node has taken part yet.", theme=theme)
    palette = palette_of(theme)
    values = numbers(worked, "last_metric", view="fleet_figure")
    finite = values[np.isfinite(values)]
    span = float(np.ptp(finite)) if finite.size else 1.0
    floor = float(finite.min()) - 0.08 * (span or 1.0) if finite.size else 0.0
    drawn = worked.assign(height=np.where(np.isfinite(values), values, floor))
    traces = [
        _points(drawn[drawn["condition"] == condition], condition, palette, len(nodes))
        for condition in _LOOKS
        if (drawn["condition"] == condition).any()
    ]
    layout = _layout(nodes, worked, metric)
    if finite.size < len(worked):
        traces.append(_floor(seconds[np.isfinite(seconds)], floor, palette))
    return draw(traces, layout, theme=theme)


def _layout(nodes: pd.DataFrame, worked: pd.DataFrame, metric: str) -> dict[str, Any]:
    replies, failures = int(nodes["replies"].sum()), int(nodes["failures"].sum())
    idle = len(nodes) - len(worked)
    words = f"{counted(len(nodes), 'node')}, {failures:,} of {replies:,} replies failed"
    return {
        "title": {
            "text": "The fleet: time and metric",
            "subtitle": {"text": f"{words}, {idle:,} took no part" if idle else words},
        },
        "height": 460,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": "mean time (s)"},
            "type": "log",
            "tickvals": _ticks(numbers(worked, "mean_s", view="fleet_figure")),
        },
        "yaxis": {"title": {"text": axis_label(plain(metric))}},
        "legend": LEGEND_ABOVE,
    }


def _ticks(seconds: Reals) -> list[float]:
    """Give 1, 2 and 5 times the powers of ten around all times."""
    some = seconds[seconds > 0]
    ends = (float(some.min()), float(some.max())) if some.size else (1.0, 1.0)
    low, high = math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1]))
    powers = range(low, high + 1)
    return [float(f"{step}e{power}") for power in powers for step in (1, 2, 5)]


def _points(rows: pd.DataFrame, condition: str, palette: Palette, num_nodes: int) -> Trace:
    words, symbol, colour = _LOOKS[condition]
    return {
        "type": "scatter" if num_nodes <= _FEW else "scattergl",
        "mode": "markers",
        "name": f"{words} ({len(rows):,})",
        "x": numbers(rows, "mean_s", view="fleet_figure"),
        "y": rows["height"],
        "marker": {
            "symbol": symbol,
            "color": palette.series[colour],
            "size": _sizes(rows, num_nodes),
            "opacity": 0.8 if num_nodes <= _FEW else 0.55,
            "line": {"width": 1 if num_nodes <= _FEW else 0, "color": palette.paper},
        },
        "text": _texts(rows),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _sizes(rows: pd.DataFrame, num_nodes: int) -> Any:  # noqa: ANN401  # one, or one a point
    """Let a point's area tell a node's examples, where points have room."""
    if num_nodes > _FEW:
        return _SMALL_PX
    examples = numbers(rows, "num_examples", view="fleet_figure")
    most = max(float(np.nanmax(examples)), 1.0)
    return np.maximum(np.sqrt(np.nan_to_num(examples) / most) * _LARGE_PX, _SMALL_PX)


def _texts(rows: pd.DataFrame) -> list[str]:
    columns = ("num_examples", "rounds", "mean_s", "slowest_s", "last_metric")
    told = [numbers(rows, name, view="fleet_figure") for name in columns]
    failed = zip(rows["failures"], rows["replies"], strict=True)
    return [
        f"<b>{name}</b><br>{examples:,.0f} examples, {rounds:,.0f} rounds"
        f"<br>{mean:.3g} s on average, at most {slowest:.3g} s"
        f"<br>{failures} of {replies} failed<br>metric {number(float(value))}"
        for name, examples, rounds, mean, slowest, value, (failures, replies) in zip(
            node_names(rows), *told, failed, strict=True
        )
    ]


def _floor(seconds: Reals, floor: float, palette: Palette) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [float(seconds.min()), float(seconds.max())],
        "y": [floor, floor],
        "line": {"color": palette.line, "width": 1, "dash": "dot"},
        "name": "no finite metric",
        "hoverinfo": "skip",
    }
