"""How metrics went, round by round, for one run or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import (
    axis_label,
    nothing_yet,
    number,
    plain,
    require_columns,
    round_step,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_Layout: TypeAlias = dict[str, Any]

_COLUMNS = ("run_id", "server_round", "phase", "scope", "name", "value")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")
_GAP = 0.11  # between panels side by side, as a share of the drawing area
_GAP_PX = 76  # between panels one above the other: an axis title and a heading
_DASHES = {"federated": "solid", "central": "dash", "server": "dot"}
_DENSE = 40  # rounds above which a marker on each point hides the line


def training_curves(
    metrics: pd.DataFrame,
    *,
    names: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "Training curves",
    from_zero: bool = False,
    theme: Theme = "light",
) -> Figure:
    """Draw one small panel per metric, with one line per run and scope.

    Federated metrics are solid, central ones dashed. A value that is NaN or infinite
    leaves a gap in the line, and a cross at the last finite height says so.

    Args:
        metrics: Rows of the table ``metrics``: ``run_id``, ``server_round``, ``phase``,
            ``scope``, ``name``, ``value``.
        names: Metrics to show, in order; by default all, losses first.
        labels: What to call each run in the legend; by default its id.
        title: What stands above all panels.
        from_zero: Whether the vertical axes begin at 0, as those of costs should.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no metric yet.

    Raises:
        ViewError: If the frame lacks a column, or there is no such theme.
    """
    require_columns(metrics, _COLUMNS, view="training_curves")
    kept = metrics if names is None else metrics[metrics["name"].isin(list(names))]
    if kept.empty:
        return nothing_yet(plain(title), _nothing(names), theme=theme)
    panels = _order(kept["name"]) if names is None else list(dict.fromkeys(names))
    run_ids = [str(run_id) for run_id in kept["run_id"].unique()]
    called = {run_id: plain((labels or {}).get(run_id, run_id)) for run_id in run_ids}
    palette = palette_of(theme)
    looks = {
        run_id: {
            "color": colour,
            "symbol": _SYMBOLS[at // len(palette.series) % len(_SYMBOLS)],
        }
        for at, (run_id, colour) in enumerate(
            zip(run_ids, islice(cycle(palette.series), len(run_ids)), strict=True)
        )
    }
    traces: list[Trace] = _legend(kept, called, looks, palette=palette)
    for panel, name in enumerate(panels, 1):
        rows = kept[kept["name"] == name].sort_values("server_round", kind="stable")
        for (run_id, scope, phase), group in rows.groupby(
            ["run_id", "scope", "phase"], sort=False
        ):
            about = f"{called[str(run_id)]}<br>{plain(name)} · {phase}, {scope}"
            look = _scoped(looks[str(run_id)], str(scope))
            traces += _line(group, about, look=look, panel=panel)
    layout = _layout(panels, kept, legend_beside=len(run_ids) > 1)
    layout["title"] = {"text": plain(title)}
    if from_zero:
        for panel in range(1, len(panels) + 1):
            layout[f"yaxis{panel}"]["rangemode"] = "tozero"
    return draw(traces, layout, theme=theme)


def _nothing(names: Sequence[str] | None) -> str:
    if names is None:
        return "No metric has been recorded yet: they come with the first evaluated round."
    return (
        f"No metric named {', '.join(plain(name) for name in names)} has been recorded yet."
    )


def _order(names: pd.Series[str]) -> list[str]:
    return sorted((str(name) for name in names.unique()), key=_losses_first)


def _losses_first(name: str) -> tuple[bool, bool, str]:
    return not name.endswith("loss"), name.startswith("train_"), name


def _scoped(look: Mapping[str, str], scope: str) -> dict[str, str]:
    """Tell scopes apart on lines by the dash, and on single points by the open symbol."""
    symbol = look["symbol"] if scope == "federated" else f"{look['symbol']}-open"
    return {**look, "symbol": symbol, "dash": _DASHES.get(scope, "dot")}


def _line(
    group: pd.DataFrame, about: str, *, look: dict[str, str], panel: int
) -> list[Trace]:
    values = group["value"].to_numpy(dtype=np.float64)
    rounds = group["server_round"].to_numpy(dtype=np.int64)
    finite = np.isfinite(values)
    colour = look["color"]
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": False}
    line: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": rounds,
        "y": np.where(finite, values, np.nan),
        "connectgaps": False,
        "line": {"color": colour, "dash": look["dash"], "width": 2},
        "marker": {"symbol": look["symbol"], "size": 6 if len(rounds) <= _DENSE else 3},
        "name": about,
        "hovertemplate": f"<b>{about}</b><br>round %{{x}}: %{{y:.5g}}<extra></extra>",
        **axes,
    }
    if finite.all():
        return [line]
    gap: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": rounds[~finite],
        "y": _height(values)[~finite],
        "text": [number(value) for value in values[~finite]],
        "marker": {"symbol": "x-thin", "size": 9, "line": {"color": colour, "width": 2}},
        "name": f"{about} (diverged)",
        "hovertemplate": f"<b>{about}</b><br>round %{{x}}: %{{text}}<extra></extra>",
        **axes,
    }
    return [line, gap]


def _height(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give each value, or where it is not finite the last finite one before it (else 0)."""
    known = pd.Series(np.where(np.isfinite(values), values, np.nan))
    return known.ffill().bfill().fillna(0.0).to_numpy().astype(np.float64)


