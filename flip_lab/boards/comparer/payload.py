"""What the comparer shows, as JSON-ready dictionaries: Python computes, faces only draw.

The widget (JavaScript), the card (HTML) and the terminal (text) read the same picture.
"""

from __future__ import annotations

import math
from typing import Required, TypedDict

SIGNIFICANT_DIGITS = 5  # a screen shows three


class Line(TypedDict, total=False):
    """One curve: a group's centre, or one run.

    Attributes:
        group: Index into the picture's groups.
        run: The run's id; empty for a group's centre.
        x: Where each point lies, rising, in the unit of the axis title.
        round: The round of each point; left out where ``x`` is the round.
        y: Values; null where there is none to draw.
        low: Lower ends of the band; null where there is none. Of groups only.
        high: Upper ends. Of groups only.
        seeds: Runs that each centre rests on. Of groups only.
        lost: Runs whose value at the point is NaN or infinite. Of groups only.
        odd: ``NaN``, ``∞`` or ``-∞`` by index, where null stands for that.
        trunk: Whether it is what a run shares with its forks. Of runs only.
        fork: The round at which the run left another one that is drawn; its first point
            lies there. Of forks only.
    """

    group: Required[int]
    run: str
    x: Required[list[float]]
    round: list[int]
    y: Required[list[float | None]]
    low: list[float | None]
    high: list[float | None]
    seeds: list[int]
    lost: list[int]
    odd: dict[str, str]
    trunk: bool
    fork: int


class Panel(TypedDict):
    """One metric.

    Attributes:
        metric: Its key, ``phase/scope/name``.
        label: What to call it.
        y_title: Title of the vertical axis; says how the values were smoothed.
        lines: The curves, in the order of groups.
    """

    metric: str
    label: str
    y_title: str
    lines: list[Line]


class GroupShown(TypedDict):
    """One group.

    Attributes:
        label: Its values under the keys; ``not set`` where its runs have none.
        runs: Chosen runs in it, as positions in the catalogue.
    """

    label: str
    runs: list[int]


class ForkShown(TypedDict):
    """A chosen run that comes of another chosen one.

    Attributes:
        run: Its id.
        parent: The id of the run that it comes of.
        round: The last round that both share.
        changed: The settings in which it differs, such as ``seed 4 → 7``.
    """

    run: str
    parent: str
    round: int
    changed: list[str]


class Picture(TypedDict):
    """All that is drawn for one choice.

    Attributes:
        by: Keys that make the groups, in words; empty for none.
        draw: ``"mean"`` or ``"lines"``.
        num_runs: Runs that were chosen.
        x_title: Title of the horizontal axis.
        groups: The groups, in order; those beyond the last are counted in ``notes``.
        panels: One for each metric.
        differing: Keys in which the chosen runs differ.
        forks: Chosen runs that come of others, parents first.
        notes: What a reader must know to read the picture rightly.
        error: Why there is nothing to see; empty when there is.
    """

    by: str
    draw: str
    num_runs: int
    x_title: str
    groups: list[GroupShown]
    panels: list[Panel]
    differing: list[str]
    forks: list[ForkShown]
    notes: list[str]
    error: str


def plain_number(value: float) -> float | None:
    """Give a number that JSON can hold, to five digits; null unless it is finite."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def odd_word(value: float) -> str:
    """Say what a value is that no axis has a place for; empty for all others."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return ""


def short_id(run_id: str) -> str:
    """Give the end of a run's id, by which people call it."""
    return run_id.rpartition("-")[2]


def fork_text(fork: ForkShown) -> str:
    """Say in one line where a fork left, and what it changed."""
    changed = "; ".join(fork["changed"]) or "no setting changed"
    run, parent = short_id(fork["run"]), short_id(fork["parent"])
    return f"{run} leaves {parent} after round {fork['round']}: {changed}"


def counted(number: int, one: str) -> str:
    """Give a number with its noun, such as ``1 run`` or ``1,204 runs``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def value_text(value: object, *, at_most: int = 80) -> str:
    """Give the value of a key as people read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"
