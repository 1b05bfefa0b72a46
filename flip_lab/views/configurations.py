"""In what the configurations of runs differ, and in nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from flip_lab.views.canvas import counted, is_missing, nothing_yet, plain
from flip_lab.views.theme import Figure, Palette, Theme, draw, palette_of, translucent

_TITLE = "What differs"
_ROW_PX = 28
_MOST_ROWS = 200
_ABSENT = "–"


def configuration_table(
    differing: pd.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """Show the settings in which runs differ, as a table.

    Where at least half of the runs agree on a setting, the values of the others are bold
    and shaded. The longer side of the frame runs down the page. Of more than 200
    lines the first are shown, and the subtitle says so.

    Args:
        differing: What ``configuration_diff`` gives: a row per setting (the index is its
            name), a column per run; missing where a run lacks the setting.
        labels: What to call each run; by default its id.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when nothing differs.

    Raises:
        ViewError: If there is no such theme.
    """
    if differing.empty:
        words = "All runs have the same configuration."
        return nothing_yet(_TITLE, words, theme=theme)
    called = {run_id: (labels or {}).get(run_id, run_id) for run_id in differing.columns}
    by_run = differing.rename(columns=called).T
    by_run.index.name = "run"
    odd = pd.DataFrame(
        {at: odd_values(by_run.iloc[:, at]) for at in range(by_run.shape[1])},
        index=by_run.index,
    )
    is_tall = by_run.shape[1] > by_run.shape[0]
    shown, marked = (by_run.T, odd.T) if is_tall else (by_run, odd)
    total = len(shown)
    shown, marked = shown.head(_MOST_ROWS), marked.head(_MOST_ROWS)
    palette = palette_of(theme)
    said = f"{counted(differing.shape[0], 'setting')} of {counted(len(called), 'run')}"
    if total > len(shown):
        said += f" · the first {len(shown)} of {total:,} lines"
    layout = {
        "title": {"text": _TITLE, "subtitle": {"text": said}},
        "height": 124 + _ROW_PX * (len(shown) + 1),
        "margin": {"l": 0, "r": 0, "b": 12},
    }
    head = "setting" if is_tall else "run"
    return draw([_table(shown, marked, head, palette)], layout, theme=theme)


def _text(cell: object) -> str:
    return _ABSENT if is_missing(cell) else plain(cell, at_most=48)


def odd_values(cells: Iterable[object]) -> list[bool]:
    """Tell which values differ from what at least half of them are, if these agree.

    Args:
        cells: The values of one setting, one for each run; ``None`` where it is not set.

    Returns:
        One flag a value; all false when no value has half of the cells.
    """
    texts = [_text(cell) for cell in cells]
    usual, count = Counter(texts).most_common(1)[0]
    return [2 * count >= len(texts) and text != usual for text in texts]


def _table(
    shown: pd.DataFrame, marked: pd.DataFrame, head: str, palette: Palette
) -> dict[str, Any]:
    names = [plain(name, at_most=48) for name in shown.index]
    columns: list[list[str]] = [names]
    fills: list[list[str]] = [[palette.paper] * len(names)]
    shade = translucent(palette.series[0], 0.16)
    for at in range(shown.shape[1]):
        flags = [bool(flag) for flag in marked.iloc[:, at]]
        texts = [_text(cell) for cell in shown.iloc[:, at]]
        columns.append(
            [f"<b>{t}</b>" if flag else t for t, flag in zip(texts, flags, strict=True)]
        )
        fills.append([shade if flag else palette.paper for flag in flags])
    line = {"color": palette.grid, "width": 1}
    font = {"color": palette.text, "size": 12}
    return {
        "type": "table",
        "header": {
            "values": [head, *(f"<b>{plain(name, at_most=48)}</b>" for name in shown)],
            "align": "left",
            "fill": {"color": palette.stripe},
            "line": line,
            "font": {**font, "color": palette.muted},
            "height": _ROW_PX,
        },
        "cells": {
            "values": columns,
            "align": "left",
            "fill": {"color": fills},
            "line": line,
            "font": font,
            "height": _ROW_PX,
        },
    }
