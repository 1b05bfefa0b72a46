"""Which node holds how many examples of which label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.distances import (
    DISTANCE_WORDS,
    Distance,
    distances_to_whole,
    gini,
)
from flip_lab.views.canvas import (
    node_names,
    nothing_yet,
    plain,
    require_columns,
    round_step,
)
from flip_lab.views.theme import (
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_MOST_COUNTED = 20  # nodes up to which a cell has room for its count
_MOST_NAMED = 40  # nodes up to which each has room for its name
_UNNAMED = "partition "  # how canvas.node_names calls a node without a name


def partition_map(
    partitions: pd.DataFrame,
    *,
    distance: Distance | None = "total_variation",
    theme: Theme = "light",
) -> Figure:
    """Draw a label by node heat map of counts: totals above it, distances below.

    Cells without examples are left empty, so that a missing label is a hole, not a shade.

    Args:
        partitions: ``partition_id`` (0-based), ``label`` (any kind of name or number) and
            ``num_examples``, one row per pair that occurs; ``node`` (the node's name) is
            optional.
        distance: How each node's labels are compared with those of all nodes together,
            see ``flip_lab.analysis.distances_between``; ``None`` leaves that out.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no partition.

    Raises:
        ViewError: If the frame lacks a column, or there is no such theme.
        AnalysisError: If there is no such distance.
    """
    require_columns(
        partitions, ("partition_id", "label", "num_examples"), view="partition_map"
    )
    if partitions.empty:
        words = "The data has not been split over nodes yet."
        return nothing_yet("Labels by node", words, theme=theme)
    counts = _counts(partitions)
    palette = palette_of(theme)
    traces = [_cells(counts, palette), _totals(counts, palette)]
    layout = _layout(counts)
    if distance is not None:
        held = counts.to_numpy(dtype=np.float64).T
        apart = distances_to_whole(held, distance)
        traces.append(_distances(counts, apart, DISTANCE_WORDS[distance], palette))
        sizes = gini(held.sum(axis=1))
        mean = float(apart[np.isfinite(apart)].mean()) if np.isfinite(apart).any() else 0.0
        _make_room(layout, traces[0], f"distance {mean:.2f} on average, Gini {sizes:.2f}")
    return draw(traces, layout, theme=theme)


def _layout(counts: pd.DataFrame) -> dict[str, Any]:
    num_labels, num_nodes = counts.shape
    subtitle = (
        f"{num_nodes} nodes, {num_labels} labels, {int(counts.to_numpy().sum()):,} examples"
    )
    names = [str(node) for node in counts.columns]
    step = 1 if num_nodes <= _MOST_NAMED else round_step(num_nodes)
    shown = names[::step]
    return {
        "title": {"text": "Labels by node", "subtitle": {"text": subtitle}},
        "height": 230 + max(150, min(26 * num_labels, 900)),
        "hovermode": "closest",
        "bargap": 0.15,
        "xaxis": {
            "type": "category",
            "title": {"text": "partition" if shown[0].startswith(_UNNAMED) else "node"},
            "showgrid": False,
            "tickvals": shown,
            "ticktext": [name.removeprefix(_UNNAMED) for name in shown],
        },
        "yaxis": {
            "type": "category",
            "title": {"text": "label"},
            "autorange": "reversed",
            "showgrid": False,
            "domain": [0, 0.78],
        },
        "yaxis2": {"title": {"text": "examples"}, "domain": [0.82, 1], "nticks": 4},
    }


def _make_room(layout: dict[str, Any], cells: Trace, words: str) -> None:
    """Move the map up, for a strip of distances below it."""
    layout["height"] += 70
    layout["title"]["subtitle"]["text"] += f"; {words}"
    layout["xaxis"]["anchor"] = "y3"
    layout["yaxis"]["domain"] = [0.2, 0.8]
    layout["yaxis2"]["domain"] = [0.84, 1]
    layout["yaxis3"] = {
        "title": {"text": "distance"},
        "domain": [0, 0.16],
        "nticks": 4,
        "rangemode": "tozero",
    }
    cells["colorbar"] |= {"len": 0.6, "y": 0.2}


def _counts(partitions: pd.DataFrame) -> pd.DataFrame:
    """Give counts, labels as rows and nodes as columns, both in natural order."""
    named = partitions.assign(client=node_names(partitions))
    nodes = named.sort_values("partition_id", kind="stable")["client"].unique()
    labels = sorted(named["label"].unique(), key=_natural)
    table = named.pivot_table(
        index="label", columns="client", values="num_examples", aggfunc="sum", fill_value=0
    )
    return table.reindex(index=labels, columns=list(nodes), fill_value=0)


def _natural(label: object) -> tuple[bool, float, str]:
    try:
        return False, float(str(label)), ""
    except ValueError:
        return True, 0.0, str(label)


def _cells(counts: pd.DataFrame, palette: Palette) -> Trace:
    values = counts.to_numpy(dtype=np.float64)
    totals = values.sum(axis=0, keepdims=True)
    shares = np.divide(values, totals, out=np.zeros_like(values), where=totals > 0)
    room = counts.shape[1] <= _MOST_COUNTED
    steps = len(palette.scale) - 1
    return {
        "type": "heatmap",
        "x": [str(node) for node in counts.columns],
        "y": [plain(label, at_most=24) for label in counts.index],
        "z": np.where(values > 0, values, np.nan),
        "customdata": shares,
        "zmin": 0,
        "colorscale": [[at / steps, colour] for at, colour in enumerate(palette.scale)],
        "colorbar": {
            "title": {"text": "examples", "side": "right"},
            "len": 0.78,
            "y": 0,
            "yanchor": "bottom",
            "thickness": 12,
            "outlinewidth": 0,
        },
        "xgap": 2 if room else 1,
        "ygap": 2 if room else 1,
        "hoverongaps": False,
        "texttemplate": "%{z:d}" if room else "",
        "hovertemplate": (
            "<b>%{x}</b><br>label %{y}: %{z:d} examples"
            "<br>%{customdata:.0%} of the node's data<extra></extra>"
        ),
    }


def _totals(counts: pd.DataFrame, palette: Palette) -> Trace:
    return {
        "type": "bar",
        "x": [str(node) for node in counts.columns],
        "y": counts.to_numpy(dtype=np.float64).sum(axis=0),
        "yaxis": "y2",
        "marker": {"color": translucent(palette.muted, 0.6), "line": {"width": 0}},
        "showlegend": False,
        "hovertemplate": "<b>%{x}</b><br>%{y:d} examples<extra></extra>",
    }


def _distances(counts: pd.DataFrame, apart: Reals, words: str, palette: Palette) -> Trace:
    return {
        "type": "bar",
        "x": [str(node) for node in counts.columns],
        "y": apart,
        "yaxis": "y3",
        "marker": {"color": palette.series[0], "line": {"width": 0}},
        "showlegend": False,
        "hovertemplate": f"<b>%{{x}}</b><br>{words} %{{y:.2f}}<extra></extra>",
    }
