"""How long each node took, beside what its digital twin foretold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.views.canvas import node_names, nothing_yet, numbers, require_columns
from flip_lab.views.lanes import intervals, lane_layout, lane_title
from flip_lab.views.theme import Figure, Palette, Theme, Trace, draw, palette_of

_TIMES = ("predicted_s", "low_s", "high_s", "observed_s")
_MOST_LANES = 60
_SPREAD = 0.22  # of a lane's height, over which its points are scattered
_DECADE = 10  # ratio of times from which a linear axis hides the fast nodes


def twin_messages(
    clients: pd.DataFrame, *, phase: str = "train", theme: Theme = "light"
) -> Figure:
    """Draw, a lane a node, the times of its messages on the interval of the prediction.

    Only messages that the fleet was not learned from are drawn. What lies outside the
    interval is a cross. Of more than 60 nodes, the slowest are shown.

    Args:
        clients: ``TwinComparison.clients``: ``phase``, ``partition_id``, ``is_learned``,
            ``predicted_s``, ``low_s``, ``high_s``, ``observed_s``; ``node``, a name, is
            optional.
        phase: ``"train"`` or ``"evaluate"``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no such message.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    needed = ("phase", "partition_id", "is_learned", *_TIMES)
    require_columns(clients, needed, view="twin_messages")
    title = f"Time of a message, node by node: {phase}"
    kept = clients[(clients["phase"] == phase) & ~clients["is_learned"].astype(bool)]
    if kept.empty:
        return nothing_yet(title, "No such message has been foretold.", theme=theme)
    frame = pd.DataFrame({n: numbers(kept, n, view="twin_messages") for n in _TIMES})
    frame["name"] = node_names(kept).to_numpy()
    frame["at"] = numbers(kept, "partition_id", view="twin_messages")
    frame["is_inside"] = frame["observed_s"].between(frame["low_s"], frame["high_s"])
    lanes = _lanes(frame)
    frame = frame[frame["name"].isin(lanes["name"])]
    palette = palette_of(theme)
    colours = [palette.series[0]] * len(lanes)
    layout = lane_layout(
        list(lanes["name"]),
        [f"off by {row:.0%}" for row in lanes["error"]],
        label="time from dispatch to reply (s)",
        palette=palette,
    )
    layout["title"] = lane_title(title, _subtitle(frame))
    layout["xaxis"] |= _axis(frame)
    layout["yaxis"]["ticklabelstandoff"] = 6
    traces = [
        *intervals(lanes["low_s"].to_numpy(), lanes["high_s"].to_numpy(), colours),
        *_points(frame, lanes, palette),
    ]
    return draw(traces, layout, theme=theme)


def _lanes(frame: pd.DataFrame) -> pd.DataFrame:
    error = (frame["predicted_s"] / frame["observed_s"] - 1).abs()
    lanes = (
        frame.assign(error=error)
        .groupby("name", as_index=False)
        .agg(
            at=("at", "first"),
            predicted_s=("predicted_s", "median"),
            low_s=("low_s", "median"),
            high_s=("high_s", "median"),
            error=("error", "mean"),
        )
    )
    slowest = lanes.nlargest(_MOST_LANES, "predicted_s")
    return slowest.sort_values("at", ignore_index=True)


def _points(frame: pd.DataFrame, lanes: pd.DataFrame, palette: Palette) -> list[Trace]:
    height = {name: at for at, name in enumerate(lanes["name"])}
    order = frame.groupby("name").cumcount().to_numpy()
    spread = _SPREAD * np.sin(2.4 * order)  # the same picture each time, and no two in line
    place = frame["name"].map(height).to_numpy(dtype=np.float64) + spread
    median = {"width": 2, "color": palette.series[0]}
    looks = (
        (True, "observed", "circle", palette.text, 6),
        (False, "observed, outside", "x", palette.failed, 7),
    )
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": lanes["predicted_s"].to_numpy(),
            "y": np.arange(len(lanes)),
            "marker": {"symbol": "line-ns", "size": 20, "line": median},
            "name": "foretold, median on its interval",
            "hovertemplate": "foretold %{x:.3g} s<extra></extra>",
        }
    ]
    for is_inside, name, symbol, colour, size in looks:
        chosen = (frame["is_inside"] == is_inside).to_numpy()
        if not chosen.any():
            continue
        line = {"color": palette.paper, "width": 1}
        marker = {"symbol": symbol, "size": size, "color": colour, "line": line}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": frame["observed_s"].to_numpy()[chosen],
                "y": place[chosen],
                "marker": marker,
                "opacity": 0.85,
                "name": name,
                "text": list(frame["name"][chosen]),
                "hovertemplate": "<b>%{text}</b><br>took %{x:.3g} s<extra></extra>",
            }
        )
    return traces


def _axis(frame: pd.DataFrame) -> dict[str, Any]:
    """Start at zero, unless nodes differ so much that the fast ones could not be seen."""
    low, high = float(frame["low_s"].min()), float(frame["high_s"].max())
    seen = frame["observed_s"]
    low, high = min(low, float(seen.min())), max(high, float(seen.max()))
    if low > 0 and high / low > _DECADE * _DECADE:
        return {"type": "log"}
    return {"range": [0, 1.04 * high]}


def _subtitle(frame: pd.DataFrame) -> str:
    inside = int(frame["is_inside"].sum())
    return (
        f"{inside:,} of {len(frame):,} messages inside the interval; none of them was "
        "learned from"
    )
