"""The nodes of a fleet, as a digital twin knows them: how long, and what for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    node_names,
    nothing_yet,
    numbers,
    require_columns,
    wrapped,
)
from flip_lab.views.lanes import lane_title
from flip_lab.views.theme import (
    LEGEND_BELOW,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_TIMES = ("median_s", "low_s", "high_s", "compute_share_low", "transfer_share_low")
_FACTS = ("error_rate", "share_up", "num_outages")
_PHASES = ("train", "evaluate")
_MOST_NODES = 60
_TITLE = "The fleet, node by node"
_PARTS = ("computing, at least", "computing, moving or waiting", "moving bytes, at least")
_GAP = 0.04  # between panels, as a share of the figure
_ALIKE = 4  # ratio of the longest times of two phases up to which they share a scale


def node_profiles(summary: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw each node's usual time for a message, in its parts, with 90 % of the times.

    The parts are what the runs prove: at least so much is computing, at least so much is
    moving bytes; what lies between can be either. At the right stands who failed or was
    away. Of more than 60 nodes, the slowest are shown.

    Args:
        summary: ``Fleet.summary()``: ``partition_id``, ``phase``, ``median_s``, ``low_s``,
            ``high_s``, ``compute_share_low``, ``transfer_share_low``, ``error_rate``,
            ``share_up``, ``num_outages``; ``node``, a name, is optional.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, one panel a phase; one that says so when no node ever answered.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    needed = ("partition_id", "phase", *_TIMES, *_FACTS)
    require_columns(summary, needed, view="node_profiles")
    frame = pd.DataFrame(
        {n: numbers(summary, n, view="node_profiles") for n in (*_TIMES, *_FACTS)}
    )
    frame["name"] = node_names(summary).to_numpy()
    frame["phase"] = summary["phase"].to_numpy()
    phases = [name for name in _PHASES if (frame["phase"] == name).any()]
    if not phases:
        return nothing_yet(_TITLE, "No node has answered yet.", theme=theme)
    nodes = _nodes(frame)
    palette = palette_of(theme)
    traces = _parts_explained(frame, palette)
    for at, phase in enumerate(phases, 1):
        rows = frame[frame["phase"] == phase].set_index("name").reindex(nodes)
        traces += [*_parts(rows, at, palette), _spread(rows, at, palette)]
    traces.append(_spread_explained(palette))
    layout = _layout(nodes, phases, palette)
    for at, reach_s in enumerate(_reaches(frame, phases), 1):
        layout[f"xaxis{at}"]["range"] = [0, reach_s]
    layout["title"] = lane_title(_TITLE, _subtitle(frame, nodes))
    layout["annotations"] += _facts(frame, nodes, palette)
    return draw(traces, layout, theme=theme)


def _nodes(frame: pd.DataFrame) -> list[str]:
    """Give the nodes that are shown, in their order."""
    slowest = frame.groupby("name")["median_s"].max().nlargest(_MOST_NODES, keep="all")
    silent = frame.loc[frame["median_s"].isna(), "name"]
    kept = {*slowest.index[:_MOST_NODES], *silent}
    return [str(name) for name in dict.fromkeys(frame["name"]) if name in kept]


def _parts(rows: pd.DataFrame, at: int, palette: Palette) -> list[Trace]:
    computing = rows["compute_share_low"].to_numpy()
    moving = rows["transfer_share_low"].to_numpy()
    shares = (computing, np.maximum(1 - computing - moving, 0), moving)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "x": share * rows["median_s"].to_numpy(),
            "y": np.arange(len(rows)),
            "xaxis": f"x{at}",
            "yaxis": f"y{at}",
            "marker": {"color": colour, "line": {"width": 0}},
            "name": name,
            "legendgroup": name,
            "showlegend": False,
            "text": [_told(str(node), row) for node, row in rows.iterrows()],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for name, share, colour in zip(_PARTS, shares, _colours(palette), strict=True)
    ]


def _colours(palette: Palette) -> tuple[str, str, str]:
    return palette.series[0], palette.line, palette.series[2]


def _parts_explained(frame: pd.DataFrame, palette: Palette) -> list[Trace]:
    """Explain the parts that are there: often nothing is known of moving bytes."""
    is_there = (True, True, bool((frame["transfer_share_low"] > 0).any()))
    return [
        {
            "type": "bar",
            "x": [None],
            "y": [None],
            "marker": {"color": colour, "line": {"width": 0}},
            "name": name,
            "legendgroup": name,
            "hoverinfo": "skip",
        }
        for name, colour, is_seen in zip(_PARTS, _colours(palette), is_there, strict=True)
        if is_seen
    ]


def _reaches(frame: pd.DataFrame, phases: list[str]) -> list[float]:
    """Say how far each panel's scale goes, in seconds: all alike where none gets tiny."""
    longest = frame[["median_s", "high_s"]].max(axis=1).groupby(frame["phase"]).max()
    most = [1.04 * float(longest[phase]) for phase in phases]
    return [max(most)] * len(most) if max(most) <= _ALIKE * min(most) else most


