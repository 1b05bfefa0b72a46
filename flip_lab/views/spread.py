"""How evenly a metric is spread over clients, group by group."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.core.goals import Goal, goal_of
from flip_lab.views.canvas import (
    axis_label,
    counted,
    group_names,
    node_names,
    nothing_yet,
    numbers,
    plain,
    require_columns,
)
from flip_lab.views.lanes import lane_layout, lane_title
from flip_lab.views.theme import (
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_Floats: TypeAlias = npt.NDArray[np.float64]

_COLUMNS = ("run_id", "server_round", "phase", "partition_id", "name", "value")
_MOST_POINTS = 200  # of a lane; of more clients, evenly spaced ones stand for all
_LANE_PX = 62


def fairness_figure(
    client_metrics: pd.DataFrame,
    name: str,
    *,
    runs: pd.DataFrame | None = None,
    phase: str | None = None,
    goal: Goal | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw how a metric is spread over the clients of each group, worst tenth marked.

    Each run counts with its last recorded round, and clients of a group's runs are pooled.
    The box holds the middle half, its whiskers 90 % of the clients; the diamond is the mean
    of the worst tenth. Of more than 200 clients, evenly spaced ones (by rank) are drawn as
    points, the best and the worst always. Values that are NaN or infinite are counted at
    the right, and are in nothing else.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of one run or several:
            ``run_id``, ``server_round``, ``phase``, ``partition_id``, ``name``, ``value``;
            ``node`` and ``node_id`` are optional.
        name: The metric, such as ``eval_accuracy``.
        runs: ``group``, ``run_id``: a comparison's ``runs``; other runs are ignored. By
            default each run is a group.
        phase: ``"train"`` or ``"evaluate"``; by default evaluate where it has the metric.
        goal: ``"max"`` when high is good, ``"min"`` when low is; by default guessed from
            the name.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no client has reported the metric yet.

    Raises:
        ViewError: If a frame lacks a column, a column holds no numbers, or there is no such
            theme.
    """
    require_columns(client_metrics, _COLUMNS, view="fairness_figure")
    title = f"{plain(name)} over the clients"
    kept = client_metrics[client_metrics["name"] == name]
    chosen = phase or min((str(each) for each in kept["phase"].unique()), default="")
    kept = _grouped(kept[kept["phase"] == chosen], runs)
    if kept.empty:
        words = f"No client has reported {plain(name)} yet."
        return nothing_yet(title, words, theme=theme)
    aim = goal or goal_of(name)
    lanes = _lanes(kept, runs, aim)
    palette = palette_of(theme)
    traces: list[Trace] = []
    for at, lane in enumerate(lanes):
        if lane.reported.size:
            traces += _drawn(lane, at, palette, is_first=not traces)
    layout = lane_layout(
        [lane.name for lane in lanes],
        [_fact(lane) for lane in lanes],
        label=axis_label(name),
        palette=palette,
    )
    words = (
        f"{chosen}, last round of each run · box: middle half, whiskers: 90 % of clients"
    )
    layout |= {
        "title": lane_title(title if len(lanes) == 1 else f"{title}, by group", words),
        "height": 190 + _LANE_PX * len(lanes),
    }
    return draw(traces, layout, theme=theme)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """One group's clients, the worst first; ``worst`` of them are the worst tenth."""

    name: str
    reported: _Floats
    clients: list[str]
    worst: int
    diverged: int


