"""Which class was taken for which, as a logged matrix says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.core.errors import ViewError
from flip_lab.views.canvas import nothing_yet, number, numbers, plain, where
from flip_lab.views.logged import rows_of, value_of
from flip_lab.views.theme import Figure, Palette, Theme, Trace, draw, palette_of

_MOST_COUNTED = 12  # classes up to which a cell has room for its count and share
_TURNS: dict[Theme, float] = {"light": 0.65, "dark": 0.42}  # where text would fade
_MOST_NAMED = 40  # classes up to which each has room for its name

Floats = npt.NDArray[np.float64]


def confusion_map(
    logged: pd.DataFrame, *, server_round: int | None = None, theme: Theme = "light"
) -> Figure:
    """Draw which class was taken for which: counts, and shades by the share of a row.

    Matrices of several clients of the round are added up.

    Args:
        logged: ``server_round``, ``name``, ``type`` and ``value`` of one run and one name,
            as ``run.logged(name)`` gives them. Rows of other types are left out.
        server_round: The round; ``None`` takes the newest.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no matrix.

    Raises:
        ViewError: If the frame lacks a column, mixes runs, names or classes, or there is
            no such theme.
    """
    rows, name = rows_of(logged, "confusion_matrix", view="confusion_map")
    if server_round is not None:
        rows = where(rows, "server_round", server_round)
    if rows.empty:
        which = "" if server_round is None else f" in round {server_round}"
        words = f"No confusion matrix has been logged{which} yet."
        return nothing_yet("Confusion matrix", words, theme=theme)
    newest = int(numbers(rows, "server_round", view="confusion_map").max())
    rows = where(rows, "server_round", newest)
    counts, names = _added_up(rows)
    total = float(counts.sum())
    right = f"{np.trace(counts) / total:.1%} right" if total else "no examples"
    who = f", {len(rows):,} matrices" if len(rows) > 1 else ""
    words = f"round {newest}{who}, {number(total)} examples, {right}"
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    traces = [_shades(counts, shares, names, palette_of(theme))]
    if len(names) <= _MOST_COUNTED:
        traces.append(_words(counts, shares, theme))
    title = {"text": plain(name), "subtitle": {"text": words}}
    return draw(traces, {"title": title, **_layout(names)}, theme=theme)


def _added_up(rows: pd.DataFrame) -> tuple[Floats, list[str]]:
    """Give the sum of all matrices, and the names of their classes.

    Raises:
        ViewError: If their classes differ.
    """
    values = [value_of(each) for each in rows["value"]]
    labels = values[0]["labels"]
    if any(value["labels"] != labels for value in values):
        raise ViewError(
            "Matrices of one round have different classes.",
            fix="Keep those of one kind, such as frame[frame.partition_id == 0].",
        )
    counts = np.sum([np.array(value["counts"], np.float64) for value in values], axis=0)
    return counts, [plain(label, at_most=16) for label in labels]


def _layout(names: list[str]) -> dict[str, Any]:
    """Place classes by number: two may have names that begin alike."""
    shown = range(0, len(names), 1 if len(names) <= _MOST_NAMED else 10)
    axis = {
        "tickvals": list(shown),
        "ticktext": [names[each] for each in shown],
        "showgrid": False,
    }
    end = len(names) - 0.5
    return {
        "height": 210 + max(220, min(44 * len(names), 640)),
        "xaxis": {"title": {"text": "taken for"}, "range": [-0.5, end], **axis},
        "yaxis": {"title": {"text": "is"}, "range": [end, -0.5], **axis},
    }


def _words(counts: Floats, shares: Floats, theme: Theme) -> Trace:
    """Write count and share into each cell, dark on light shades and light on dark ones."""
    palette, other = palette_of(theme), palette_of("dark" if theme == "light" else "light")
    lines, columns = np.nonzero(counts)
    cells = list(zip(counts[lines, columns], shares[lines, columns], strict=True))
    colours = [palette.text if s < _TURNS[theme] else other.text for _, s in cells]
    return {
        "type": "scatter",
        "mode": "text",
        "x": columns,
        "y": lines,
        "text": [f"{number(float(n))}<br>{share:.0%}" for n, share in cells],
        "textfont": {"color": colours},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _shades(counts: Floats, shares: Floats, names: list[str], palette: Palette) -> Trace:
    room = len(names) <= _MOST_COUNTED
    steps = len(palette.scale) - 1
    return {
        "type": "heatmap",
        "x0": 0,
        "y0": 0,
        "z": np.where(counts > 0, shares, np.nan),
        "customdata": [
            [[amount, label, other] for amount, other in zip(row, names, strict=True)]
            for row, label in zip(counts.tolist(), names, strict=True)
        ],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[at / steps, colour] for at, colour in enumerate(palette.scale)],
        "colorbar": {
            "title": {"text": "share of the class", "side": "right"},
            "tickformat": ".0%",
            "thickness": 12,
            "outlinewidth": 0,
        },
        "xgap": 2 if room else 1,
        "ygap": 2 if room else 1,
        "hoverongaps": False,
        "hovertemplate": (
            "<b>%{customdata[1]}</b> taken for <b>%{customdata[2]}</b><br>"
            "%{customdata[0]:,} examples, %{z:.1%} of the class<extra></extra>"
        ),
    }
