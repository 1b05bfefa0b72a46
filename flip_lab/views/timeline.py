"""Who worked when: one lane per node, one bar per piece of work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from flip_lab.views.canvas import (
    node_names,
    nothing_yet,
    plain,
    require_columns,
    require_one_run,
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

_COLUMNS = (
    "server_round",
    "phase",
    "node_id",
    "partition_id",
    "num_examples",
    "started_at",
    "duration_s",
    "error_code",
    "error",
)
_PHASES = ("train", "evaluate", "query")
_MOST_NAMED = 40  # lanes up to which each has room for its name
_MOST_ROUNDS_NAMED = 15
_ERROR_LINES = 4  # of a traceback's tail, in the hover text


def cohort_timeline(
    clients: pd.DataFrame,
    *,
    run_started_at: datetime | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw when each node trained and evaluated, in seconds since the run's start.

    Args:
        clients: Rows of the table ``clients`` of one run, with ``server_round``, ``phase``,
            ``node_id``, ``partition_id``, ``num_examples``, ``started_at`` (aware, UTC),
            ``duration_s``, ``error_code``, ``error``; ``node``, a name, is optional.
        run_started_at: Where the time axis begins, aware; by default when the first client
            began.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no client has answered yet.

    Raises:
        ViewError: If the frame lacks a column or holds several runs, or there is no such
            theme.
    """
    require_columns(clients, _COLUMNS, view="cohort_timeline")
    require_one_run(clients, view="cohort_timeline")
    if clients.empty:
        return nothing_yet("Who worked when", "No client has answered yet.", theme=theme)
    began = pd.to_datetime(clients["started_at"], utc=True)
    origin = began.min() if run_started_at is None else pd.Timestamp(run_started_at)
    work = clients.assign(
        client=node_names(clients),
        start_s=(began - origin).dt.total_seconds(),
        failed=clients["error_code"].fillna(0).to_numpy() != 0,
    ).sort_values(["partition_id", "node_id", "start_s"], kind="stable")
    lanes = [str(lane) for lane in work["client"].unique()]
    palette = palette_of(theme)
    traces = [
        _bars(work[work["phase"] == phase], phase, palette)
        for phase in _PHASES
        if (work["phase"] == phase).any()
    ]
    if work["failed"].any():
        traces.append(_failures(work[work["failed"]], palette))
    return draw(traces, _layout(work, lanes, palette), theme=theme)


def _bars(work: pd.DataFrame, phase: str, palette: Palette) -> Trace:
    colour = palette.series[{"train": 0, "evaluate": 2, "query": 5}[phase]]
    return {
        "type": "bar",
        "orientation": "h",
        "y": work["client"],
        "base": work["start_s"],
        "x": work["duration_s"],
        "marker": {
            "color": [
                translucent(colour, 0.25 if gone else 0.9) for gone in work["failed"]
            ],
            "line": {"color": colour, "width": 1},  # keeps a bar of milliseconds visible
        },
        "name": phase,
        "text": [_told(row) for row in work.to_dict("records")],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _failures(failed: pd.DataFrame, palette: Palette) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": failed["start_s"] + failed["duration_s"],
        "y": failed["client"],
        "marker": {
            "symbol": "x",
            "size": 9,
            "color": palette.failed,
            "line": {"color": palette.paper, "width": 1},
        },
        "name": "failed",
        "text": [_told(row) for row in failed.to_dict("records")],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _told(row: dict[Any, Any]) -> str:
    head = (
        f"<b>{row['client']}</b><br>round {row['server_round']}, {row['phase']}"
        f"<br>{row['duration_s']:.3g} s, from {row['start_s']:.3g} s"
    )
    if not row["failed"]:
        return f"{head}<br>{row['num_examples']:g} examples"
    lines = str(row["error"] or "no reason given").strip().splitlines()[-_ERROR_LINES:]
    reason = "<br>".join(plain(line, at_most=90) for line in lines)
    return f"{head}<br><b>failed</b> (error {int(row['error_code'])})<br>{reason}"


def _layout(work: pd.DataFrame, lanes: list[str], palette: Palette) -> dict[str, Any]:
    rounds = _rounds(work)
    high = 34 if len(lanes) <= 12 else 9  # noqa: PLR2004  # lanes that may be tall
    failures = int(work["failed"].sum())
    told = f"{len(lanes)} nodes, {len(rounds)} rounds, {failures} failures"
    named = len(lanes) <= _MOST_NAMED
    return {
        "title": {"text": "Who worked when", "subtitle": {"text": told}},
        "height": 190 + max(140, high * len(lanes)),
        "barmode": "overlay",
        "bargap": 0.3,
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": {
            "title": {"text": "time since the run's start (s)"},
            "rangemode": "tozero",
        },
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": lanes,
            "range": [len(lanes) - 0.5, -0.5],
            "showgrid": False,
            "ticks": "",
            "tickvals": lanes if named else lanes[::10],
        },
        "shapes": _round_bands(rounds, palette),
        "annotations": _round_names(rounds, palette),
    }


def _rounds(work: pd.DataFrame) -> list[tuple[int, float, float]]:
    """Give each round with its first start and its last end, in seconds."""
    spans = work.assign(end_s=work["start_s"] + work["duration_s"]).groupby("server_round")
    limits = spans.agg(begin=("start_s", "min"), end=("end_s", "max")).reset_index()
    return [(int(at), float(begin), float(end)) for at, begin, end in limits.to_numpy()]


def _round_bands(
    rounds: list[tuple[int, float, float]], palette: Palette
) -> list[dict[str, Any]]:
    band = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    look = {"fillcolor": palette.stripe, "line": {"width": 0}}
    return [{**band, **look, "x0": begin, "x1": end} for at, begin, end in rounds if at % 2]


def _round_names(
    rounds: list[tuple[int, float, float]], palette: Palette
) -> list[dict[str, Any]]:
    every = -(-len(rounds) // _MOST_ROUNDS_NAMED)
    return [
        {
            "text": f"round {at}" if len(rounds) <= _MOST_ROUNDS_NAMED // 2 else f"{at}",
            "x": (begin + end) / 2,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 10, "color": palette.muted},
        }
        for at, begin, end in rounds[::every]
    ]
