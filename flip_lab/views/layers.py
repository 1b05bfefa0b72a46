"""How far each client's update went, array by array."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import (
    counted,
    node_names,
    nothing_yet,
    numbers,
    plain,
    require_columns,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    bar_title,
    draw,
    palette_of,
)

_Floats: TypeAlias = npt.NDArray[np.float64]

_COLUMNS = ("node_id", "partition_id", "layer", "update_norm")
_MOST_CLIENTS = 200  # columns that can still be told apart
_MOST_NAMED = 40
_LOWEST, _MOST_SPAN = -2, 6  # colours reach from 1/4 to 4, or to 64 times the median


def layer_heatmap(
    by_layer: pd.DataFrame, *, title: str = "Updates of a round", theme: Theme = "light"
) -> Figure:
    """Draw the norm of each client's update of each array as a heat map.

    A column is a client, the farthest left; a row is an array of the model, in its order.
    Colours compare a norm with that array's median client, in powers of two: arrays differ
    in size, so their norms do not compare with each other. Of more than 200 clients the
    farthest 200 are drawn. NaN and infinite norms have a colour of their own.

    Args:
        by_layer: One row for each client and array: ``node_id``, ``partition_id``,
            ``layer`` and ``update_norm``, as ``run.inspect().by_layer()`` gives them;
            ``node`` (the node's name) is optional.
        title: What the figure shows.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no update.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    require_columns(by_layer, _COLUMNS, view="layer_heatmap")
    if by_layer.empty:
        return nothing_yet(plain(title), "No client sent an update.", theme=theme)
    norms = _table(by_layer)
    num_clients = norms.shape[1]
    finite = np.where(np.isfinite(norms.to_numpy()), norms.to_numpy(), np.nan)
    ratios = _over_median(finite)
    order = _farthest(norms.to_numpy())[:_MOST_CLIENTS]
    shown = norms.iloc[:, order]
    palette = palette_of(theme)
    parts = [counted(num_clients, "client"), counted(len(norms), "array")]
    if num_clients > _MOST_CLIENTS:
        parts.append(f"the {_MOST_CLIENTS} clients farthest off")
    few = len(order) <= _MOST_NAMED
    layout = {
        "title": {"text": plain(title), "subtitle": {"text": " · ".join(parts)}},
        "height": 170 + min(max(24 * len(norms), 140), 520),
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": _client_axis(list(shown.columns), few=few),
        "yaxis": {
            "autorange": "reversed",
            "showgrid": False,
            "ticks": "",
            "tickmode": "auto" if len(norms) > _MOST_NAMED else "linear",
            "title": {"text": ""},
        },
    }
    traces = _traces(shown, ratios[:, order], palette, gap=1 if few else 0)
    return draw(traces, layout, theme=theme)


def _table(by_layer: pd.DataFrame) -> pd.DataFrame:
    """Give norms as arrays × clients, both in the order in which they come."""
    given = pd.DataFrame(
        {
            "client": node_names(by_layer),
            "layer": [plain(layer, at_most=40) for layer in by_layer["layer"]],
            "norm": numbers(by_layer, "update_norm", view="layer_heatmap"),
        }
    )
    table = given.pivot_table(
        index="layer", columns="client", values="norm", dropna=False, sort=False
    )
    layers = list(dict.fromkeys(given["layer"]))
    return table.reindex(index=layers, columns=list(dict.fromkeys(given["client"])))


def _over_median(finite: _Floats) -> _Floats:
    """Give log2 of each norm over its row's median; NaN where that says nothing."""
    known = np.where(np.isnan(finite).all(axis=1, keepdims=True), 0.0, finite)
    middle = np.nanmedian(known, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log2(finite / middle)
    return np.where(finite == 0, -np.inf, ratios)


def _farthest(norms: _Floats) -> npt.NDArray[np.intp]:
    """Order clients by their whole norm, those that diverged first."""
    whole = np.sqrt(np.square(norms).sum(axis=0))
    return np.argsort(-np.where(np.isfinite(whole), whole, np.inf), kind="stable")


def _traces(
    shown: pd.DataFrame, ratios: _Floats, palette: Palette, *, gap: int
) -> list[Trace]:
    norms = shown.to_numpy(dtype=np.float64)
    known = ratios[np.isfinite(ratios)]
    highest = np.ceil(known.max() if known.size else 0)
    span = int(np.clip(highest, -_LOWEST, _MOST_SPAN))
    shared: Trace = {
        "type": "heatmap",
        "x": list(range(norms.shape[1])),
        "y": list(shown.index),
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
    }
    steps = len(palette.scale) - 1
    names = np.broadcast_to(np.array(shown.columns, dtype=object), norms.shape)
    traces: list[Trace] = [
        {
            **shared,
            "z": np.clip(ratios, _LOWEST, span),
            "zmin": _LOWEST,
            "zmax": span,
            "colorscale": [[at / steps, tint] for at, tint in enumerate(palette.scale)],
            "colorbar": _colourbar(span, palette),
            "customdata": np.dstack([names, norms]),
            "hovertemplate": (
                "<b>%{customdata[0]}</b><br>%{y}: norm %{customdata[1]:.5g}<extra></extra>"
            ),
            "name": "norm",
        }
    ]
    broken = ~np.isfinite(norms)
    if broken.any():
        traces.append(
            {
                **shared,
                "z": np.where(broken, 1.0, np.nan),
                "colorscale": [[0, palette.failed], [1, palette.failed]],
                "showscale": False,
                "customdata": names,
                "hovertemplate": "<b>%{customdata}</b><br>%{y}: diverged<extra></extra>",
                "name": "diverged",
            }
        )
        traces.append(_key(palette))
    return traces


def _colourbar(span: int, palette: Palette) -> dict[str, Any]:
    powers = range(_LOWEST, span + 1)
    return {
        "title": bar_title("norm / median client's", palette),
        "tickvals": list(powers),
        "ticktext": [f"{2**p}×" if p >= 0 else f"1/{2**-p}×" for p in powers],
        "thickness": 12,
        "outlinewidth": 0,
    }


def _key(palette: Palette) -> Trace:
    marker = {
        "symbol": "square",
        "size": 11,
        "color": palette.failed,
        "line": {"color": palette.line, "width": 1},
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": marker,
        "name": "diverged (NaN or ∞)",
        "showlegend": True,
        "hoverinfo": "skip",
    }


def _client_axis(clients: list[str], *, few: bool) -> dict[str, Any]:
    axis: dict[str, Any] = {"showgrid": False, "ticks": "" if few else "outside"}
    if not few:
        return {**axis, "title": {"text": "clients, the farthest first"}}
    short = [name.removeprefix("partition ") for name in clients]
    title = "partition, the farthest first" if short != clients else ""
    places = list(range(len(clients)))
    return {**axis, "title": {"text": title}, "tickvals": places, "ticktext": short}
