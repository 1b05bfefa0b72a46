"""Groups of runs, round by round: the mean over the seeds and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import (
    axis_label,
    counted,
    group_names,
    nothing_yet,
    number,
    numbers,
    plain,
    require_columns,
    round_step,
    where,
    wrapped,
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

_COLUMNS = ("group", "server_round", "centre", "low", "high", "num_seeds", "num_diverged")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")
_DASHES = ("solid", "8px,4px", "3px,3px", "10px,3px,3px,3px")
_DENSE = 40  # rounds above which a marker on each point hides the line
_FEW = 3  # groups whose bands may be strong; of more, overlaps would turn to mud


def confidence_bands(
    bands: pd.DataFrame,
    name: str,
    *,
    measured: pd.DataFrame | None = None,
    log: bool = False,
    theme: Theme = "light",
) -> Figure:
    """Draw each group's centre as a line in a band of its interval.

    Smoothed curves are shown as such: pass the unsmoothed bands too, and their centres lie
    behind as thin lines. A centre that is NaN or infinite leaves a gap, and a cross at the
    last finite height says so. A group of one seed has no band.

    Args:
        bands: What ``Comparison.bands()`` gives, one row per group and round: ``group``,
            ``server_round``, ``centre``, ``low``, ``high`` (NaN without an interval),
            ``num_seeds``, ``num_diverged``.
        name: What was measured, such as ``eval_accuracy``; names the axis.
        measured: The same without smoothing, when ``bands`` are smoothed.
        log: Whether the vertical axis is logarithmic; values up to 0 cannot be shown then,
            and the subtitle counts them.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is nothing to compare yet.

    Raises:
        ViewError: If a frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    require_columns(bands, _COLUMNS, view="confidence_bands")
    title = f"{plain(name)} by group"
    if bands.empty:
        words = "No group has a measured round yet."
        return nothing_yet(title, words, theme=theme)
    groups = _groups(bands, log=log)
    palette = palette_of(theme)
    looks = [_look(at, len(groups), palette) for at in range(len(groups))]
    traces: list[Trace] = []
    for group, look in zip(groups, looks, strict=True):
        traces += _band(group, look)
    if measured is not None:
        traces += _as_measured(measured, dict(zip(_names(groups), looks, strict=True)))
    for group, look in zip(groups, looks, strict=True):  # all lines lie above all bands
        traces += _lines(group, look)
    if any(group.lost.any() for group in groups):
        traces.append(_crosses_explained(palette))
    said = _subtitle(groups, is_smoothed=measured is not None)
    last_round = max(float(group.rounds.max()) for group in groups)
    layout = {
        "title": {"text": title, "subtitle": {"text": said}},
        "height": 460,
        "hovermode": "closest",
        "xaxis": {
            "title": {"text": "round"},
            "dtick": round_step(last_round),
            "tick0": 0,
        },
        "yaxis": {
            "title": {"text": axis_label(name)},
            "type": "log" if log else "linear",
        },
    }
    return draw(traces, layout, theme=theme)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """One group's rows in order of rounds.

    ``told`` is the centre as given; in ``centre``, what cannot be drawn is NaN.
    """

    name: str
    rounds: _Floats
    told: _Floats
    centre: _Floats
    low: _Floats
    high: _Floats
    num_seeds: _Floats
    num_diverged: _Floats
    lost: npt.NDArray[np.bool_]
    num_hidden: int


def _names(groups: list[_Group]) -> list[str]:
    return [group.name for group in groups]


def _groups(bands: pd.DataFrame, *, log: bool) -> list[_Group]:
    columns = {name: numbers(bands, name, view="confidence_bands") for name in _COLUMNS[1:]}
    frame = pd.DataFrame({"group": group_names(bands, "group").to_numpy(), **columns})
    ordered = frame.sort_values("server_round", kind="stable")
    floor = _floor(columns["centre"]) if log else -np.inf
    return [
        _group(str(name), where(ordered, "group", name), floor)
        for name in dict.fromkeys(frame["group"])
    ]


def _floor(centres: _Floats) -> float:
    """Give the lowest height that a log axis needs: half the smallest positive centre."""
    positive = centres[np.isfinite(centres) & (centres > 0)]
    return float(positive.min()) / 2 if positive.size else 1e-3


def _group(name: str, rows: pd.DataFrame, floor: float) -> _Group:
    columns = {each: rows[each].to_numpy(dtype=np.float64) for each in _COLUMNS[1:]}
    centre = columns["centre"]
    finite = np.isfinite(centre)
    shown = finite & (centre > 0) if np.isfinite(floor) else finite
    has_ends = np.isfinite(columns["low"]) & np.isfinite(columns["high"]) & finite
    return _Group(
        name=name,
        rounds=columns["server_round"],
        told=centre,
        centre=np.where(shown, centre, np.nan),
        low=np.where(has_ends, np.maximum(columns["low"], floor), np.nan),
        high=np.where(has_ends, np.maximum(columns["high"], floor), np.nan),
        num_seeds=columns["num_seeds"],
        num_diverged=np.nan_to_num(columns["num_diverged"]),
        lost=~finite,
        num_hidden=int((finite & ~shown).sum()),
    )


