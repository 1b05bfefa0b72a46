"""Where the time of a run went: its spans, one lane per kind of work and node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    natural,
    nothing_yet,
    numbers,
    plain,
    require_columns,
    require_one_run,
    where,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_COLUMNS = ("span_id", "parent_span_id", "name", "started_at", "duration_s", "status")
_MOST_LANES = 60
_MOST_NAMED = 40  # lanes up to which each has room for its name
_MOST_BARS = 20_000
_GOOD = frozenset({"", "ok", "unset"})
_LANE_KEYS = ("node", "partition_id", "node_id")


def span_timeline(spans: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw the spans of one run as bars over time.

    A lane holds the spans of one name; spans of a client have a lane for each node. What
    did not end well is outlined in the colour of failures. Of more than 60 lanes, those
    with the most time are drawn, and the subtitle says so.

    Args:
        spans: Rows of the table ``spans`` of one run: ``span_id``, ``parent_span_id``,
            ``name``, ``started_at`` (aware, UTC), ``duration_s``, ``status``;
            ``attributes`` (a mapping, or JSON text) is shown when the pointer rests on a
            bar, and its ``node``, ``partition_id`` or ``node_id`` names the lane.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no span.

    Raises:
        ViewError: If the frame lacks a column or holds several runs, a column holds no
            numbers, or there is no such theme.
    """
    require_columns(spans, _COLUMNS, view="span_timeline")
    require_one_run(spans, view="span_timeline")
    title = "Where the time went"
    if spans.empty:
        return nothing_yet(title, "No span has been recorded yet.", theme=theme)
    bars = _bars(spans)
    busiest = bars.groupby("lane")["duration_s"].sum().nlargest(_MOST_LANES)
    lanes = [str(lane) for lane in dict.fromkeys(bars["lane"]) if lane in busiest.index]
    shown = bars[bars["lane"].isin(lanes)].nlargest(_MOST_BARS, "duration_s")
    palette = palette_of(theme)
    kinds = list(dict.fromkeys(bars["kind"]))
    traces = [
        _trace(where(shown, "kind", kind), str(kind), palette.series[at % 6], palette)
        for at, kind in enumerate(kinds)
    ]
    lost = int(bars["failed"].sum())
    said = f"{counted(len(bars), 'span')}, {lost} not well"
    if len(shown) < len(bars):
        said += f" · the {len(shown):,} longest in the {len(lanes)} busiest lanes"
    layout = _layout(lanes)
    layout["title"] = {"text": title, "subtitle": {"text": said}}
    return draw(traces, layout, theme=theme)


def _bars(spans: pd.DataFrame) -> pd.DataFrame:
    """Give bars from the run's start, in the order of the tree: the run, then its parts."""
    began = pd.to_datetime(spans["started_at"], utc=True)
    has_attributes = "attributes" in spans.columns
    known = [
        _attributes(cell)
        for cell in (spans["attributes"] if has_attributes else [None] * len(spans))
    ]
    kinds = [plain(str(name).split(" ")[0], at_most=24) for name in spans["name"]]
    bars = pd.DataFrame(
        {
            "kind": kinds,
            "lane": [_lane(*each) for each in zip(kinds, known, strict=True)],
            "start_s": (began - began.min()).dt.total_seconds().to_numpy(),
            "duration_s": np.nan_to_num(numbers(spans, "duration_s", view="span_timeline")),
            "failed": [str(status).lower() not in _GOOD for status in spans["status"]],
            "depth": _depths(spans),
        }
    )
    names = [plain(name) for name in spans["name"]]
    statuses = [plain(status) for status in spans["status"]]
    rows = zip(names, statuses, known, bars["duration_s"], bars["start_s"], strict=True)
    bars["told"] = [_told(*row) for row in rows]
    places = {
        lane: at for at, lane in enumerate(sorted(set(bars["lane"]), key=_natural_lane))
    }
    bars["place"] = bars["lane"].map(places)
    return bars.sort_values(["depth", "place"], kind="stable")


def _depths(spans: pd.DataFrame) -> list[int]:
    """Say how far below the root each span is; of a lost parent nothing is known."""
    parents = dict(zip(spans["span_id"], spans["parent_span_id"], strict=True))
    depths: list[int] = []
    for span in spans["span_id"]:
        above: list[object] = [span]
        while (parent := parents.get(above[-1])) in parents and parent not in above:
            above.append(parent)
        depths.append(len(above) - 1)
    return depths


def _natural_lane(lane: object) -> list[tuple[bool, float, str]]:
    return natural(str(lane))


def _attributes(cell: Any) -> Mapping[str, Any]:  # noqa: ANN401  # a mapping, JSON or nothing
    if isinstance(cell, Mapping):
        return cast("Mapping[str, Any]", cell)
    try:
        read: Any = json.loads(cell) if isinstance(cell, str) else {}
    except ValueError:
        read = cell
    return cast("Mapping[str, Any]", read if isinstance(read, dict) else {"is": read})


def _lane(kind: str, attributes: Mapping[str, Any]) -> str:
    for key in _LANE_KEYS:
        if attributes.get(key) is not None:
            word = "" if key == "node" else f"{key.removesuffix('_id')} "
            return f"{kind} · {word}{plain(attributes[key], at_most=24)}"
    return kind


def _told(
    name: str,
    status: str,
    attributes: Mapping[str, Any],
    duration_s: float,
    start_s: float,
) -> str:
    facts = [f"{plain(key)}: {plain(value)}" for key, value in list(attributes.items())[:8]]
    head = f"<b>{name}</b><br>{duration_s:.3g} s, from {start_s:.3g} s, {status or 'unset'}"
    return "<br>".join([head, *facts])


def _trace(bars: pd.DataFrame, kind: str, colour: str, palette: Palette) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "y": bars["lane"],
        "base": bars["start_s"],
        "x": bars["duration_s"],
        "marker": {
            "color": translucent(colour, 0.75),
            "line": {
                "color": [palette.failed if lost else colour for lost in bars["failed"]],
                "width": [2.5 if lost else 1 for lost in bars["failed"]],
            },
        },
        "name": kind,
        "text": list(bars["told"]),
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _layout(lanes: list[str]) -> dict[str, Any]:
    lane_px = 26 if len(lanes) <= 20 else 14  # noqa: PLR2004  # lanes that may be tall
    return {
        "height": 170 + max(140, lane_px * len(lanes)),
        "barmode": "overlay",
        "bargap": 0.25,
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": {
            "title": {"text": "time since the first span began (s)"},
            "rangemode": "tozero",
        },
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": lanes,
            "range": [len(lanes) - 0.5, -0.5],
            "showgrid": False,
            "ticks": "",
            "tickvals": lanes if len(lanes) <= _MOST_NAMED else lanes[::4],
        },
    }
