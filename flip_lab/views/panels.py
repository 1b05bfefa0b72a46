"""Small multiples: one panel per group or client, all on the same axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flip_lab.core.errors import ViewError
from flip_lab.views.canvas import (
    axis_label,
    group_names,
    natural,
    nothing_yet,
    number,
    numbers,
    plain,
    require_columns,
    round_step,
    where,
)
from flip_lab.views.results import lower_is_better
from flip_lab.views.theme import (
    LEGEND_BELOW,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_MOST_PANELS = 64
_MOST_COLUMNS = 8
_LINES_SHOWN = 8  # as many as there are colours
_COMMON = "median of all panels"


def small_multiples(
    metrics: pd.DataFrame,
    name: str,
    *,
    by: str,
    lines: str | None = None,
    log: bool = False,
    theme: Theme = "light",
) -> Figure:
    """Draw one small panel per value of a column, all with the same axes.

    Behind each panel's lines lies the median of all panels, so that each is read against
    the common course. Of more than 64 panels, those with the worst last value are shown
    (the highest of a metric named ``…loss``, else the lowest), and the subtitle says so. A
    value that is NaN or infinite leaves a gap, and the panel's heading says ``diverged``.

    Args:
        metrics: ``name``, ``server_round``, ``value``, and the columns that ``by`` and
            ``lines`` name: rows of ``client_metrics``, or of ``metrics`` joined with what
            they are grouped by. Keep one phase and scope.
        name: The metric, such as ``eval_accuracy``.
        by: Column that tells the panels apart, such as ``partition_id`` or ``strategy``.
        lines: Column that tells the lines in a panel apart, such as ``run_id`` or ``seed``;
            ``None`` when a panel has one value per round.
        log: Whether the vertical axes are logarithmic.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no such metric yet.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, a line has two
            values for one round, or there is no such theme.
    """
    wanted = ["name", "server_round", "value", by, *([lines] if lines else [])]
    require_columns(metrics, wanted, view="small_multiples")
    kept = metrics[metrics["name"] == name]
    title = f"{plain(name)} by {plain(by.removesuffix('_id').replace('_', ' '))}"
    if kept.empty:
        words = f"No metric named {plain(name)} has been recorded yet."
        return nothing_yet(title, words, theme=theme)
    tidy = _tidy(kept, by, lines)
    _require_single_values(tidy, lines)
    panels, note = _chosen(tidy, name)
    palette = palette_of(theme)
    looks = _looks(tidy, panels, palette)
    common = tidy.groupby("server_round")["shown"].median()
    traces: list[Trace] = []
    for at, panel in enumerate(panels, 1):
        traces += _panel(where(tidy, "panel", panel), common, at, looks)
    layout = _layout(panels, tidy, name, palette)
    layout["title"] = {"text": title, "subtitle": {"text": note}}
    for at in range(1, len(panels) + 1):
        layout[f"yaxis{at}"]["type"] = "log" if log else "linear"
    return draw(traces, layout, theme=theme)


def _tidy(kept: pd.DataFrame, by: str, lines: str | None) -> pd.DataFrame:
    values = numbers(kept, "value", view="small_multiples")
    line = _with_word(kept, lines) if lines else ""
    return pd.DataFrame(
        {
            "panel": _with_word(kept, by),
            "line": line,
            "server_round": numbers(kept, "server_round", view="small_multiples"),
            "value": values,
            "shown": np.where(np.isfinite(values), values, np.nan),
        }
    ).sort_values("server_round", kind="stable")


def _with_word(kept: pd.DataFrame, column: str) -> list[str]:
    """Name what a column tells apart; a bare number would say nothing."""
    word = plain(column.removesuffix("_id").rpartition(".")[2].replace("_", " "))
    names = group_names(kept, column)
    return [f"{word} {name}" if re.fullmatch(r"-?[\d.]+", name) else name for name in names]


def _require_single_values(tidy: pd.DataFrame, lines: str | None) -> None:
    twice = tidy.duplicated(["panel", "line", "server_round"])
    if not twice.any():
        return
    row = tidy[twice].iloc[0]
    where = f"panel {row['panel']!r}" + (f", line {row['line']!r}" if lines else "")
    raise ViewError(
        f"small_multiples found several values for round {row['server_round']:g} "
        f"in {where}.",
        fix="Name the column that tells them apart in lines=, or keep one phase and scope.",
    )


def _chosen(tidy: pd.DataFrame, name: str) -> tuple[list[str], str]:
    """Give the panels in order, and what the subtitle says of them."""
    panels = sorted(dict.fromkeys(tidy["panel"]), key=natural)
    if len(panels) <= _MOST_PANELS:
        return panels, f"{len(panels)} panels, same axes"
    last = tidy.dropna(subset="shown").groupby("panel")["shown"].last()
    is_loss = lower_is_better(name)
    worst = last.reindex(panels).sort_values(ascending=not is_loss, na_position="first")
    which = "highest" if is_loss else "lowest"
    note = (
        f"the {_MOST_PANELS} with the {which} last value of {len(panels):,}, same axes; "
        "client_heatmap shows all"
    )
    return [str(panel) for panel in worst.index[:_MOST_PANELS]], note


def _panel(
    rows: pd.DataFrame, common: pd.Series[float], at: int, looks: Mapping[str, _Look]
) -> list[Trace]:
    axes = {"xaxis": f"x{at}", "yaxis": f"y{at}"}
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": common.index.to_numpy(),
            "y": common.to_numpy(),
            "line": {"color": looks[_COMMON].colour, "width": 1, "dash": "dot"},
            "name": _COMMON,
            "showlegend": looks[_COMMON].panel == at,
            "legendgroup": "common",
            "hoverinfo": "skip",
            **axes,
        }
    ]
    for line in sorted(dict.fromkeys(rows["line"]), key=natural):
        one, look = where(rows, "line", line), looks[line]
        told = f"<b>{rows['panel'].iloc[0]}</b>" + (f"<br>{line}" if line else "")
        traces.append(
            {
                "type": "scatter",
                "mode": "lines" if len(one) > 1 else "markers",
                "x": one["server_round"].to_numpy(),
                "y": one["shown"].to_numpy(),
                "connectgaps": False,
                "line": {"color": look.colour, "width": 1.75},
                "marker": {"color": look.colour, "size": 5},
                "opacity": look.opacity,
                "name": line,
                "legendgroup": line,
                "showlegend": look.panel == at,
                "hovertemplate": f"{told}<br>round %{{x}}: %{{y:.5g}}<extra></extra>",
                **axes,
            }
        )
    return traces


class _Look(NamedTuple):
    """How a line looks in every panel, and in which one the legend takes it from."""

    colour: str
    opacity: float
    panel: int


def _looks(tidy: pd.DataFrame, panels: list[str], palette: Palette) -> dict[str, _Look]:
    """Give each line a colour; more lines than there are colours share one, unnamed."""
    names = sorted(dict.fromkeys(tidy["line"]), key=natural)
    is_named = names != [""] and len(names) <= _LINES_SHOWN
    looks = {_COMMON: _Look(palette.muted, 1, 1)}
    for at, name in enumerate(names):
        held = set(where(tidy, "line", name)["panel"])
        first = next((place for place, panel in enumerate(panels, 1) if panel in held), 0)
        opacity = 1 if len(names) <= _LINES_SHOWN else 0.5
        colour = palette.series[at if is_named else 0]
        looks[name] = _Look(colour, opacity, first if is_named else 0)
    return looks


def _layout(
    panels: list[str], tidy: pd.DataFrame, name: str, palette: Palette
) -> dict[str, Any]:
    num_columns = min(_MOST_COLUMNS, math.ceil(math.sqrt(len(panels) * 1.4)))
    num_lines = -(-len(panels) // num_columns)
    dense = num_columns > 4  # noqa: PLR2004  # columns that leave room for tick labels
    high, heading = (92 if dense else 150), 24
    drawing = num_lines * (high + heading)
    ticks = {"dtick": round_step(float(tidy["server_round"].max()) * (3 if dense else 2))}
    layout: dict[str, Any] = {
        "height": 176 + drawing,
        "margin": {"b": 80},
        "hovermode": "closest",
        "annotations": [],
        "legend": LEGEND_BELOW,
    }
    for at, panel in enumerate(panels, 1):
        line, column = divmod(at - 1, num_columns)
        place = _Place(
            left=column / num_columns,
            right=(column + 1) / num_columns - (0.012 if dense else 0.02),
            bottom=max(0.0, 1 - (line + 1) * (high + heading) / drawing),
            top=1 - (line * (high + heading) + heading) / drawing,
        )
        is_lowest = at + num_columns > len(panels)
        layout |= _axes(at, place, is_lowest=is_lowest, is_first=column == 0)
        layout[f"xaxis{at}"] |= ticks
        layout["annotations"].append(_heading(panel, tidy, place, palette, dense=dense))
    layout["annotations"] += _common_titles(axis_label(name), palette)
    return layout


class _Place(NamedTuple):
    """Where a panel lies, as shares of the drawing area."""

    left: float
    right: float
    bottom: float
    top: float


def _axes(at: int, place: _Place, *, is_lowest: bool, is_first: bool) -> dict[str, Any]:
    """Give a panel's axes; only those at the left and below have labels."""
    others: tuple[dict[str, str], ...] = (
        ({}, {}) if at == 1 else ({"matches": "x"}, {"matches": "y"})
    )
    return {
        f"xaxis{at}": {
            "domain": [place.left, place.right],
            "anchor": f"y{at}",
            "showticklabels": is_lowest,
            "ticks": "outside" if is_lowest else "",
            "tick0": 0,
            "tickangle": 0,
            **others[0],
        },
        f"yaxis{at}": {
            "domain": [place.bottom, place.top],
            "anchor": f"x{at}",
            "showticklabels": is_first,
            "ticks": "outside" if is_first else "",
            "nticks": 4,
            **others[1],
        },
    }


