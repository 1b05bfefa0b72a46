"""What a comparison asks of its runs, and what it asks when nobody says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flip_lab.analysis.scores import At
from flip_lab.core.goals import Goal

if TYPE_CHECKING:
    import pandas as pd

_NO_GROUPS = frozenset(
    # where a run works changes none of its numbers; prose and seeds make no groups
    {"client_timeout_s", "description", "engine", "expect", "federation"}
    | {"name", "seed", "title", "workers"}
)
_FIRST = ("strategy.", "train.", "model.", "data.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a comparison asks of its runs.

    Attributes:
        by: Keys that make the groups: columns of ``runs`` or names of parameters; ``None``
            takes as few of the settings in which the runs differ as tell all groups apart,
            seed and place of work left out.
        metric: What is compared; ``None`` takes the evaluated accuracy where there is one.
        at: ``"final"``, ``"best"``, or a round.
        target: Value whose time of arrival is compared; ``None`` leaves that out.
        goal: ``"max"`` or ``"min"``; ``None`` guesses from the metric's name.
        alpha: Accepted chance of a false claim; intervals are of 1 - alpha.
    """

    by: tuple[str, ...] | None = None
    metric: str | None = None
    at: At = "final"
    target: float | None = None
    goal: Goal | None = None
    alpha: float = 0.05


def separating_keys(differing: pd.DataFrame) -> tuple[str, ...]:
    """Choose few settings that tell all groups of equally configured runs apart.

    Args:
        differing: From ``configuration_diff``: a row per setting, a column per run.

    Returns:
        Names of settings, those of the strategy first; empty if only seeds differ.
    """
    names = [str(name) for name in differing.index if str(name) not in _NO_GROUPS]
    chosen: list[str] = []
    groups: list[tuple[str, ...]] = [() for _ in differing.columns]
    for name in sorted(names, key=_rank):
        values = [str(value) for value in differing.loc[name]]
        finer = [(*group, value) for group, value in zip(groups, values, strict=True)]
        if len(set(finer)) > len(set(groups)):
            chosen.append(name)
            groups = finer
    return tuple(chosen)


def _rank(name: str) -> tuple[int, str]:
    places = [at for at, start in enumerate(_FIRST) if name.startswith(start)]
    return (places[0] if places else len(_FIRST)), name