def _look(at: int, num_groups: int, palette: Palette) -> dict[str, str]:
    colour = palette.series[at % len(palette.series)]
    opacity = palette.bands[1 if num_groups <= _FEW else 0]
    return {
        "colour": colour,
        "fill": translucent(colour, opacity),
        "symbol": _SYMBOLS[at % len(_SYMBOLS)],
        "dash": _DASHES[at % len(_DASHES)],  # of two equal lines both colours are seen
    }


def _band(group: _Group, look: dict[str, str]) -> list[Trace]:
    """Draw one closed shape for each stretch of rounds that has an interval."""
    known = np.isfinite(group.low)
    edges = np.flatnonzero(np.diff(known.astype(np.int8))) + 1
    stretches = np.split(np.arange(known.size), edges)
    return [_shape(group, at, look) for at in stretches if at.size and known[at[0]]]


def _shape(group: _Group, at: npt.NDArray[np.int64], look: dict[str, str]) -> Trace:
    rounds, low, high = group.rounds[at], group.low[at], group.high[at]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([rounds, rounds[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": look["fill"],
        # a stretch of a single round has no area: its outline is the error bar
        "line": {"width": 0 if at.size > 1 else 3, "color": look["fill"]},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": group.name,
        "name": f"{group.name} (interval)",
    }


def _as_measured(measured: pd.DataFrame, looks: dict[str, dict[str, str]]) -> list[Trace]:
    require_columns(measured, _COLUMNS, view="confidence_bands")
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": group.rounds,
            "y": group.centre,
            "line": {"color": looks[group.name]["colour"], "width": 1},
            "opacity": 0.55,
            "name": f"{group.name} (as measured)",
            "legendgroup": group.name,
            "showlegend": False,
            "hoverinfo": "skip",
        }
        for group in _groups(measured, log=False)
        if group.name in looks
    ]


def _lines(group: _Group, look: dict[str, str]) -> list[Trace]:
    texts = _told(group)
    hover = {"hovertemplate": "%{text}<extra></extra>", "legendgroup": group.name}
    line: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if group.rounds.size <= _DENSE else "lines",
        "x": group.rounds,
        "y": group.centre,
        "connectgaps": False,
        "line": {"color": look["colour"], "width": 2.5, "dash": look["dash"]},
        "marker": {"symbol": look["symbol"], "size": 6},
        "name": wrapped(f"{group.name} ({_seeds(group)})"),
        "text": texts,
        **hover,
    }
    if not group.lost.any():
        return [line]
    heights = pd.Series(group.centre).ffill().bfill().fillna(0.0)
    outline = {"color": look["colour"], "width": 2}
    crosses: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": group.rounds[group.lost],
        "y": heights.to_numpy(dtype=np.float64)[group.lost],
        "text": [texts[at] for at in np.flatnonzero(group.lost)],
        "marker": {"symbol": "x-thin", "size": 9, "line": outline},
        "name": f"{group.name} (diverged)",
        "showlegend": False,
        **hover,
    }
    return [line, crosses]


def _crosses_explained(palette: Palette) -> Trace:
    line = {"color": palette.muted, "width": 2}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "marker": {"symbol": "x-thin", "size": 9, "line": line},
        "name": "no finite value",
        "hoverinfo": "skip",
    }


def _told(group: _Group) -> list[str]:
    rows = zip(
        group.rounds,
        group.told,
        group.low,
        group.high,
        group.num_seeds,
        group.num_diverged,
        strict=True,
    )
    return [
        f"<b>{group.name}</b><br>round {at:g}: {number(float(centre))}"
        + (f"<br>interval {low:.5g} to {high:.5g}" if np.isfinite(low) else "")
        + (f"<br>{counted(int(seeds), 'seed')}" if np.isfinite(seeds) else "")
        + (f", {int(diverged)} diverged" if diverged else "")
        for at, centre, low, high, seeds, diverged in rows
    ]


def _seeds(group: _Group) -> str:
    known = group.num_seeds[np.isfinite(group.num_seeds)]
    if not known.size:
        return "seeds unknown"
    fewest, most = int(known.min()), int(known.max())
    seeds = counted(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    diverged = int(group.num_diverged.max())
    return f"{seeds}, {diverged} diverged" if diverged else seeds


def _subtitle(groups: list[_Group], *, is_smoothed: bool) -> str:
    parts = ["centre of the seeds in its interval"]
    if is_smoothed:
        parts.append("thick: smoothed, thin: as measured")
    bandless = sum(not np.isfinite(group.low).any() for group in groups)
    if bandless:
        parts.append(f"{counted(bandless, 'group')} without an interval")
    hidden = sum(group.num_hidden for group in groups)
    if hidden:
        parts.append(f"{counted(hidden, 'value')} of 0 or less left out")
    return " · ".join(parts)
