"""Runs that part: the rounds they share in grey, then each branch in its own colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flip_lab.core.errors import ViewError
from flip_lab.core.kinship import Link, ancestors
from flip_lab.views.canvas import (
    axis_label,
    counted,
    nothing_yet,
    plain,
    require_columns,
    round_step,
    where,
)
from flip_lab.views.theme import (
    LEGEND_ABOVE,
    Figure,
    Palette,
    Theme,
    Trace,
    draw,
    palette_of,
)

_METRICS = ("run_id", "server_round", "phase", "scope", "name", "value")
_FAMILY = ("run_id", "parent_run_id", "forked_at_round", "changed", "num_edits")
_USUAL = "eval_accuracy"
_SYMBOLS = ("circle", "diamond", "square", "triangle-up")
_MOST_BRANCHES = 8
_DENSE = 40
_LONGEST_CHANGE = 110


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Branch:
    """One run's own part.

    Attributes:
        run_id: The run.
        at_round: The round it leaves another drawn run at; None for one that leaves none.
        course: Its rounds, with those of the runs that it came from.
    """

    run_id: str
    at_round: int | None
    course: pd.DataFrame


def fork_curves(
    metrics: pd.DataFrame,
    family: pd.DataFrame,
    *,
    metric: str | None = None,
    labels: Mapping[str, str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw a run and its forks: once what they share, then each from where it left.

    Args:
        metrics: Rows of the table ``metrics`` of up to 8 runs of one family.
        family: As ``lab.family(run)`` gives it.
        metric: The metric to draw; default: the evaluated accuracy, or else the first.
        labels: What to call each run; default: its id.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; what the forks changed stands under its title. One that says so when
        the metric was never recorded.

    Raises:
        ViewError: If a frame lacks a column, or holds more runs.
    """
    require_columns(metrics, _METRICS, view="fork_curves")
    require_columns(family, _FAMILY, view="fork_curves")
    palette = palette_of(theme)
    recorded = list(dict.fromkeys(str(name) for name in metrics["name"]))
    name = metric or (_USUAL if _USUAL in recorded else next(iter(recorded), _USUAL))
    rows = _of_metric(metrics, name)
    if rows.empty:
        words = f"No run recorded {plain(name)} yet."
        return nothing_yet(f"Forks: {plain(name)}", words, theme=theme)
    branches = _branches(rows, family)
    called = {b.run_id: plain((labels or {}).get(b.run_id, b.run_id)) for b in branches}
    rounds = sorted({b.at_round for b in branches if b.at_round is not None})
    layout = _layout(name, rows, rounds, palette)
    subtitle = plain(_changed(branches, family, called), at_most=_LONGEST_CHANGE)
    layout["title"] = {"text": f"Forks: {plain(name)}", "subtitle": {"text": subtitle}}
    return draw(_traces(branches, rounds, called, palette), layout, theme=theme)


def _branches(rows: pd.DataFrame, family: pd.DataFrame) -> list[_Branch]:
    """Give the drawn runs, parents first, each with the course that led to it.

    Raises:
        ViewError: If there are more than can be told apart.
    """
    links = _links(family)
    drawn = {str(run_id) for run_id in rows["run_id"]}
    known = [run_id for run_id in links if run_id in drawn]
    ordered = [*known, *sorted(drawn.difference(known))]
    if len(ordered) > _MOST_BRANCHES:
        raise ViewError(
            f"fork_curves shows up to {_MOST_BRANCHES} runs, and got {len(ordered)}.",
            fix="Keep those that you compare; views.family_tree shows a whole family.",
        )
    found: dict[str, _Branch] = {}
    for run_id in ordered:
        own = where(rows, "run_id", run_id)
        older = [link for link in ancestors(links, run_id)[1:] if link[0] in found]
        if not older:
            found[run_id] = _Branch(run_id=run_id, at_round=None, course=own)
            continue
        parent, last = older[0]
        before = found[parent].course
        shared = before[before["server_round"] <= last]
        course = pd.concat([shared, own[own["server_round"] > last]])
        found[run_id] = _Branch(run_id=run_id, at_round=last, course=course)
    return list(found.values())