def _spread(rows: pd.DataFrame, at: int, palette: Palette) -> Trace:
    median = rows["median_s"].to_numpy()
    return {
        "type": "scatter",
        "mode": "markers",
        "x": median,
        "y": np.arange(len(rows)),
        "xaxis": f"x{at}",
        "yaxis": f"y{at}",
        "marker": {"size": 1, "color": palette.text},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rows["high_s"].to_numpy() - median,
            "arrayminus": median - rows["low_s"].to_numpy(),
            "color": palette.text,
            "thickness": 1.25,
            "width": 3,
        },
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _spread_explained(palette: Palette) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [None],
        "y": [None],
        "line": {"color": palette.text, "width": 1.25},
        "name": "90 % of the times",
        "hoverinfo": "skip",
    }


def _told(node: str, row: Any) -> str:  # noqa: ANN401  # a row of pandas
    parts = [f"<b>{node}</b>", f"{row['median_s']:.3g} s"]
    parts.append(f"90 %: {row['low_s']:.3g} to {row['high_s']:.3g} s")
    parts.append(f"computing: at least {row['compute_share_low']:.0%}")
    parts.append(f"moving bytes: at least {row['transfer_share_low']:.0%}")
    return "<br>".join(parts)


def _layout(nodes: list[str], phases: list[str], palette: Palette) -> dict[str, Any]:
    lane_px = 30 if len(nodes) <= 16 else 18  # noqa: PLR2004  # nodes that may be tall
    layout: dict[str, Any] = {
        "height": 210 + lane_px * max(len(nodes), 3),
        "margin": {"b": 80, "r": 120},
        "barmode": "stack",
        "bargap": 0.35,
        "hovermode": "closest",
        "legend": LEGEND_BELOW,
        "annotations": [],
    }
    width = (1 + _GAP) / len(phases) - _GAP  # alike, so that equal times are equally long
    for at, phase in enumerate(phases, 1):
        left = (at - 1) * (width + _GAP)
        layout[f"xaxis{at}"] = {
            "domain": [left, left + width],
            "anchor": f"y{at}",
            "title": {"text": "time (s)"},
            "rangemode": "tozero",
        }
        layout[f"yaxis{at}"] = {
            "anchor": f"x{at}",
            "range": [len(nodes) - 0.5, -0.5],
            "tickvals": list(range(len(nodes))),
            "ticktext": [wrapped(name) for name in nodes],
            "tickfont": {"size": 12, "color": palette.text},
            "ticklabelstandoff": 6,
            "showticklabels": at == 1,
            "ticks": "",
            "showline": False,
            "showgrid": False,
        }
        layout["annotations"].append(
            {
                "text": f"<b>{phase}</b>",
                "x": left,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return layout


def _facts(frame: pd.DataFrame, nodes: list[str], palette: Palette) -> list[dict[str, Any]]:
    known = frame.drop_duplicates("name").set_index("name").reindex(nodes)
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 12, "yref": "y1"}
    return [
        {
            **beside,
            "y": at,
            "text": _fact(row),
            "showarrow": False,
            "font": {"size": 11, "color": palette.muted},
        }
        for at, (_, row) in enumerate(known.iterrows())
    ]


def _fact(row: Any) -> str:  # noqa: ANN401  # a row of pandas
    words: list[str] = []
    if row["error_rate"] > 0:
        words.append(f"{row['error_rate']:.0%} failed")
    if row["num_outages"] > 0:
        words.append(f"away {1 - row['share_up']:.0%}")
    return ", ".join(words) or "always there"


def _subtitle(frame: pd.DataFrame, nodes: list[str]) -> str:
    all_ = frame["name"].nunique()
    if len(nodes) < all_:
        return f"the {len(nodes)} slowest of {counted(all_, 'node')}"
    return (
        f"{counted(all_, 'node')}; usual time of a message, and what is known of its parts"
    )
