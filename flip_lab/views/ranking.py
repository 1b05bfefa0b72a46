"""Which group is best, and which others might be as well."""

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

_BOARD = ("rank", "is_tied", "group", "centre", "low", "high", "num_seeds", "p_to_leader")


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
        *lost_lanes(rows["centre"], rows["told"], palette),
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
    drawn = (rows[each].to_numpy() for each in ("centre", "low", "high", "best_value"))
    layout["xaxis"] |= padded(*drawn)
    num_tied = int((rows["place"] == "1=").sum())
    said = f"{num_tied} share the lead" if num_tied else f"{counted(len(rows), 'group')}"
    layout["title"] = lane_title(title, f"mean over seeds and its interval · {said}")
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
        fact += f"  {p_words(row['p_to_leader'])}"
    return fact


def _board_told(row: dict[Any, Any]) -> str:
    told = f"<b>{row['name']}</b><br>mean {number(row['centre'])}"
    if math.isfinite(row["low"]):
        told += f"<br>interval {row['low']:.5g} to {row['high']:.5g}"
    told += f"<br>{counted(int(np.nan_to_num(row['num_seeds'])), 'seed')}"
    if row["num_diverged"] > 0:
        told += f", {row['num_diverged']:.0f} diverged"
    if math.isfinite(row["p_to_leader"]):
        told += f"<br>against the leader {p_words(row['p_to_leader'])}"
    return told


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
                **points(kept["centre"], kept["told"]),
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
            **points(kept["best_value"], pd.Series(told, dtype=object)),
            "marker": {
                "symbol": "diamond-open",
                "size": 8,
                "color": palette.text,
                "line": outline,
            },
            "name": "best run",
        }
    ]
