"""How far each client's update went in one round, and where it points."""

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
    bar_title,
    blend,
    draw,
    palette_of,
)

_Floats: TypeAlias = npt.NDArray[np.float64]

_NUMBERS = ("update_norm", "drift", "cosine")
_MOST_NAMED = 40  # clients up to which each has room for its name
_MOST_STEMS = 150  # above, stems run together into a surface
_MOST_LABELS = 5
_LOG_FROM = 20.0  # largest over median norm; beyond, the others would lie on the floor
_TUKEY = 1.5
_ABOVE, _HEADROOM = 1.08, 2.0  # of the highest norm, where the axis is linear, logarithmic


def update_figure(
    clients: pd.DataFrame, *, title: str = "Updates of a round", theme: Theme = "light"
) -> Figure:
    """Draw the norm of each client's update, the farthest first, coloured by its cosine.

    Blue updates point where the mean update points, orange ones against it. Clients beyond
    Tukey's upper fence (1.5 quartile distances above the quartiles) are named. The axis is
    logarithmic where the largest norm is over 20 times the median. Clients whose update
    is NaN or infinite stand at the left as crosses; those that failed are only counted.

    Args:
        clients: One row a client: ``node_id``, ``partition_id``, ``update_norm``,
            ``drift`` and ``cosine``, as ``run.inspect().clients`` has them; ``error``
            (empty where there was none) and ``node`` (the node's name) are optional.
        title: What the figure shows.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when no client sent an update.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    seen = _seen(clients)
    if seen.known.empty and seen.lost.empty:
        return nothing_yet(plain(title), "No client sent an update.", theme=theme)
    palette = palette_of(theme)
    traces = _stems(seen, palette) if len(seen.known) <= _MOST_STEMS else []
    traces += [_dots(seen, palette)] if len(seen.known) else []
    traces += [_crosses(seen, palette)] if len(seen.lost) else []
    layout = {
        "title": {"text": plain(title), "subtitle": {"text": _subtitle(seen)}},
        "height": 440,
        "hovermode": "closest",
        "showlegend": bool(len(seen.lost)),
        "legend": LEGEND_ABOVE,
        "shapes": _median_line(seen, palette),
        "annotations": _labels(seen, palette),
        "xaxis": _client_axis(seen),
        "yaxis": _norm_axis(seen.norms),
    }
    return draw(traces, layout, theme=theme)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The clients with a finite update, the farthest first; and the others."""

    known: pd.DataFrame
    lost: pd.DataFrame
    num_failed: int

    @property
    def norms(self) -> _Floats:
        return self.known["update_norm"].to_numpy(dtype=np.float64)

    @property
    def places(self) -> _Floats:
        """Where the known ones stand: behind those that diverged."""
        return np.arange(len(self.lost), len(self.lost) + len(self.known), dtype=np.float64)

    @property
    def is_named(self) -> bool:
        return len(self.known) + len(self.lost) <= _MOST_NAMED


def _seen(clients: pd.DataFrame) -> _Seen:
    view = "update_figure"
    require_columns(clients, ("node_id", "partition_id", *_NUMBERS), view=view)
    given = {name: numbers(clients, name, view=view) for name in _NUMBERS}
    frame = clients.assign(client=node_names(clients), **given)
    failed = np.zeros(len(frame), np.bool_)
    if "error" in frame.columns:
        failed = np.array([bool(error) for error in frame["error"]], np.bool_)
    finite = np.isfinite(given["update_norm"])
    known = frame.take(np.flatnonzero(finite & ~failed))
    return _Seen(
        known=known.sort_values("update_norm", ascending=False, kind="stable"),
        lost=frame.take(np.flatnonzero(~finite & ~failed)),
        num_failed=int(failed.sum()),
    )


def _subtitle(seen: _Seen) -> str:
    parts = [counted(len(seen.known) + len(seen.lost), "client") + ", the farthest first"]
    parts += [f"{len(seen.lost):,} diverged"] if len(seen.lost) else []
    parts += [f"{seen.num_failed:,} failed"] if seen.num_failed else []
    return " · ".join(parts)


