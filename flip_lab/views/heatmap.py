"""One metric of every client in every round, for ten clients or ten thousand."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.core.errors import ViewError, nearest
from flip_lab.views.canvas import (
    axis_label,
    counted,
    nothing_yet,
    plain,
    require_columns,
    require_one_run,
    round_step,
)
from flip_lab.views.heatmap_cells import (
    Cells,
    ClientTable,
    Order,
    cells_of,
    ranked,
    table_of,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    blend,
    draw,
    palette_of,
)

_Floats: TypeAlias = npt.NDArray[np.float64]

_COLUMNS = ("server_round", "phase", "node_id", "partition_id", "name", "value")
_MOST_NAMED = 40  # clients up to which each has room for its name
_TRIMMED_PERCENT = 2.0  # of the values at either end share the last colour
_ORDERED = {
    "value": "by mean value",
    "partition": "by partition",
    "cluster": "like courses side by side",
}


def client_heatmap(
    client_metrics: pd.DataFrame,
    name: str,
    *,
    phase: str | None = None,
    order: Order = "value",
    theme: Theme = "light",
) -> Figure:
    """Draw a client by round heat map of one metric.

    Up to 200 clients have a row each; of more, neighbours in the chosen order share a row,
    which shows their median (the subtitle says how many share one, the hover text the
    extremes). Colours span the middle 96 % of the values, so that one outlier does not
    bleach the rest. A cell without a report is a hole in the page's colour; a cell where at
    least half of the reports are NaN or infinite has a colour of its own.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of one run: ``server_round``,
            ``phase``, ``node_id``, ``partition_id``, ``name``, ``value``; ``node`` (the
            node's name) is optional.
        name: The metric, such as ``eval_accuracy``.
        phase: ``"train"`` or ``"evaluate"``; by default evaluate where it has the metric.
        order: Rows from below: ``"value"`` (mean over the rounds, ascending; the diverged
            on top), ``"partition"`` (by number), or ``"cluster"`` (along the first
            principal component of the courses, so that like courses lie together).
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no client has reported the metric yet.

    Raises:
        ViewError: If the frame lacks a column or holds several runs, a column holds no
            numbers, or there is no such order or theme.
    """
    require_columns(client_metrics, _COLUMNS, view="client_heatmap")
    require_one_run(client_metrics, view="client_heatmap")
    if order not in get_args(Order):
        raise ViewError(
            f"There is no order {order!r}.", fix=nearest(order, get_args(Order))
        )
    title = f"{plain(name)} of each client"
    kept = client_metrics[client_metrics["name"] == name]
    chosen = phase or min((str(each) for each in kept["phase"].unique()), default="")
    kept = kept[kept["phase"] == chosen]
    if kept.empty:
        words = f"No client has reported {plain(name)} yet."
        return nothing_yet(title, words, theme=theme)
    table = table_of(kept)
    rows = ranked(table, order)
    cells = cells_of(rows)
    palette = palette_of(theme)
    subtitle = _subtitle(rows, cells, chosen, order)
    return draw(
        _traces(cells, name, palette),
        _layout(cells, rows, order, {"text": title, "subtitle": {"text": subtitle}}),
        theme=theme,
    )


def _traces(cells: Cells, name: str, palette: Palette) -> list[Trace]:
    broken = cells.diverged * 2 >= np.maximum(cells.reported, 1)
    shown = np.where(broken, np.nan, cells.middle)
    few = len(cells.rows) <= _MOST_NAMED and cells.rounds.size <= _MOST_NAMED
    gap = 1 if few else 0
    shared: Trace = {
        "type": "heatmap",
        "x": cells.rounds,
        "y": cells.rows,
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
    }
    low, high = _span(shown)
    tints = (blend(*palette.scale[:2]), *palette.scale[1:])  # the lightest is nearly a hole
    steps = len(tints) - 1
    traces: list[Trace] = [
        {
            **shared,
            **_hover(cells),
            "z": shown.astype(np.float32),
            "zmin": low,
            "zmax": high,
            "colorscale": [[at / steps, tint] for at, tint in enumerate(tints)],
            "colorbar": _colourbar(shown, low, high, name),
            "name": plain(name),
        }
    ]
    if broken.any():
        traces.append(
            {
                **shared,
                "hovertemplate": "<b>%{y}</b><br>round %{x}: diverged<extra></extra>",
                "z": np.where(broken, 1.0, np.nan).astype(np.float32),
                "colorscale": [[0, palette.failed], [1, palette.failed]],
                "showscale": False,
                "name": "diverged",
            }
        )
        traces.append(_key("diverged (NaN or ∞)", palette.failed, palette.line))
    if (cells.reported == 0).any():
        traces.append(_key("no report", palette.paper, palette.muted))
    return traces


def _span(shown: _Floats) -> tuple[float, float]:
    """Give the ends of the colour scale: all but the outermost values."""
    known = shown[np.isfinite(shown)]
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, [_TRIMMED_PERCENT, 100 - _TRIMMED_PERCENT])
    if low == high:  # nearly all are equal: then the others are what there is to see
        low, high = known.min(), known.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return float(low), float(high)


def _colourbar(shown: _Floats, low: float, high: float, name: str) -> dict[str, Any]:
    """Label the scale; its ends say when values beyond them share their colour."""
    known = shown[np.isfinite(shown)]
    step = _tick_step(high - low)
    inner = range(math.ceil(low / step), math.floor(high / step) + 1)
    marked = {at * step: f"{at * step:.6g}" for at in inner}
    for end, beyond, sign in (
        (low, known.size and known.min() < low, "≤"),
        (high, known.size and known.max() > high, "≥"),
    ):
        if beyond:
            marked = {at: text for at, text in marked.items() if abs(at - end) > step / 3}
            marked[end] = f"{sign} {end:.3g}"
    ticks, texts = list(marked), list(marked.values())
    return {
        "title": {"text": axis_label(name), "side": "right"},
        "tickvals": ticks,
        "ticktext": texts,
        "thickness": 12,
        "outlinewidth": 0,
    }


def _tick_step(span: float) -> float:
    """Give 1, 2 or 5 times a power of ten, so that about five ticks span the scale."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= span / 5)


def _hover(cells: Cells) -> dict[str, Any]:
    told = "<b>%{y}</b><br>round %{x}: "
    if cells.clients_a_row == cells.rounds_a_column == 1:
        return {"hovertemplate": f"{told}%{{z:.5g}}<extra></extra>"}
    facts = np.stack([cells.low, cells.high, cells.reported, cells.diverged], axis=-1)
    return {
        "customdata": np.where(np.isfinite(facts), facts, 0).astype(np.float32),
        "hovertemplate": (
            f"{told}median %{{z:.5g}}<br>%{{customdata[0]:.5g}} to %{{customdata[1]:.5g}}"
            "<br>%{customdata[2]:d} reports, %{customdata[3]:d} diverged<extra></extra>"
        ),
    }


def _key(name: str, fill: str, outline: str) -> Trace:
    marker = {
        "symbol": "square",
        "size": 11,
        "color": fill,
        "line": {"color": outline, "width": 1},
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": marker,
        "name": name,
        "hoverinfo": "skip",
    }


def _subtitle(table: ClientTable, cells: Cells, phase: str, order: Order) -> str:
    parts = [counted(len(table.clients), "client"), phase]
    if cells.clients_a_row > 1:
        parts.append(
            f"{counted(len(cells.rows), 'row')} of {cells.clients_a_row} clients (median)"
        )
    if cells.rounds_a_column > 1:
        parts.append(f"columns of {cells.rounds_a_column} rounds (median)")
    return " · ".join([*parts, _ORDERED[order]])


def _layout(
    cells: Cells, table: ClientTable, order: Order, title: dict[str, Any]
) -> dict[str, Any]:
    num_rows = len(cells.rows)
    named = num_rows <= _MOST_NAMED and cells.clients_a_row == 1
    ticks = _row_ticks(cells, table, order, named=named)
    rows_px = min(max(22 * num_rows, 160), 440) if named else max(360, 3 * num_rows)
    return {
        "title": title,
        "height": 150 + rows_px,
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": {
            "title": {"text": "round"},
            "dtick": round_step(float(cells.rounds[-1])),
            "tick0": 0,
            "showgrid": False,
        },
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": cells.rows,
            "title": {"text": "" if order == "partition" or named else "clients"},
            "showgrid": False,
            "ticks": "" if named else "outside",
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
        },
    }


def _row_ticks(
    cells: Cells, table: ClientTable, order: Order, *, named: bool
) -> dict[str, str]:
    """Give the rows that have a label: all of few, about ten of many."""
    if named:
        return {row: row for row in cells.rows}
    num_clients, tall = len(table.clients), cells.clients_a_row
    step = round_step(num_clients)
    if order == "partition":  # row 0 is the lowest, the first partition the highest
        ends = [num_clients - 1 - each for each in range(0, num_clients, step)]
        return {cells.rows[end // tall]: table.clients[end] for end in ends}
    return {cells.rows[each // tall]: f"{each:,}" for each in range(0, num_clients, step)}
