"""How far clients' updates drift from the median client's, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    log_axis,
    node_names,
    nothing_yet,
    numbers,
    require_columns,
    require_one_run,
    round_step,
)
from flip_lab.views.theme import (
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
    translucent,
)

_Floats: TypeAlias = npt.NDArray[np.float64]

_COLUMNS = ("server_round", "phase", "node_id", "partition_id", "name", "value")
_NORM = "update_norm"
_MOST_LINES = 80  # clients above which lines become a surface; then bands
_MOST_ODD = 5
_OFTEN, _FAR = 0.25, 2.0  # share of rounds beyond the fence; or how far beyond, once
_LEAST_CLIENTS = 4  # of a round, for quartiles to mean something
_TUKEY = 1.5
_LOG_FROM = 20.0
_DASHES = ("solid", "8px,4px", "3px,3px", "10px,3px,3px,3px", "1px,3px")


def drift_figure(client_metrics: pd.DataFrame, *, theme: Theme = "light") -> Figure:
    """Draw each client's drift over the rounds: its update's norm over the median norm.

    At most five clients are drawn in colour: those that are beyond Tukey's upper fence (1.5
    quartile distances above the quartiles of a round's norms) in a quarter of their rounds,
    or once beyond twice the fence, or not finite. Of up to 80 clients the others are thin
    lines; of more, a band from the lowest to the highest and one of the middle half. A
    cross marks a client whose update was NaN or infinite. The axis is logarithmic where
    some client drifts beyond 20.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of one run that recorded its
            updates (``record_updates=True``): ``server_round``, ``phase``, ``node_id``,
            ``partition_id``, ``name``, ``value``; those of ``update_norm`` are drawn.
            ``node`` (the node's name) is optional.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no updates were recorded.

    Raises:
        ViewError: If the frame lacks a column or holds several runs, a column holds no
            numbers, or there is no such theme.
    """
    require_columns(client_metrics, _COLUMNS, view="drift_figure")
    require_one_run(client_metrics, view="drift_figure")
    title = "Drift of the clients' updates"
    table = _table(client_metrics)
    if table is None:
        words = "No update norms were recorded: launch with record_updates=True."
        return nothing_yet(title, words, theme=theme)
    palette = palette_of(theme)
    odd = _odd_ones(table)
    others = [at for at in range(len(table.clients)) if at not in odd]
    many = len(table.clients) > _MOST_LINES
    traces = _bands(table, palette) if many else _thin_lines(table, others, palette)
    traces += [_line(table, at, rank, palette) for rank, at in enumerate(odd)]
    traces += _crosses(table, palette)
    parts = [counted(len(table.clients), "client"), "1 is the median client of each round"]
    layout = {
        "title": {"text": title, "subtitle": {"text": " · ".join(parts)}},
        "height": 440,
        "hovermode": "closest",
        "legend": {"x": 1.02, "y": 1},
        "xaxis": {
            "title": {"text": "round"},
            "dtick": round_step(float(table.rounds[-1])),
            "tick0": 0,
        },
        "yaxis": {"title": {"text": "norm of the update / median"}, **_axis(table)},
    }
    return draw(traces, layout, theme=theme)


def _axis(table: _Table) -> dict[str, Any]:
    known = table.drifts[table.drifts > 0]
    if known.size and known.max() > _LOG_FROM:
        return log_axis(float(known.min()), float(known.max()))
    return {"rangemode": "tozero"}


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Drifts as clients × rounds; NaN where there is no finite one."""

    clients: list[str]
    rounds: _Floats
    norms: _Floats
    drifts: _Floats
    diverged: npt.NDArray[np.bool_]


def _table(client_metrics: pd.DataFrame) -> _Table | None:
    kept = client_metrics[
        (client_metrics["name"] == _NORM) & (client_metrics["phase"] == "train")
    ]
    if kept.empty:
        return None
    kept = kept.sort_values(["partition_id", "node_id", "server_round"], kind="stable")
    values = numbers(kept, "value", view="drift_figure")
    names = node_names(kept).to_numpy()
    clients, row = np.unique(names, return_inverse=True)
    first = np.full(len(clients), len(names))
    np.minimum.at(first, row, np.arange(len(names)))
    order = np.argsort(first)  # by partition again
    rounds, column = np.unique(
        kept["server_round"].to_numpy(np.float64), return_inverse=True
    )
    norms = np.full((len(clients), len(rounds)), np.nan)
    diverged = np.zeros(norms.shape, np.bool_)
    finite = np.isfinite(values)
    norms[row[finite], column[finite]] = values[finite]
    diverged[row[~finite], column[~finite]] = True
    norms = norms[order]
    middle = _quantile(norms, 50)
    with np.errstate(divide="ignore", invalid="ignore"):
        drifts = np.where(middle > 0, norms / middle, np.where(norms > 0, np.nan, 1.0))
    drifts = np.where(np.isnan(norms), np.nan, drifts)
    return _Table(
        clients=[str(name) for name in clients[order]],
        rounds=rounds,
        norms=norms,
        drifts=drifts,
        diverged=diverged[order],
    )


def _quantile(values: _Floats, percent: float) -> _Floats:
    """Give a quantile of each column, 0 where there is no number."""
    empty = np.isnan(values).all(axis=0)
    return np.nanpercentile(np.where(empty, 0.0, values), percent, axis=0)


def _odd_ones(table: _Table) -> list[int]:
    """Give the clients that are beyond the fence, those that are most often first."""
    first, third = _quantile(table.norms, 25), _quantile(table.norms, 75)
    enough = np.isfinite(table.norms).sum(axis=0) >= _LEAST_CLIENTS
    fence = np.where(enough, third + _TUKEY * (third - first), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(np.isfinite(table.norms), table.norms / fence, 0.0)
    excess = np.where(table.diverged, np.inf, excess)
    taken_part = np.maximum(np.isfinite(table.norms).sum(axis=1), 1)
    often = (excess > 1).sum(axis=1) / taken_part
    highest = excess.max(axis=1)
    is_odd = (often >= _OFTEN) | (highest >= _FAR)
    order = np.lexsort((-highest, -often))
    return [int(at) for at in order if is_odd[at]][:_MOST_ODD]


def _thin_lines(table: _Table, others: list[int], palette: Palette) -> list[Trace]:
    """Draw the clients that nobody need look at, as one trace with gaps."""
    if not others:
        return []
    gap = np.full((len(others), 1), np.nan)
    heights = np.hstack([table.drifts[others], gap])
    names = [[table.clients[at]] * heights.shape[1] for at in others]
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(table.rounds) == 1 else "lines",
            "x": np.tile(np.append(table.rounds, np.nan), len(others)),
            "y": heights.ravel(),
            "text": np.array(names, dtype=object).ravel(),
            "line": {"color": translucent(palette.muted, 0.45), "width": 1},
            "name": counted(len(others), "other client"),
            "legendrank": 2000,
            "hovertemplate": "<b>%{text}</b><br>round %{x}: %{y:.3g}<extra></extra>",
        }
    ]


