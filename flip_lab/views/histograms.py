"""How logged values are spread in each round."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import counted, nothing_yet, numbers, plain, round_step
from flip_lab.views.logged import rows_of, value_of
from flip_lab.views.theme import Figure, Palette, Theme, Trace, draw, palette_of

_NUM_BINS = 64
_MANY_ROUNDS = 100  # above which a gap between columns would hide them

Floats = npt.NDArray[np.float64]


def histogram_map(logged: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw how values are spread in each round: a column of shades, its median a line.

    Histograms of several clients of one round are added up; those with other bins are
    shared out over common ones.

    Args:
        logged: ``server_round``, ``name``, ``type`` and ``value`` of one run and one name,
            as ``run.logged(name)`` gives them. Rows of other types are left out.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no histogram.

    Raises:
        ViewError: If the frame lacks a column, mixes runs or names, or there is no such
            theme.
    """
    rows, name = rows_of(logged, "histogram", view="histogram_map")
    if rows.empty:
        return nothing_yet("Histograms", "No histogram has been logged yet.", theme=theme)
    values = [value_of(each) for each in rows["value"]]
    edges = _common_edges(values)
    server_rounds = numbers(rows, "server_round", view="histogram_map")
    first, last = int(server_rounds.min()), int(server_rounds.max())
    rounds = np.arange(first, last + 1, dtype=np.float64)
    counts = np.zeros((len(rounds), len(edges) - 1))
    for at, value in zip(server_rounds, values, strict=True):
        counts[int(at) - first] += _shared_out(value, edges)
    lost = sum(int(value.get("num_not_finite", 0)) for value in values)
    words = f"{counted(len(rows), 'histogram')}, {int(counts.sum()):,} values"
    if lost:
        words += f"; {lost:,} more were NaN or infinite"
    layout = {
        "title": {"text": f"Spread of {plain(name)}", "subtitle": {"text": words}},
        "height": 420,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": "round"},
            "dtick": round_step(last),
            "tick0": 0,
            "showgrid": False,
        },
        "yaxis": {"title": {"text": plain(name)}, "showgrid": False},
        "showlegend": False,
    }
    palette = palette_of(theme)
    traces = [
        _shades(rounds, edges, counts, palette),
        *_median(rounds, edges, counts, palette),
    ]
    return draw(traces, layout, theme=theme)


def _common_edges(values: list[dict[str, Any]]) -> Floats:
    """Give the bins that all have, or new ones that reach over all."""
    first = values[0]["edges"]
    if all(value["edges"] == first for value in values):
        return np.array(first, np.float64)
    low = min(value["edges"][0] for value in values)
    high = max(value["edges"][-1] for value in values)
    return np.linspace(float(low), float(high), _NUM_BINS + 1)


def _shared_out(value: dict[str, Any], edges: Floats) -> Floats:
    """Share counts out over other bins, as if values were even within each of theirs."""
    own = np.array(value["edges"], np.float64)
    below = np.concatenate([[0.0], np.cumsum(value["counts"], dtype=np.float64)])
    reached = np.asarray(np.interp(edges, own, below), np.float64)
    return reached[1:] - reached[:-1]


def _shades(rounds: Floats, edges: Floats, counts: Floats, palette: Palette) -> Trace:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    steps = len(palette.scale) - 1
    middles = (edges[:-1] + edges[1:]) / 2
    return {
        "type": "heatmap",
        "x": rounds,
        "y": edges,
        "z": np.where(shares > 0, shares, np.nan).T,
        "customdata": np.stack(
            [
                counts.T,
                np.broadcast_to(edges[:-1, None], counts.T.shape),
                np.broadcast_to(edges[1:, None], counts.T.shape),
                np.broadcast_to(middles[:, None], counts.T.shape),
            ],
            axis=-1,
        ),
        "zmin": 0,
        "colorscale": [[at / steps, colour] for at, colour in enumerate(palette.scale)],
        "colorbar": {
            "title": {"text": "share of the round's values", "side": "right"},
            "tickformat": ".0%",
            "thickness": 12,
            "outlinewidth": 0,
        },
        "xgap": 1 if len(rounds) <= _MANY_ROUNDS else 0,
        "hoverongaps": False,
        "hovertemplate": (
            "<b>round %{x}</b><br>%{customdata[1]:.4g} to %{customdata[2]:.4g}: "
            "%{customdata[0]:,.0f} values (%{z:.1%})<extra></extra>"
        ),
    }


def _median(rounds: Floats, edges: Floats, counts: Floats, palette: Palette) -> list[Trace]:
    """Draw the median of each round that has values, twice: a light rim, a dark line."""
    has = counts.sum(axis=1) > 0
    halves: list[float] = []
    for row in np.cumsum(counts[has], axis=1).tolist():
        halves += [*np.interp([row[-1] / 2], [0.0, *row], edges)]
    shared: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": rounds[has],
        "y": halves,
    }
    rim = {"color": palette.paper, "width": 5}
    line = {"color": palette.text, "width": 2}
    return [
        {
            **shared,
            "line": rim,
            "marker": {"size": 8, "color": palette.paper},
            "hoverinfo": "skip",
        },
        {
            **shared,
            "line": line,
            "marker": {"size": 5, "color": palette.text},
            "hovertemplate": "<b>round %{x}</b><br>median %{y:.4g}<extra></extra>",
        },
    ]