def _links(family: pd.DataFrame) -> dict[str, Link | None]:
    ids, parents = family["run_id"].tolist(), family["parent_run_id"].tolist()
    rounds = family["forked_at_round"].tolist()
    return {
        str(run_id): (str(parent), int(at)) if parent in ids and not pd.isna(at) else None
        for run_id, parent, at in zip(ids, parents, rounds, strict=True)
    }


def _traces(
    branches: Sequence[_Branch],
    rounds: Sequence[int],
    called: Mapping[str, str],
    palette: Palette,
) -> list[Trace]:
    traces: list[Trace] = []
    for place, branch in enumerate(branches):
        at, course = branch.at_round, branch.course
        if at is None and rounds:
            at = rounds[0]
            shared = course[course["server_round"] <= at]
            if len(shared):
                traces.append(_trunk(shared, palette, at))
        if at is not None:
            before = course[course["server_round"] <= at].tail(1)
            course = pd.concat([before, course[course["server_round"] > at]])
        if len(course):
            traces.append(_branch(course, called[branch.run_id], palette, place))
    return traces


def _changed(
    branches: Sequence[_Branch], family: pd.DataFrame, called: Mapping[str, str]
) -> str:
    """Say what the forks changed; with several, which of them did."""
    rows = {str(row["run_id"]): row for row in family.to_dict("records")}
    told: list[str] = []
    forks = [branch.run_id for branch in branches if branch.at_round is not None]
    for run_id in forks:
        edits = int(rows[run_id]["num_edits"])
        words = str(rows[run_id]["changed"] or "no setting changed")
        words += f", {counted(edits, 'edit')}" if edits else ""
        told.append(words if len(forks) == 1 else f"{called[run_id]}: {words}")
    return " · ".join(told) or "These runs share no round."


def _of_metric(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """Give one series a run: the federated one where there are several."""
    rows = where(metrics, "name", name).sort_values(
        ["scope", "phase", "server_round"], ascending=[False, True, True], kind="stable"
    )
    kinds = list(dict.fromkeys(zip(rows["scope"], rows["phase"], strict=True)))
    if not kinds:
        return rows
    scope, phase = kinds[0]
    return where(where(rows, "scope", scope), "phase", phase)


def _values(rows: pd.DataFrame) -> dict[str, Any]:
    values = rows["value"].to_numpy(dtype=np.float64)
    return {
        "x": rows["server_round"].to_numpy(),
        "y": np.where(np.isfinite(values), values, np.nan),
    }


def _trunk(rows: pd.DataFrame, palette: Palette, at_round: int) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(rows) <= _DENSE else "lines",
        **_values(rows),
        "line": {"color": palette.muted, "width": 2},
        "marker": {"size": 5, "color": palette.muted},
        "name": f"shared, to round {at_round}",
        "hovertemplate": "<b>shared</b><br>round %{x}: %{y:.5g}<extra></extra>",
    }


def _branch(rows: pd.DataFrame, called: str, palette: Palette, place: int) -> Trace:
    symbols: Sequence[Any] = ["circle-open", *[_SYMBOLS[place % 4]] * (len(rows) - 1)]
    dense = len(rows) > _DENSE
    return {
        "type": "scatter",
        "mode": "lines" if dense else "lines+markers",
        **_values(rows),
        "line": {"color": palette.series[place], "width": 2.5},
        "marker": {"symbol": symbols, "size": 7, "color": palette.series[place]},
        "name": called,
        "hovertemplate": f"<b>{called}</b><br>round %{{x}}: %{{y:.5g}}<extra></extra>",
    }


def _layout(
    name: str, rows: pd.DataFrame, rounds: Sequence[int], palette: Palette
) -> dict[str, Any]:
    last = max(float(rows["server_round"].max()), 1.0)
    line = {"color": palette.muted, "width": 1, "dash": "dot"}
    whole = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    return {
        "height": 380,
        "hovermode": "closest",
        "legend": LEGEND_ABOVE,
        "xaxis": {"title": {"text": "round"}, "dtick": round_step(last), "tick0": 0},
        "yaxis": {"title": {"text": axis_label(name)}},
        "shapes": [{**whole, "x0": at, "x1": at, "line": line} for at in rounds],
        "annotations": [
            {
                "text": f"fork, round {at}",
                "x": at,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11, "color": palette.muted},
            }
            for at in rounds
        ],
    }