def _bands(table: _Table, palette: Palette) -> list[Trace]:
    wide, narrow = palette.bands
    traces: list[Trace] = []
    for name, low, high, opacity in (
        ("lowest to highest", 0, 100, wide),
        ("middle half", 25, 75, narrow),
    ):
        edge: Trace = {
            "type": "scatter",
            "mode": "lines",
            "x": table.rounds,
            "line": {"width": 0},
            "hoverinfo": "skip",
            "legendgroup": name,
            "legendrank": 2000,
        }
        fill = {"fill": "tonexty", "fillcolor": translucent(palette.muted, opacity)}
        traces.append({**edge, "y": _quantile(table.drifts, low), "showlegend": False})
        traces.append({**edge, **fill, "y": _quantile(table.drifts, high), "name": name})
    return traces


def _line(table: _Table, at: int, rank: int, palette: Palette) -> Trace:
    look: dict[str, Any] = {
        "color": palette.series[rank % len(palette.series)],
        "width": 2.5,
        "dash": _DASHES[rank % len(_DASHES)],
    }
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": table.rounds,
        "y": table.drifts[at],
        "line": look,
        "marker": {"size": 6 if len(table.rounds) <= 40 else 3},  # noqa: PLR2004  # then a line
        "connectgaps": True,
        "name": table.clients[at],
        "hovertemplate": (
            f"<b>{table.clients[at]}</b><br>round %{{x}}: %{{y:.3g}}<extra></extra>"
        ),
    }


def _crosses(table: _Table, palette: Palette) -> list[Trace]:
    """Mark updates that were not finite, at the height of the median client."""
    rows, columns = np.nonzero(table.diverged)
    if not rows.size:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": table.rounds[columns],
            "y": np.ones(rows.size),
            "text": [table.clients[row] for row in rows],
            "marker": {
                "symbol": "x-thin",
                "size": 9,
                "line": {"color": palette.failed, "width": 2},
            },
            "name": "diverged (NaN or ∞)",
            "hovertemplate": "<b>%{text}</b><br>round %{x}: diverged<extra></extra>",
        }
    ]
