"""The bars and marks in the lanes of a federation's timeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.fleet_facts import FleetFacts
from flip_lab.views.theme import Palette, Trace, translucent

SERVER = "server"
PHASES = {"train": 0, "evaluate": 2}
"""The phases that are drawn, and which colour of the palette each has."""


def _bars(frame: pd.DataFrame, base: Any, long: Any, **look: Any) -> Trace:  # noqa: ANN401  # columns, and plotly's own words
    return {
        "type": "bar",
        "orientation": "h",
        "y": frame["name"],
        "base": base,
        "x": long,
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        **look,
    }


def work_bars(
    work: pd.DataFrame, origin: float, phase: str, palette: Palette
) -> list[Trace]:
    """Draw messages from dispatch to reply, and in them the node's work, where it says."""
    if work.empty:
        return []
    colour = palette.series[PHASES[phase]]
    base = work["sent_s"] - origin
    told = [_told(row) for row in work.to_dict("records")]
    own = work["node_s"].fillna(0.0).clip(upper=work["duration_s"])
    light = {"color": translucent(colour, 0.35), "line": {"width": 0}}
    dark = {"color": colour, "line": {"width": 0}}
    whole = _bars(
        work,
        base,
        work["duration_s"],
        marker=light,
        text=told,
        name=f"{phase}: asked until replied",
    )
    if not own.any():
        return [whole]
    return [
        whole,
        _bars(
            work,
            work["began_s"] - origin,
            own,
            marker=dark,
            text=told,
            name=f"{phase}: the node's work",
        ),
    ]


def _told(row: dict[Any, Any]) -> str:
    head = (
        f"<b>{row['name']}</b><br>round {row['server_round']}, {row['phase']}"
        f"<br>{row['duration_s']:.3g} s until the reply"
    )
    if np.isfinite(row["node_s"]):
        head += f"<br>{row['node_s']:.3g} s of them work"
    return f"{head}<br><b>failed</b>" if row["failed"] else head


def server_bars(server: pd.DataFrame, origin: float, palette: Palette) -> list[Trace]:
    """Draw the stretches in which nobody but the server was at work."""
    if server.empty:
        return []
    lasting = server["end_s"] - server["begin_s"]
    told = [
        f"<b>server</b><br>round {number:g}: {seconds:.3g} s"
        for number, seconds in zip(server["server_round"], lasting, strict=True)
    ]
    look = {"color": palette.muted, "line": {"width": 0}}
    named = server.assign(name=SERVER)
    base = server["begin_s"] - origin
    return [_bars(named, base, lasting, marker=look, text=told, name="server alone")]


def failure_marks(failed: pd.DataFrame, origin: float, palette: Palette) -> list[Trace]:
    """Mark the ends of messages that failed."""
    if failed.empty:
        return []
    line = {"color": palette.paper, "width": 1}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": failed["sent_s"] + failed["duration_s"] - origin,
            "y": failed["name"],
            "marker": {"symbol": "x", "size": 9, "color": palette.failed, "line": line},
            "name": "failed",
            "text": [_told(row) for row in failed.to_dict("records")],
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def away_explained(facts: FleetFacts, palette: Palette) -> list[Trace]:
    """Explain the shading of outages, where there are any."""
    if facts.outages.empty:
        return []
    marker = {"symbol": "square", "size": 12, "color": translucent(palette.failed, 0.3)}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [None],
            "y": [None],
            "marker": marker,
            "name": "away",
            "hoverinfo": "skip",
        }
    ]
