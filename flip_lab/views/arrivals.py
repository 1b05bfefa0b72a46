"""How soon runs reach a target, with those that never did counted as such."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flip_lab.analysis.targets import UNITS, TimeToTarget, Unit
from flip_lab.views.canvas import group_names, nothing_yet, numbers, plain, where, wrapped
from flip_lab.views.theme import Figure, Theme, Trace, draw, palette_of

_AXES = {
    "rounds": "round",
    "seconds": "time (s)",
    "bytes": "sent and received (bytes)",
    "epsilon": "privacy spent (ε)",
}
_DASHES = ("solid", "8px,4px", "3px,3px", "10px,3px,3px,3px")


def target_curves(
    found: TimeToTarget, name: str, *, unit: Unit = "rounds", theme: Theme = "light"
) -> Figure:
    """Draw the share of each group's runs that has reached a target, as steps.

    The share is one minus Kaplan and Meier's estimate. A cross on a line is a run that
    ended without having reached the target; a line ends where nothing more is known.

    Args:
        found: What ``Comparison.to_target(…)`` gives.
        name: What was measured, such as ``eval_accuracy``.
        unit: What to count: ``"rounds"``, ``"seconds"``, ``"bytes"`` or ``"epsilon"``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no run is known in this unit.

    Raises:
        AnalysisError: If there is no such unit.
        ViewError: If there is no such theme.
    """
    sign = "≥" if found.goal == "max" else "≤"
    title = f"Time to {plain(name)} {sign} {found.target:g}"
    steps = found.arrivals(unit)
    runs = found.runs[np.isfinite(numbers(found.runs, UNITS[unit], view="target_curves"))]
    if runs.empty:
        words = f"No run says what it took in {unit}."
        return nothing_yet(title, words, theme=theme)
    palette = palette_of(theme)
    steps = steps.assign(name=group_names(steps, "group"))
    runs = runs.assign(name=group_names(runs, "group"))
    traces: list[Trace] = []
    for at, group in enumerate(dict.fromkeys(runs["name"])):
        colour = palette.series[at % len(palette.series)]
        look = {"color": colour, "width": 2.5, "dash": _DASHES[at % len(_DASHES)]}
        line = where(steps, "name", group)
        traces += _steps(line, where(runs, "name", group), str(group), look, unit)
    end = float(steps["at"].max()) or 1.0
    layout: dict[str, Any] = {
        "title": {"text": title, "subtitle": {"text": _subtitle(found, runs, unit)}},
        "height": 420,
        "hovermode": "closest",
        "xaxis": {"title": {"text": _AXES[unit]}, "range": [0, 1.03 * end]},
        "yaxis": {
            "title": {"text": "share of runs that reached it"},
            "tickformat": ".0%",
            "range": [-0.02, 1.04],
        },
    }
    return draw(traces, layout, theme=theme)


def _steps(
    line: pd.DataFrame, runs: pd.DataFrame, group: str, look: dict[str, Any], unit: Unit
) -> list[Trace]:
    at = line["at"].to_numpy(dtype=np.float64)
    share = line["share"].to_numpy(dtype=np.float64)
    reached = runs["is_reached"].to_numpy(dtype=np.bool_)
    steps: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": at,
        "y": share,
        "line": {**look, "shape": "hv"},
        "name": wrapped(f"{group} ({int(reached.sum())} of {reached.size} runs)"),
        "legendgroup": group,
        "hovertemplate": f"<b>{group}</b><br>%{{y:.0%}} by %{{x:,.6g}}<extra></extra>",
    }
    ended = np.sort(runs[UNITS[unit]].to_numpy(dtype=np.float64)[~reached])
    if not ended.size:
        return [steps]
    ticks: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": ended,
        "y": share[np.searchsorted(at, ended, side="right") - 1],
        "marker": {
            "symbol": "cross-thin",
            "size": 11,
            "line": {"color": look["color"], "width": 2},
        },
        "name": f"{group} (ended without it)",
        "legendgroup": group,
        "showlegend": False,
        "hovertemplate": f"<b>{group}</b><br>%{{x:,.6g}}: ended without it<extra></extra>",
    }
    return [steps, ticks]


def _subtitle(found: TimeToTarget, runs: pd.DataFrame, unit: Unit) -> str:
    reached = int(runs["is_reached"].sum())
    parts = [f"{reached} of {len(runs)} runs reached it; a cross is one that did not"]
    if found.hold > 1:
        parts.append(f"held for {found.hold} evaluations")
    if len(found.runs) > len(runs):
        parts.append(f"{len(found.runs) - len(runs)} of unknown {unit} left out")
    p_value = found.log_rank(unit).p_value
    if p_value is not None:
        parts.append(f"log-rank p = {p_value:.2g}")
    return " · ".join(parts)
