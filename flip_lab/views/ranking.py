"""Which group is best, by how much, and whether that is more than chance."""

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
from flip_lab.views.lanes import intervals, lane_layout
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_BOARD = ("rank", "is_tied", "group", "centre", "low", "high", "num_seeds", "p_to_leader")
_PAIRS = ("first", "second", "difference", "low", "high", "p_corrected", "is_significant")
_MOST_PAIRS = 60  # lanes that still fit a page


def leaderboard_figure(board: pd.DataFrame, name: str, *, theme: Theme = "light") -> Figure:
    """Draw each group's mean as a dot in its interval, best on top, ties marked.

    Groups that were not shown to be worse than the leader are filled, and their rank reads
    ``1=``; the others are hollow. Open diamonds are the best single runs. A group without
    a finite value has a cross.

    Args:
        board: What ``Comparison.leaderboard()`` gives, one row per group, best first:
            ``rank``, ``is_tied``, ``group``, ``centre``, ``low``, ``high``, ``num_seeds``,
            ``p_to_leader``; ``num_diverged`` and ``best_value`` are shown if there.
        name: What was measured, such as ``eval_accuracy``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no group.

    Raises:
        ViewError: If the frame lacks a column, a column holds no numbers, or there is no
            such theme.
    """
    require_columns(board, _BOARD, view="leaderboard_figure")
    title = f"Leaderboard: {plain(name)}"
    if board.empty:
        return nothing_yet(title, "No group has been measured yet.", theme=theme)
    rows = _board_rows(board)
    palette = palette_of(theme)
    colours = [palette.series[0] if first else palette.muted for first in rows["is_first"]]
    traces = [
        *intervals(rows["low"].to_numpy(), rows["high"].to_numpy(), colours),
        *_dots(rows, palette),
        *_best_runs(rows, palette),
        *_lost(rows["centre"], rows["told"], palette),
    ]
    layout = lane_layout(
        [
            f"<b>{rank}</b>  {group}"
            for rank, group in zip(rows["place"], rows["name"], strict=True)
        ],
        list(rows["fact"]),
        label=axis_label(name),
        palette=palette,
    )
    num_tied = int((rows["place"] == "1=").sum())
    said = f"{num_tied} share the lead" if num_tied else f"{counted(len(rows), 'group')}"
    subtitle = {"text": f"mean over seeds and its interval · {said}"}
    layout |= {"title": {"text": title, "subtitle": subtitle}, "legend": LEGEND_ABOVE}
    return draw(traces, layout, theme=theme)


def _board_rows(board: pd.DataFrame) -> pd.DataFrame:
    """Give plain numbers, and the words of each lane."""
    optional = [each for each in ("num_diverged", "best_value") if each in board.columns]
    wanted = ["rank", "centre", "low", "high", "num_seeds", "p_to_leader", *optional]
    rows = pd.DataFrame(
        {each: numbers(board, each, view="leaderboard_figure") for each in wanted}
    ).reindex(columns=[*wanted[:6], "num_diverged", "best_value"])
    rows["name"] = group_names(board, "group").to_numpy()
    rows["is_first"] = rows["rank"] == 1
    tied = numbers(board, "is_tied", view="leaderboard_figure") == 1
    rows["place"] = [
        "–" if math.isnan(rank) else "1=" if is_tied else f"{rank:.0f}"
        for rank, is_tied in zip(rows["rank"], tied, strict=True)
    ]
    records = rows.to_dict("records")
    rows["fact"] = [_board_fact(row) for row in records]
    rows["told"] = [_board_told(row) for row in records]
    return rows


def _board_fact(row: dict[Any, Any]) -> str:
    if not math.isfinite(row["centre"]):
        return "no finite value"
    fact = f"{row['centre']:.4g}"
    if math.isfinite(row["p_to_leader"]):
        fact += f"  {_p(row['p_to_leader'])}"
    return fact


def _board_told(row: dict[Any, Any]) -> str:
    told = f"<b>{row['name']}</b><br>mean {number(row['centre'])}"
    if math.isfinite(row["low"]):
        told += f"<br>interval {row['low']:.5g} to {row['high']:.5g}"
    told += f"<br>{counted(int(np.nan_to_num(row['num_seeds'])), 'seed')}"
    if row["num_diverged"] > 0:
        told += f", {row['num_diverged']:.0f} diverged"
    if math.isfinite(row["p_to_leader"]):
        told += f"<br>against the leader {_p(row['p_to_leader'])}"
    return told


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"  # noqa: PLR2004  # as papers do


def _dots(rows: pd.DataFrame, palette: Palette) -> list[Trace]:
    looks = (
        (True, "not shown to be worse than the leader", "circle", palette.series[0]),
        (False, "worse than the leader", "circle-open", palette.muted),
    )
    traces: list[Trace] = []
    for is_first, words, symbol, colour in looks:
        kept = rows[(rows["is_first"] == is_first) & np.isfinite(rows["centre"])]
        if kept.empty:
            continue
        traces.append(
            {
                **_points(kept["centre"], kept["told"]),
                "marker": {
                    "symbol": symbol,
                    "size": 12,
                    "color": colour,
                    "line": {"color": palette.paper if is_first else colour, "width": 2},
                },
                "name": words,
            }
        )
    return traces


def _points(values: pd.Series[float], told: pd.Series[str]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": values.to_numpy(),
        "y": values.index.to_numpy(),
        "text": list(told),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _best_runs(rows: pd.DataFrame, palette: Palette) -> list[Trace]:
    kept = rows[np.isfinite(rows["best_value"])]
    if kept.empty:
        return []
    told = [
        f"<b>{name}</b><br>best run {best:.5g}"
        for name, best in zip(kept["name"], kept["best_value"], strict=True)
    ]
    outline = {"color": palette.text, "width": 1}
    return [
        {
            **_points(kept["best_value"], pd.Series(told, dtype=object)),
            "marker": {
                "symbol": "diamond-open",
                "size": 8,
                "color": palette.text,
                "line": outline,
            },
            "name": "best run",
        }
    ]


def _lost(centres: pd.Series[float], told: pd.Series[str], palette: Palette) -> list[Trace]:
    """Mark lanes without a finite value, at the left end of what is drawn."""
    lost = centres[~np.isfinite(centres)]
    if lost.empty:
        return []
    known = centres[np.isfinite(centres)]
    at = pd.Series(float(known.min()) if len(known) else 0.0, index=lost.index)
    line = {"color": palette.failed, "width": 2}
    return [
        {
            **_points(at, told[lost.index]),
            "marker": {"symbol": "x-thin", "size": 10, "line": line},
            "name": "no finite value",
        }
    ]


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
        *_lost(shown["difference"], shown["told"], palette),
    ]
    label = f"difference in {axis_label(name)}"
    layout = lane_layout(
        list(shown["name"]), list(shown["fact"]), label=label, palette=palette
    )
    said = f"first minus second, interval (uncorrected) · {_found(rows)}"
    if len(shown) < len(rows):
        said += f" · the {len(shown)} with the smallest p"
    layout |= {
        "title": {"text": title, "subtitle": {"text": said}},
        "legend": LEGEND_ABOVE,
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
    return _p(row["p_corrected"]) if math.isfinite(row["p_corrected"]) else "no test"


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
        points = _points(kept["difference"], kept["told"])
        traces.append({**points, "marker": marker, "name": words})
    return traces