def _heading(
    panel: str,
    tidy: pd.DataFrame,
    place: _Place,
    palette: Palette,
    *,
    dense: bool,
) -> dict[str, Any]:
    rows = tidy[tidy["panel"] == panel]
    is_last = rows["server_round"] == rows["server_round"].max()
    value = float(rows.loc[is_last, "value"].median())
    ended = number(float(f"{value:.3g}"))
    if not math.isfinite(value):
        ended = "✕" if dense else "diverged"
    colour = palette.muted if math.isfinite(value) else palette.failed
    called = panel if len(panel) <= 22 else f"{panel[:21]}…"  # noqa: PLR2004  # panel's width
    return {
        "text": f"<b>{called}</b> <span style='color:{colour}'>{ended}</span>",
        "font": {"size": 10 if dense else 12},
        "x": place.left,
        "y": place.top,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
    }


def _common_titles(label: str, palette: Palette) -> list[dict[str, Any]]:
    """Name the axes once: on each panel it would take the panel's room."""
    font = {"size": 12, "color": palette.muted}
    shared = {"xref": "paper", "yref": "paper", "showarrow": False, "font": font}
    below = {"text": "round", "x": 0.5, "y": 0, "yshift": -38, "yanchor": "middle"}
    beside = {"text": label, "x": 0, "y": 0.5, "xshift": -48, "textangle": -90}
    return [{**shared, **below}, {**shared, **beside}]
