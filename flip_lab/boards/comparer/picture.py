"""From what runs recorded to the picture of one choice; nothing here reads a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flip_lab.analysis.columns import reals
from flip_lab.analysis.costs import cumulative_costs
from flip_lab.boards.comparer.catalogue import Catalogue
from flip_lab.boards.comparer.choice import Choice
from flip_lab.boards.comparer.forks import differing_settings, forks_among, with_courses
from flip_lab.boards.comparer.groups import MOST_GROUPS, Groups, group_notes, groups_of
from flip_lab.boards.comparer.lines import mean_lines, run_lines
from flip_lab.boards.comparer.payload import ForkShown, Line, Panel, Picture, counted
from flip_lab.boards.comparer.thinning import points_for

if TYPE_CHECKING:  # see comparer_catalogue
    import pandas as pd

MOST_LINES = 1_000
"""Single runs that are drawn in a panel."""

_SECONDS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))
_BYTES = (
    (2.0**30, 2.0**30, "GiB"),
    (2.0**20, 2.0**20, "MiB"),
    (2.0**10, 2.0**10, "KiB"),
    (0.0, 1.0, "bytes"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What the chosen runs recorded.

    Attributes:
        points: ``run_id``, ``server_round``, ``value`` by the metric's key; rows of other
            runs are ignored.
        rounds: Rows of the table ``rounds``, where seconds or bytes are the axis.
    """

    points: Mapping[str, pd.DataFrame] = field(default_factory=dict[str, "pd.DataFrame"])
    rounds: pd.DataFrame | None = None


def draw_picture(
    catalogue: Catalogue, run_ids: Sequence[str], choice: Choice, facts: Facts
) -> Picture:
    """Draw one choice.

    Args:
        catalogue: What is known of the runs.
        run_ids: The chosen ones; all are in the catalogue.
        choice: How to look at them.
        facts: What they recorded of the chosen metrics.

    Returns:
        The picture, at most about 0.8 MB as JSON.

    Raises:
        AnalysisError: If no run has one of the keys.
    """
    if error := _nothing(catalogue, run_ids, choice):
        differing = catalogue.differing(run_ids)
        return empty_picture(error, choice, num_runs=len(run_ids), differing=differing)
    groups = groups_of(catalogue, run_ids, choice)
    notes = group_notes(catalogue, groups, choice)
    drawn = _drawn(run_ids, groups, choice, notes)
    costs = _costs(facts, choice, drawn)
    forks = forks_among(catalogue, run_ids)
    parting = forks if choice.draw == "lines" else []
    curves = {
        key: with_courses(_curves(facts.points[key], drawn, groups, choice, costs), parting)
        for key in choice.metrics
    }
    scale, unit = _scale(curves, choice)
    panels = [
        _panel(catalogue, key, frame.assign(x=frame["x"] / scale), choice, parting)
        for key, frame in curves.items()
    ]
    for key, frame in curves.items():
        notes += _metric_notes(
            catalogue,
            key,
            frame,
            facts.points[key],
            drawn,
            is_single=choice.draw == "lines",
        )
    notes += _fork_notes(forks, choice)
    return Picture(
        by=" · ".join(choice.by),
        draw=choice.draw,
        num_runs=len(run_ids),
        x_title=_x_title(choice, unit),
        groups=groups.shown(catalogue.run_ids),
        panels=panels,
        differing=differing_settings(catalogue, run_ids, forks),
        forks=forks,
        notes=notes,
        error="",
    )


def empty_picture(
    error: str, choice: Choice, *, num_runs: int = 0, differing: Sequence[str] = ()
) -> Picture:
    """Give the picture of nothing, and why.

    Args:
        error: One or two sentences for the reader.
        choice: What was asked for.
        num_runs: Runs that were chosen.
        differing: Keys in which they differ.
    """
    return Picture(
        by=" · ".join(choice.by),
        draw=choice.draw,
        num_runs=num_runs,
        x_title=_x_title(choice, ""),
        groups=[],
        panels=[],
        differing=[*differing],
        forks=[],
        notes=[],
        error=error,
    )


def _nothing(catalogue: Catalogue, run_ids: Sequence[str], choice: Choice) -> str:
    if not catalogue.run_ids:
        return "There are no runs here yet. Launch some with lab.launch(…), then refresh."
    if not catalogue.metrics:
        return "No run has recorded a metric yet. Refresh when one has."
    if not run_ids:
        return "No run is chosen. Tick some in the list of runs."
    return "" if choice.metrics else "No metric is chosen."