def _legend(
    kept: pd.DataFrame,
    called: Mapping[str, str],
    looks: Mapping[str, dict[str, str]],
    *,
    palette: Palette,
) -> list[Trace]:
    """Explain colour, dash and cross once each, whatever the number of panels."""
    entries: list[tuple[str, dict[str, Any]]] = []
    if len(called) > 1:
        entries += [
            (
                called[run_id],
                {"mode": "lines+markers", "line": {"color": look["color"]}, "marker": look},
            )
            for run_id, look in looks.items()
        ]
    if len(scopes := kept["scope"].unique()) > 1:
        for scope in (known for known in _DASHES if known in scopes):
            look = _scoped({"color": palette.muted, "symbol": "circle"}, scope)
            line = {"color": look["color"], "dash": look["dash"]}
            marker = {"symbol": look["symbol"]}
            style = {"mode": "lines+markers", "line": line, "marker": marker}
            entries.append((scope, style))
    if not np.isfinite(kept["value"].to_numpy(dtype=np.float64)).all():
        line = {"color": palette.muted, "width": 2}
        cross = {"symbol": "x-thin", "size": 9, "line": line}
        entries.append(("diverged (NaN or ∞)", {"mode": "markers", "marker": cross}))
    shared: Trace = {"type": "scatter", "x": [None], "y": [None], "hoverinfo": "skip"}
    return [{**shared, "name": name, **look} for name, look in entries]


def _layout(panels: Sequence[str], kept: pd.DataFrame, *, legend_beside: bool) -> _Layout:
    num_columns = min(len(panels), 2 if len(panels) in {2, 4} else 3)
    num_lines = -(-len(panels) // num_columns)
    layout: _Layout = {
        "height": 132 + _drawing_px(num_lines),
        "hovermode": "closest",
        "legend": {} if legend_beside else LEGEND_ABOVE,
        "annotations": [],
    }
    ticks = {"dtick": round_step(float(kept["server_round"].max())), "tick0": 0}
    for panel, name in enumerate(panels, 1):
        line, column = divmod(panel - 1, num_columns)
        box = _Box.of(
            line=line, column=column, num_lines=num_lines, num_columns=num_columns
        )
        layout[f"xaxis{panel}"] = {
            "domain": [box.left, box.right],
            "anchor": f"y{panel}",
            "title": {"text": "round"},
            **ticks,
        }
        layout[f"yaxis{panel}"] = {
            "domain": [box.bottom, box.top],
            "anchor": f"x{panel}",
            "title": {"text": axis_label(name)},
        }
        layout["annotations"].append(_heading(name, box))
    return layout


def _drawing_px(num_lines: int) -> int:
    return 250 * num_lines + _GAP_PX * (num_lines - 1)


class _Box(NamedTuple):
    """Where a panel lies, as shares of the drawing area."""

    left: float
    right: float
    bottom: float
    top: float

    @classmethod
    def of(cls, *, line: int, column: int, num_lines: int, num_columns: int) -> _Box:
        gap = _GAP_PX / _drawing_px(num_lines)
        wide, high = (1 + _GAP) / num_columns, (1 + gap) / num_lines
        left, top = column * wide, 1 - line * high
        right, bottom = left + wide - _GAP, top - high + gap
        return cls(left, min(right, 1.0), max(bottom, 0.0), top)  # sums may miss by a bit


def _heading(name: str, box: _Box) -> dict[str, Any]:
    return {
        "text": f"<b>{plain(name)}</b>",
        "x": box.left,
        "y": box.top,
        "yshift": 4,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
    }
