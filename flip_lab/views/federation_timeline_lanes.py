"""What a real federation did, second by second: work, ways, outages, and the server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.fleet_facts import FleetFacts
from flip_lab.views.canvas import counted, natural, node_names, nothing_yet
from flip_lab.views.federation_timeline_bars import (
    PHASES,
    SERVER,
    away_explained,
    failure_marks,
    server_bars,
    work_bars,
)
from flip_lab.views.theme import (
    LEGEND_BELOW,
    Figure,
    Palette,
    Theme,
    draw,
    palette_of,
    translucent,
)

_TITLE = "The federation, second by second"
_MOST_NAMED = 40  # lanes up to which each has room for its name
_MOST_ROUNDS_NAMED = 15


def federation_timeline(facts: FleetFacts, *, theme: Theme = "light") -> Figure:
    """Draw one lane a node, with its work, the ways of its messages and its outages.

    A bar begins when a message is sent and ends when the reply is on record. Its strong
    part is the node's work, as it says; the pale part is both ways and waiting. The lowest
    lane is the server: what a round takes while nobody is asked.

    Args:
        facts: ``twin.facts`` of one run; ``facts.between(1, 5)`` keeps five rounds.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when nobody was asked.

    Raises:
        ViewError: If there is no such theme.
    """
    if facts.clients.empty:
        return nothing_yet(_TITLE, "Nobody has been asked yet.", theme=theme)
    work = facts.clients.assign(name=node_names(facts.clients))
    server = _server(facts)
    origin = min(float(work["sent_s"].min()), float(server["begin_s"].min()))
    lanes = [*sorted(dict.fromkeys(work["name"]), key=natural), SERVER]
    palette = palette_of(theme)
    traces = [
        trace
        for phase in PHASES
        for trace in work_bars(work[work["phase"] == phase], origin, phase, palette)
    ]
    traces += server_bars(server, origin, palette)
    traces += failure_marks(work[work["failed"]], origin, palette)
    traces += away_explained(facts, palette)
    layout = _layout(facts, lanes, origin, palette)
    layout["shapes"] += _outages(facts, work, lanes, origin, palette)
    return draw(traces, layout, theme=theme)


def _server(facts: FleetFacts) -> pd.DataFrame:
    """Give the stretches of rounds in which no message was under way."""
    asked = facts.clients.assign(
        end_s=facts.clients["sent_s"] + facts.clients["duration_s"]
    )
    keys = ["server_round", "phase"]
    spans = asked.groupby(keys).agg(begin=("sent_s", "min"), end=("end_s", "max"))
    rows: list[tuple[int, float, float]] = []
    for each in facts.rounds.to_dict("records"):
        number, until_s = int(each["server_round"]), float(each["ended_s"])
        at_s = until_s - float(each["duration_s"])
        known = spans.index.get_level_values("server_round") == number
        for begin, end in spans[known].sort_values("begin").to_numpy():
            rows.append((number, at_s, max(float(begin), at_s)))
            at_s = max(float(end), at_s)
        rows.append((number, at_s, max(until_s, at_s)))
    return pd.DataFrame(rows, columns=["server_round", "begin_s", "end_s"], dtype=float)


def _outages(
    facts: FleetFacts,
    work: pd.DataFrame,
    lanes: list[str],
    origin: float,
    palette: Palette,
) -> list[dict[str, Any]]:
    """Shade the lanes of nodes that were away."""
    place = dict(zip(work["partition_id"], work["name"], strict=True))
    look = {"fillcolor": translucent(palette.failed, 0.18), "line": {"width": 0}}
    return [
        {
            "type": "rect",
            "layer": "below",
            "x0": row["from_s"] - origin,
            "x1": row["to_s"] - origin,
            "y0": lanes.index(place[row["partition_id"]]) - 0.45,
            "y1": lanes.index(place[row["partition_id"]]) + 0.45,
            **look,
        }
        for row in facts.outages.to_dict("records")
        if row["partition_id"] in place
    ]


def _layout(
    facts: FleetFacts, lanes: list[str], origin: float, palette: Palette
) -> dict[str, Any]:
    high = 30 if len(lanes) <= 16 else 10  # noqa: PLR2004  # lanes that may be tall
    named = lanes if len(lanes) <= _MOST_NAMED else [*lanes[:-1:10], SERVER]
    return {
        "title": {"text": _TITLE, "subtitle": {"text": _subtitle(facts, lanes)}},
        "height": 200 + max(high * len(lanes), 120),
        "margin": {"b": 84},
        "barmode": "overlay",
        "bargap": 0.3,
        "hovermode": "closest",
        "legend": LEGEND_BELOW,
        "xaxis": {"title": {"text": "time (s)"}, "range": [0, _end_s(facts) - origin]},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": lanes,
            "range": [len(lanes) - 0.5, -0.5],
            "showgrid": False,
            "ticks": "",
            "ticklabelstandoff": 6,
            "tickvals": named,
        },
        **_rounds(facts.rounds, origin, palette),
    }


def _end_s(facts: FleetFacts) -> float:
    """Say when the last round, or the last message that was answered, ended."""
    replied_s = (facts.clients["sent_s"] + facts.clients["duration_s"]).max()
    ends_s = [float(each) for each in (replied_s, facts.rounds["ended_s"].max())]
    return max(each for each in ends_s if np.isfinite(each))


def _subtitle(facts: FleetFacts, lanes: list[str]) -> str:
    failed, away = int(facts.clients["failed"].sum()), len(facts.outages)
    told = f"{counted(len(lanes) - 1, 'node')}, {counted(len(facts.rounds), 'round')}"
    told += f", {counted(failed, 'failure')}" if failed else ""
    return f"{told}, {counted(away, 'outage')}" if away else told


def _rounds(rounds: pd.DataFrame, origin: float, palette: Palette) -> dict[str, Any]:
    """Shade every other round and write its number above."""
    ends = rounds["ended_s"].to_numpy(dtype=np.float64) - origin
    begins = ends - rounds["duration_s"].to_numpy(dtype=np.float64)
    numbers = rounds["server_round"].tolist()
    ground = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    look = {"fillcolor": palette.stripe, "line": {"width": 0}}
    spans = list(zip(numbers, begins, ends, strict=True))
    every = max(1, -(-len(spans) // _MOST_ROUNDS_NAMED))
    font = {"size": 10, "color": palette.muted}
    place = {"y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "font": font}
    short = len(spans) > _MOST_ROUNDS_NAMED // 2
    return {
        "shapes": [
            {**ground, **look, "x0": begin, "x1": end}
            for number, begin, end in spans
            if number % 2
        ],
        "annotations": [
            {
                **place,
                "x": (begin + end) / 2,
                "text": f"{number}" if short else f"round {number}",
            }
            for number, begin, end in spans[::every]
        ],
    }
