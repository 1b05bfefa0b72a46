"""A family of runs as a tree over rounds: where each fork left, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import pandas as pd

from flip_lab.core.errors import ViewError, nearest
from flip_lab.views.canvas import (
    axis_label,
    counted,
    nothing_yet,
    plain,
    require_columns,
    round_step,
)
from flip_lab.views.family_lanes import Lane, lanes_of, name_of, told
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

ColourBy: TypeAlias = Literal["state", "metric"]

_COLUMNS = (
    "run_id",
    "name",
    "parent_run_id",
    "forked_at_round",
    "changed",
    "state",
    "rounds_done",
    "num_rounds",
    "metric",
    "best",
    "last",
    "marks",
)
_STATES = {  # a place in the palette's series; the others recede
    "completed": 0,
    "running": 2,
    "starting": 2,
    "paused": 4,
    "failed": 1,
}
_MARKS = {
    "edit": ("diamond", "edit"),
    "pause": ("line-ns-open", "pause"),
    "break": ("square", "break"),
}
_MOST_NAMED = 40
_TALL, _LOW = 34, 9
_MOST_PX = 2400
_BUMP = 0.35  # rounds that a branch takes to leave its parent


def family_tree(
    family: pd.DataFrame, *, colour_by: ColourBy = "state", theme: Theme = "light"
) -> Figure:
    """Draw each run of a family as a lane over the rounds, leaving its parent at the fork.

    Args:
        family: As ``lab.family(run)`` gives it.
        colour_by: ``"state"``, or ``"metric"``: the best value of the family's metric.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; it grows with the number of runs, up to 2,400 pixels.

    Raises:
        ViewError: If the frame lacks a column, or an argument means nothing.
    """
    require_columns(family, _COLUMNS, view="family_tree")
    if colour_by not in {"state", "metric"}:
        raise ViewError(
            f"colour_by is {colour_by!r}.", fix=nearest(colour_by, ("state", "metric"))
        )
    palette = palette_of(theme)
    if family.empty:
        return nothing_yet("Family of runs", "There is no run here.", theme=theme)
    lanes = lanes_of(family)
    by_metric = colour_by == "metric" and bool(family["best"].notna().any())
    traces = _lines(lanes, palette, by_metric=by_metric)
    traces += _ends(lanes, palette, by_metric=by_metric)
    traces += _mark_traces(lanes, palette)
    return draw(traces, _layout(lanes, palette), theme=theme)


def _line(
    ways: Sequence[Sequence[tuple[float, float]]], colour: str, name: str, width: float
) -> Trace:
    """Draw several ways as one trace, with a gap after each."""
    places = [place for way in ways for place in (*way, (None, None))]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in places],
        "y": [y for _, y in places],
        "line": {"color": colour, "width": width},
        "name": name,
        "hoverinfo": "skip",
        "showlegend": bool(name),
    }


def _lines(lanes: Sequence[Lane], palette: Palette, *, by_metric: bool) -> list[Trace]:
    """Draw where forks leave their parents, thinly, and then the lanes."""
    left = [
        [(lane.begin, lane.parent), (lane.begin, lane.at - 0.3), (_turn(lane), lane.at)]
        for lane in lanes
        if lane.parent is not None
    ]
    width = 2.5 if len(lanes) <= _MOST_NAMED else 1.75
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault("" if by_metric else str(lane.row["state"]), []).append(lane)
    drawn = [
        _line(
            [[(_turn(lane), lane.at), (_end(lane), lane.at)] for lane in some],
            _state_colour(state, palette),
            state,
            width,
        )
        for state, some in groups.items()
    ]
    return [_line(left, palette.muted, "", 1.0), *drawn]


def _turn(lane: Lane) -> float:
    return float(lane.begin) if lane.parent is None else lane.begin + _BUMP


def _end(lane: Lane) -> float:
    return max(float(lane.end), lane.begin + 2 * _BUMP)


def _state_colour(state: str, palette: Palette) -> str:
    place = _STATES.get(state)
    return palette.muted if place is None else palette.series[place]


def _ends(lanes: Sequence[Lane], palette: Palette, *, by_metric: bool) -> list[Trace]:
    """Draw where each run ended, or stands; there it tells about itself."""
    marker: dict[str, Any] = {
        "size": 10 if len(lanes) <= _MOST_NAMED else 6,
        "symbol": ["x" if lane.row["state"] == "failed" else "circle" for lane in lanes],
        "line": {"color": palette.paper, "width": 1},
    }
    if by_metric:
        metric = str(lanes[0].row["metric"])
        title = {"text": axis_label(metric), "side": "right"}
        scale = [[at / 4, colour] for at, colour in enumerate(palette.scale)]
        marker |= {
            "color": [_value(lane) for lane in lanes],
            "colorscale": scale,
            "showscale": True,
            "colorbar": {"title": title, "thickness": 12, "outlinewidth": 0},
            "size": 14 if len(lanes) <= _MOST_NAMED else 8,
        }
    else:
        marker["color"] = [_state_colour(str(lane.row["state"]), palette) for lane in lanes]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [_end(lane) for lane in lanes],
            "y": [lane.at for lane in lanes],
            "marker": marker,
            "text": [told(lane) for lane in lanes],
            "hovertemplate": "%{text}<extra></extra>",
            "showlegend": False,
            "cliponaxis": False,
        }
    ]


def _value(lane: Lane) -> float:
    value = lane.row["best"]
    return float("nan") if pd.isna(value) else float(value)


def _mark_traces(lanes: Sequence[Lane], palette: Palette) -> list[Trace]:
    places: dict[str, list[tuple[int, int, str]]] = {}
    for lane in lanes:
        for mark in lane.row["marks"]:
            at = int(mark["server_round"])
            words = plain(mark["text"] or mark["kind"], at_most=90)
            places.setdefault(str(mark["kind"]), []).append((at, lane.at, words))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [at for at, _, _ in places[kind]],
            "y": [lane for _, lane, _ in places[kind]],
            "text": [f"round {at}: {words}" for at, _, words in places[kind]],
            "marker": {
                "symbol": symbol,
                "size": 9 if len(lanes) <= _MOST_NAMED else 6,
                "color": palette.text,
                "line": {
                    "color": palette.text if kind == "pause" else palette.paper,
                    "width": 1.5 if kind == "pause" else 1,
                },
            },
            "name": name,
            "hovertemplate": "%{text}<extra></extra>",
        }
        for kind, (symbol, name) in _MARKS.items()
        if kind in places
    ]


def _layout(lanes: Sequence[Lane], palette: Palette) -> dict[str, Any]:
    named = len(lanes) <= _MOST_NAMED
    last = max(1, *(lane.end for lane in lanes))
    deepest = counted(sum(lane.parent is not None for lane in lanes), "fork")
    high = _TALL if named else _LOW
    names = [name_of(lane) for lane in lanes]
    return {
        "title": {
            "text": "Family of runs",
            "subtitle": {"text": f"{counted(len(lanes), 'run')}, {deepest}"},
        },
        "height": min(_MOST_PX, 170 + max(90, high * len(lanes))),
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": {
            "title": {"text": "round"},
            "range": [-0.02 * last, last * 1.04],
            "dtick": round_step(last),
            "tick0": 0,
        },
        "yaxis": {
            "range": [len(lanes) - 0.4, -0.6],
            "tickvals": list(range(len(lanes))) if named else [],
            "ticktext": names if named else [],
            "ticks": "",
            "showgrid": named,
            "showline": False,
            "tickfont": {"size": 11, "color": palette.text},
        },
    }
