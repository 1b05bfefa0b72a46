"""By how much groups differ, two at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
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
)
from flip_lab.views.lanes import (
    intervals,
    lane_layout,
    lane_title,
    lost_lanes,
    p_words,
    padded,
    points,
)
from flip_lab.views.theme import (
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_PAIRS = ("first", "second", "difference", "low", "high", "p_corrected", "is_significant")
_MOST_PAIRS = 60  # lanes that still fit a page


def effect_forest(pairs: pd.DataFrame, name: str, *, theme: Theme = "light") -> Figure:
    """Draw the difference of each pair of groups in its interval, against zero.

    Differences that a test showed are filled and coloured, others hollow; the corrected p
    stands at the right. Of more than 60 pairs, those with the smallest p are shown, and the
    subtitle says so.

    Args:
        pairs: What ``Comparison.pairwise().frame`` gives, one row per pair: ``first``,
            ``second``, ``difference`` (first minus second), ``low``, ``high``,
            ``p_corrected``, ``is_significant``; ``hedges_g``, ``test`` and ``note`` are
            shown if there.
        name: What was measured, such as ``eval_accuracy``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no pair.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    require_columns(pairs, _PAIRS, view="effect_forest")
    title = f"Differences in {plain(name)}"
    if pairs.empty:
        words = "There are no two groups to compare."
        return nothing_yet(title, words, theme=theme)
    rows = _pair_rows(pairs)
    shown = rows
    if len(rows) > _MOST_PAIRS:
        by_p = rows.sort_values("p_corrected", kind="stable", na_position="last")
        shown = by_p.head(_MOST_PAIRS).reset_index(drop=True)
    palette = palette_of(theme)
    colours = [
        palette.series[0] if flag == 1 else palette.muted
        for flag in shown["is_significant"]
    ]
    traces = [
        *intervals(shown["low"].to_numpy(), shown["high"].to_numpy(), colours),
        *_differences(shown, palette),
        *lost_lanes(shown["difference"], shown["told"], palette),
    ]
    label = f"difference in {axis_label(name)}"
    layout = lane_layout(
        list(shown["name"]), list(shown["fact"]), label=label, palette=palette
    )
    drawn = (shown[each].to_numpy() for each in ("difference", "low", "high"))
    layout["xaxis"] |= padded(np.zeros(1), *drawn)
    said = f"first minus second, interval (uncorrected) · {_found(rows)}"
    if len(shown) < len(rows):
        said += f" · the {len(shown)} with the smallest p"
    layout |= {
        "title": lane_title(title, said),
        "shapes": [_zero(palette)],
    }
    return draw(traces, layout, theme=theme)


def _found(rows: pd.DataFrame) -> str:
    num_shown = int((rows["is_significant"] == 1).sum())
    return f"{num_shown} of {counted(len(rows), 'pair')} shown to differ"


def _zero(palette: Palette) -> dict[str, Any]:
    line = {"color": palette.text, "width": 1, "dash": "dot"}
    place = {"x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "line": line, "layer": "below", **place}


def _pair_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    wanted = ["difference", "low", "high", "p_corrected", "is_significant"]
    optional = ["hedges_g"] if "hedges_g" in pairs.columns else []
    rows = pd.DataFrame(
        {each: numbers(pairs, each, view="effect_forest") for each in [*wanted, *optional]}
    ).reindex(columns=[*wanted, "hedges_g"])
    first, second = (group_names(pairs, each).to_numpy() for each in ("first", "second"))
    rows["name"] = [f"{one} – {two}" for one, two in zip(first, second, strict=True)]
    for extra in ("test", "note"):
        has_it = extra in pairs.columns
        rows[extra] = group_names(pairs, extra).to_numpy() if has_it else ""
    records = rows.to_dict("records")
    rows["fact"] = [_pair_fact(row) for row in records]
    rows["told"] = [_pair_told(row) for row in records]
    return rows


def _pair_fact(row: dict[Any, Any]) -> str:
    if not math.isfinite(row["difference"]):
        return "nothing to compare"
    return p_words(row["p_corrected"]) if math.isfinite(row["p_corrected"]) else "no test"


def _pair_told(row: dict[Any, Any]) -> str:
    told = f"<b>{row['name']}</b><br>difference {number(row['difference'])}"
    if math.isfinite(row["low"]):
        told += f"<br>interval {row['low']:.5g} to {row['high']:.5g}"
    if math.isfinite(row["hedges_g"]):
        told += f"<br>Hedges’ g {row['hedges_g']:.3g}"
    words = [row["test"], _pair_fact(row), row["note"]]
    return told + "".join(f"<br>{word}" for word in words if word)


def _differences(shown: pd.DataFrame, palette: Palette) -> list[Trace]:
    looks = (
        (1.0, "differ", "circle", palette.series[0]),
        (0.0, "not shown to differ", "circle-open", palette.muted),
    )
    traces: list[Trace] = []
    for flag, words, symbol, colour in looks:
        kept = shown[(shown["is_significant"] == flag) & np.isfinite(shown["difference"])]
        if kept.empty:
            continue
        line = {"color": palette.paper if flag else colour, "width": 2}
        marker = {"symbol": symbol, "size": 11, "color": colour, "line": line}
        differences = points(kept["difference"], kept["told"])
        traces.append({**differences, "marker": marker, "name": words})
    return traces