def _drawn(
    run_ids: Sequence[str], groups: Groups, choice: Choice, notes: list[str]
) -> list[str]:
    """Give the runs that there is room for."""
    inside = [run_id for run_id in run_ids if groups.of_run[run_id] < MOST_GROUPS]
    if choice.draw == "lines" and len(inside) > MOST_LINES:
        notes.append(f"The newest {MOST_LINES:,} of {len(inside):,} runs are drawn.")
        return inside[:MOST_LINES]
    return inside


def _costs(facts: Facts, choice: Choice, run_ids: Sequence[str]) -> pd.DataFrame | None:
    if choice.x == "round" or facts.rounds is None:
        return None
    import pandas as pd

    columns = ("run_id", "server_round", "name", "value")
    nothing = pd.DataFrame({name: [] for name in columns})
    table = cumulative_costs(facts.rounds, nothing, run_ids=run_ids)
    return table[["run_id", "server_round", choice.x]].rename(columns={choice.x: "x"})


def _curves(
    points: pd.DataFrame,
    run_ids: Sequence[str],
    groups: Groups,
    choice: Choice,
    costs: pd.DataFrame | None,
) -> pd.DataFrame:
    """Give ``group``, ``run_id``, ``server_round``, ``x``, ``value``, groups in order."""
    mine = points[points["run_id"].isin(list(run_ids))]
    mine = mine.assign(group=mine["run_id"].map(groups.of_run).astype(np.int64))
    mine = mine.sort_values(["group", "run_id", "server_round"], kind="stable")
    if choice.x == "round" or costs is None:
        return mine.assign(x=mine["server_round"].astype(np.float64))
    placed = mine.merge(costs, on=["run_id", "server_round"], how="left")
    before = placed["server_round"] == 0  # nothing had been spent yet
    placed = placed.assign(x=placed["x"].astype(np.float64).mask(before, 0.0))
    return placed[np.isfinite(reals(placed, "x"))]


def _scale(curves: Mapping[str, pd.DataFrame], choice: Choice) -> tuple[float, str]:
    if choice.x == "round":
        return 1.0, ""
    most = max(
        (float(frame["x"].max()) for frame in curves.values() if len(frame)), default=0.0
    )
    steps = _SECONDS if choice.x == "seconds" else _BYTES
    return next((size, unit) for least, size, unit in steps if most >= least)


def _panel(
    catalogue: Catalogue,
    key: str,
    curves: pd.DataFrame,
    choice: Choice,
    forks: Sequence[ForkShown],
) -> Panel:
    label = catalogue.label(catalogue.metric(key))
    smoothed = f", moving average (EMA) over {choice.span} points"
    return Panel(
        metric=key,
        label=label,
        y_title=label + (smoothed if choice.span > 1 else ""),
        lines=_lines(curves, choice, forks),
    )


def _lines(curves: pd.DataFrame, choice: Choice, forks: Sequence[ForkShown]) -> list[Line]:
    kind = "group" if choice.draw == "mean" else "run_id"
    at_most = points_for(curves[kind].nunique() * len(choice.metrics))
    with_round = choice.x != "round"
    if choice.draw == "mean":
        return mean_lines(curves, span=choice.span, at_most=at_most, with_round=with_round)
    return run_lines(
        curves, span=choice.span, at_most=at_most, with_round=with_round, forks=forks
    )


def _fork_notes(forks: Sequence[ForkShown], choice: Choice) -> list[str]:
    if not forks:
        return []
    if choice.draw == "mean":
        many = f"{counted(len(forks), 'run')} of these came of others as a fork"
        return [f"{many}: draw single runs to see where they part."]
    if choice.x == "round":
        return []
    return [f"What a fork spent, in {choice.x}, counts on from its parent's."]


def _metric_notes(
    catalogue: Catalogue,
    key: str,
    curves: pd.DataFrame,
    points: pd.DataFrame,
    run_ids: Sequence[str],
    *,
    is_single: bool,
) -> list[str]:
    label = catalogue.label(catalogue.metric(key))
    notes: list[str] = []
    recorded = {*points["run_id"].tolist()}.intersection(run_ids)
    if lacking := len(run_ids) - len(recorded):
        notes.append(f"{counted(lacking, 'run')} never recorded {label}.")
    if unplaced := len(recorded) - curves["run_id"].nunique():
        notes.append(f"{counted(unplaced, 'run')} did not record what rounds cost.")
    odd = curves.loc[~np.isfinite(reals(curves, "value")), "run_id"].nunique()
    if odd:
        then = "marked ×" if is_single else "there the mean is that of the others"
        notes.append(f"{counted(odd, 'run')} with NaN or infinite {label}: {then}.")
    return notes


def _x_title(choice: Choice, unit: str) -> str:
    if choice.x == "round":
        return "round"
    what = "time spent in rounds" if choice.x == "seconds" else "sent and received"
    mean = ", mean of the group" if choice.draw == "mean" else ""
    return f"{what} ({unit or choice.x}){mean}"
