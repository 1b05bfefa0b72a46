"""Round times of a real run beside those that its digital twin foretold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    nothing_yet,
    numbers,
    require_columns,
    round_step,
)
from flip_lab.views.theme import (
    LEGEND_BELOW,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_COLUMNS = ("server_round", "predicted_s", "low_s", "high_s", "observed_s")
_TITLE = "Round times: foretold and observed"
_DENSE = 60  # rounds above which points would touch


def twin_rounds(rounds: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw how long each round took on its interval of the prediction.

    What was observed within the interval is a dot, outside of it a cross. The rounds that
    the fleet was learned from, if any, have a shaded ground: there, agreement proves
    nothing.

    Args:
        rounds: ``TwinComparison.rounds`` or ``Replay.rounds``: ``server_round``,
            ``predicted_s``, ``low_s``, ``high_s``, ``observed_s`` (NaN where unknown);
            ``is_learned`` is optional.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no round.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    require_columns(rounds, _COLUMNS, view="twin_rounds")
    if rounds.empty:
        return nothing_yet(_TITLE, "No round has been foretold yet.", theme=theme)
    columns = {name: numbers(rounds, name, view="twin_rounds") for name in _COLUMNS}
    learned = rounds["is_learned"] if "is_learned" in rounds.columns else False
    frame = pd.DataFrame(columns).assign(is_learned=np.asarray(learned))
    frame = frame.sort_values("server_round", kind="stable")
    frame["is_inside"] = frame["observed_s"].between(frame["low_s"], frame["high_s"])
    palette = palette_of(theme)
    traces = [*_predicted(frame, palette), *_observed(frame, palette)]
    return draw(traces, _layout(frame, palette), theme=theme)


def _predicted(frame: pd.DataFrame, palette: Palette) -> list[Trace]:
    """Draw a step a round: what lies between two rounds is nothing."""
    colour = palette.series[0]
    at = frame["server_round"].to_numpy()
    edges = np.stack([at - 0.5, at + 0.5], axis=1).ravel()
    low, middle, high = (
        np.repeat(frame[name].to_numpy(), 2) for name in ("low_s", "predicted_s", "high_s")
    )
    band: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([edges, edges[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": translucent(colour, palette.bands[1]),
        "line": {"width": 0, "color": colour},
        "name": "foretold, interval",
        "hoverinfo": "skip",
    }
    line: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": edges,
        "y": middle,
        "line": {"color": colour, "width": 2},
        "name": "foretold, median",
        "hoverinfo": "skip",
    }
    return [band, line]


def _observed(frame: pd.DataFrame, palette: Palette) -> list[Trace]:
    looks = (
        (True, "observed", "circle", palette.text),
        (False, "observed, outside", "x", palette.failed),
    )
    seen = frame[np.isfinite(frame["observed_s"])]
    traces: list[Trace] = []
    for is_inside, name, symbol, colour in looks:
        kept = seen[seen["is_inside"] == is_inside]
        if kept.empty:
            continue
        size = 8 if len(frame) <= _DENSE else 5
        line = {"color": palette.paper, "width": 1}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": kept["server_round"].to_numpy(),
                "y": kept["observed_s"].to_numpy(),
                "marker": {"symbol": symbol, "size": size, "color": colour, "line": line},
                "name": name,
                "text": [_told(row) for row in kept.to_dict("records")],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _told(row: dict[Any, Any]) -> str:
    return (
        f"<b>round {row['server_round']:g}</b><br>took {row['observed_s']:.3g} s"
        f"<br>foretold {row['predicted_s']:.3g} s "
        f"({row['low_s']:.3g} to {row['high_s']:.3g})"
    )


def _layout(frame: pd.DataFrame, palette: Palette) -> dict[str, Any]:
    last = float(frame["server_round"].max())
    first = float(frame["server_round"].min())
    layout: dict[str, Any] = {
        "title": {"text": _TITLE, "subtitle": {"text": _subtitle(frame)}},
        "height": 440,
        "margin": {"b": 76},
        "hovermode": "closest",
        "legend": LEGEND_BELOW,
        "xaxis": {
            "title": {"text": "round"},
            "dtick": round_step(last),
            "tick0": 0,
            "range": [first - 0.5, last + 0.5],
            "showgrid": False,
        },
        "yaxis": {"title": {"text": "time (s)"}, "rangemode": "tozero"},
    }
    learned = frame[frame["is_learned"]]
    if learned.empty:
        return layout
    edge = float(learned["server_round"].max()) + 0.5
    ground = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    look = {"fillcolor": palette.stripe, "line": {"width": 0}}
    layout["shapes"] = [{**ground, **look, "x0": first - 0.5, "x1": edge}]
    font = {"size": 11, "color": palette.muted}
    place = {"yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False, "font": font}
    layout["annotations"] = [
        {**place, "x": (first - 0.5 + edge) / 2, "text": "learned from"},
        {**place, "x": (edge + last + 0.5) / 2, "text": "foretold"},
    ]
    return layout


def _subtitle(frame: pd.DataFrame) -> str:
    judged = frame[~frame["is_learned"].astype(bool) & np.isfinite(frame["observed_s"])]
    if judged.empty:
        return f"{counted(len(frame), 'round')}, nothing observed to compare with"
    error = (judged["predicted_s"] / judged["observed_s"] - 1).abs().mean()
    inside = int(judged["is_inside"].sum())
    return (
        f"{inside} of {counted(len(judged), 'foretold round')} inside the interval · "
        f"off by {error:.0%} on average"
    )