def _dots(seen: _Seen, palette: Palette) -> Trace:
    neutral = blend(palette.muted, palette.line)
    tints = (palette.failed, neutral, palette.series[0])
    size = 11 if seen.is_named else 6
    return {
        "type": "scatter",
        "mode": "markers",
        "x": seen.places,
        "y": seen.norms,
        "text": seen.known["client"],
        "customdata": seen.known[["drift", "cosine"]].to_numpy(dtype=np.float64),
        "marker": {
            "size": size,
            "color": seen.known["cosine"].fillna(0.0),
            "cmin": -1,
            "cmax": 1,
            "colorscale": [[at / 2, tint] for at, tint in enumerate(tints)],
            "colorbar": {
                "title": bar_title("cosine with the mean update", palette),
                "tickvals": [-1, -0.5, 0, 0.5, 1],
                "thickness": 12,
                "outlinewidth": 0,
            },
        },
        "name": "update",
        "showlegend": False,
        "hovertemplate": (
            "<b>%{text}</b><br>norm %{y:.5g}: %{customdata[0]:.3g} times the median"
            "<br>cosine with the mean %{customdata[1]:.3f}<extra></extra>"
        ),
    }


def _stems(seen: _Seen, palette: Palette) -> list[Trace]:
    """Draw a line from the floor to each dot, all of them as one trace."""
    norms = seen.norms
    floor = _floor(norms) / 2 if _is_logarithmic(norms) else 0.0  # below the axis
    gap = np.full(norms.shape, np.nan)
    heights = np.stack([np.full(norms.shape, floor), norms, gap], axis=1).ravel()
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": np.repeat(seen.places, 3),
            "y": heights,
            "line": {"color": palette.line, "width": 3 if seen.is_named else 1.5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]


def _crosses(seen: _Seen, palette: Palette) -> Trace:
    """Mark updates that were not finite, above all others."""
    norms = seen.norms
    above = _HEADROOM if _is_logarithmic(norms) else _ABOVE
    top = float(norms.max()) * above if norms.size else 1.0
    return {
        "type": "scatter",
        "mode": "markers",
        "x": np.arange(len(seen.lost)),
        "y": np.full(len(seen.lost), top),
        "text": seen.lost["client"],
        "marker": {
            "symbol": "x-thin",
            "size": 10,
            "line": {"color": palette.failed, "width": 2.5},
        },
        "name": "diverged (NaN or ∞)",
        "hovertemplate": "<b>%{text}</b><br>not a finite update<extra></extra>",
    }


def _median_line(seen: _Seen, palette: Palette) -> list[dict[str, Any]]:
    if not seen.norms.size:
        return []
    middle = float(np.median(seen.norms))
    line = {"color": palette.muted, "width": 1, "dash": "4px,4px"}
    label = {
        "text": f"median {middle:.3g}",
        "textposition": "end",
        "yanchor": "bottom",
        "font": {"size": 11, "color": palette.muted},
    }
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": middle, "y1": middle}
    return [{"type": "line", **ends, "line": line, "label": label}]


def _labels(seen: _Seen, palette: Palette) -> list[dict[str, Any]]:
    """Name the clients beyond the fence, unless all have their name below."""
    norms = seen.norms
    if seen.is_named or not norms.size:
        return []
    first, third = np.percentile(norms, [25, 75])
    fence = third + _TUKEY * (third - first)
    names = list(seen.known["client"])
    odd = [at for at in range(min(_MOST_LABELS, norms.size)) if norms[at] > fence]
    heights = np.log10(norms) if _is_logarithmic(norms) else norms
    return [
        {
            "x": seen.places[at],
            "y": heights[at],
            "text": names[at],
            "showarrow": False,
            "xanchor": "left",
            "xshift": 8,
            "font": {"size": 11, "color": palette.text},
        }
        for at in odd
    ]


def _client_axis(seen: _Seen) -> dict[str, Any]:
    clients = [*seen.lost["client"], *seen.known["client"]]
    axis = {"showgrid": False, "range": [-0.7, len(clients) - 0.3]}
    if seen.is_named:
        short = [name.removeprefix("partition ") for name in clients]
        title = "partition" if short != clients else ""
        places = list(range(len(clients)))
        return {**axis, "title": {"text": title}, "tickvals": places, "ticktext": short}
    step = round_step(len(clients))
    return {**axis, "title": {"text": "clients"}, "dtick": step, "tick0": 0}


def _norm_axis(norms: _Floats) -> dict[str, Any]:
    title = {"title": {"text": "norm of the update"}}
    if _is_logarithmic(norms):
        return {**title, **log_axis(_floor(norms), float(norms.max()) * _HEADROOM)}
    return {**title, "rangemode": "tozero"}


def _is_logarithmic(norms: _Floats) -> bool:
    return bool(
        norms.size and norms.min() > 0 and norms.max() > _LOG_FROM * np.median(norms)
    )


def _floor(norms: _Floats) -> float:
    return float(norms.min()) / 2