def _grouped(kept: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
    """Keep the last round of each run of a group, and name its group."""
    if runs is not None:
        require_columns(runs, ("group", "run_id"), view="fairness_figure")
        named = runs.assign(called=group_names(runs, "group"))[["run_id", "called"]]
        kept = kept.merge(named.drop_duplicates("run_id"), on="run_id", how="inner")
    else:
        kept = kept.assign(called=group_names(kept, "run_id"))
    last = kept.groupby("run_id", observed=True)["server_round"].transform("max")
    return kept[kept["server_round"] == last]


def _lanes(kept: pd.DataFrame, runs: pd.DataFrame | None, goal: Goal) -> list[_Lane]:
    values = numbers(kept, "value", view="fairness_figure")
    called = kept["called"].to_numpy()
    nodes = node_names(kept).to_numpy()
    order = group_names(runs, "group") if runs is not None else kept["called"]
    lanes: list[_Lane] = []
    for name in dict.fromkeys(order):
        mine = np.flatnonzero(called == name)
        finite = mine[np.isfinite(values[mine])]
        sign = 1.0 if goal == "max" else -1.0
        ranked = finite[np.argsort(sign * values[finite], kind="stable")]
        lanes.append(
            _Lane(
                name=str(name),
                reported=values[ranked],
                clients=[str(node) for node in nodes[ranked]],
                worst=ceil(ranked.size / 10),
                diverged=mine.size - finite.size,
            )
        )
    return lanes


def _fact(lane: _Lane) -> str:
    lost = f"{lane.diverged:,} diverged" if lane.diverged else ""
    if not lane.reported.size:
        return lost or "no client"
    worst = f"worst tenth {lane.reported[: lane.worst].mean():.3g}"
    return " · ".join(filter(None, (worst, lost)))


def _drawn(lane: _Lane, at: int, palette: Palette, *, is_first: bool) -> list[Trace]:
    ranks = np.arange(lane.reported.size)
    if ranks.size > _MOST_POINTS:
        ranks = np.unique(np.linspace(0, ranks.size - 1, _MOST_POINTS).astype(np.int64))
    is_worst = ranks < lane.worst
    looks = (
        (ranks[~is_worst], "client", translucent(palette.series[0], 0.6), "circle", 5),
        (ranks[is_worst], "worst tenth", palette.failed, "circle-open", 6),
    )
    traces = [_box(lane, at, palette)]
    for chosen, words, colour, symbol, size in looks:
        marker = {"color": colour, "symbol": symbol, "size": size}
        traces.append(
            {
                **_points(lane.reported[chosen], at + _jitter(chosen.size)),
                "text": [
                    f"<b>{lane.clients[rank]}</b><br>{lane.name}: {lane.reported[rank]:.5g}"
                    for rank in chosen
                ],
                "marker": marker,
                "name": words,
                "showlegend": is_first,
                "legendgroup": words,
            }
        )
    worst = float(lane.reported[: lane.worst].mean())
    told = f"<b>{lane.name}</b><br>mean of the worst {counted(lane.worst, 'client')}"
    outline = {"color": palette.paper, "width": 1.5}
    diamond = {"symbol": "diamond", "size": 12, "color": palette.failed, "line": outline}
    traces.append(
        {
            **_points(np.array([worst]), np.array([float(at)])),
            "text": [f"{told}: {worst:.5g}"],
            "marker": diamond,
            "name": "mean of the worst tenth",
            "showlegend": is_first,
            "legendgroup": "mean",
        }
    )
    return traces


def _box(lane: _Lane, at: int, palette: Palette) -> Trace:
    """Draw a box from quantiles, so that its size does not grow with the clients."""
    low, first, median, third, high = np.percentile(lane.reported, [5, 25, 50, 75, 95])
    return {
        "type": "box",
        "orientation": "h",
        "y": [at],
        "q1": [first],
        "median": [median],
        "q3": [third],
        "lowerfence": [low],
        "upperfence": [high],
        "width": 0.34,
        "line": {"color": palette.muted, "width": 1.5},
        "fillcolor": translucent(palette.muted, 0.12),
        "showlegend": False,
        "hoverinfo": "skip",
        "name": lane.name,
    }


def _points(values: _Floats, heights: _Floats) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": heights,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _jitter(size: int) -> _Floats:
    """Spread points over the height of their lane, always alike."""
    return np.random.default_rng(0).uniform(-0.32, 0.32, size)
