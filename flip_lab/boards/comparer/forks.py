"""Runs and their forks in one picture: what they share is drawn once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flip_lab.boards.comparer.catalogue import Catalogue
from flip_lab.boards.comparer.payload import ForkShown
from flip_lab.core.kinship import Link, ancestors

if TYPE_CHECKING:  # see comparer_catalogue
    import pandas as pd

_TWICE = {"num_rounds": "train.num_rounds", "num_nodes": "data.num_partitions"}
_LINEAGE = frozenset({"parent_run_id", "forked_at_round"})
_OWN = "own"
_TRUNK = "trunk"


def links_of(catalogue: Catalogue) -> dict[str, Link | None]:
    """Give the parent of each run and the round it was forked at, where both are here."""
    runs = catalogue.runs
    if "parent_run_id" not in runs.columns:
        return {}
    known = set(catalogue.run_ids)
    columns = (
        runs[name].tolist() for name in ("run_id", "parent_run_id", "forked_at_round")
    )
    return {
        str(run_id): (str(parent), int(at)) if parent in known and at == at else None  # noqa: PLR0124  # NaN
        for run_id, parent, at in zip(*columns, strict=True)
    }


def forks_among(catalogue: Catalogue, run_ids: Sequence[str]) -> list[ForkShown]:
    """Find the chosen runs that come of another chosen one.

    Args:
        catalogue: What is known of the runs.
        run_ids: The chosen ones.

    Returns:
        Each with the nearest run that it comes of and the last round of that which it
        shares; parents stand before their forks.
    """
    links, chosen = links_of(catalogue), set(run_ids)
    found: list[tuple[int, ForkShown]] = []
    for run_id in run_ids:
        line = ancestors(links, run_id)[1:] if links.get(run_id) else []
        near = next((link for link in line if link[0] in chosen), None)
        if near is not None:
            fork = ForkShown(
                run=run_id,
                parent=near[0],
                round=near[1],
                changed=_changed(catalogue, near[0], run_id),
            )
            found.append((len(line), fork))
    return [fork for _, fork in sorted(found, key=lambda each: each[0])]


def _changed(catalogue: Catalogue, parent: str, run_id: str) -> list[str]:
    """Say in which settings a fork differs, such as ``train.learning_rate 0.1 → 0.05``."""
    settings = {str(name) for name in catalogue.parameters["name"].tolist()}
    found: list[str] = []
    for name, texts in catalogue.texts.items():
        before, after = texts.get(parent), texts.get(run_id)
        is_told = name in settings and _TWICE.get(name) not in settings
        if is_told and before != after:
            found.append(f"{name} {before or 'not set'} → {after or 'not set'}")
    return found


def differing_settings(
    catalogue: Catalogue, run_ids: Sequence[str], forks: Sequence[ForkShown]
) -> list[str]:
    """Give the keys in which runs differ, without those that only say who forked whom.

    Args:
        catalogue: What is known of the runs.
        run_ids: The chosen ones.
        forks: Those of them that come of others, which are told apart.
    """
    told = _LINEAGE if forks else frozenset[str]()
    return [name for name in catalogue.differing(run_ids) if name not in told]


def with_courses(curves: pd.DataFrame, forks: Sequence[ForkShown]) -> pd.DataFrame:
    """Give each fork the rounds that it shares, so that curves are smoothed as one.

    Args:
        curves: ``group``, ``run_id``, ``server_round``, ``x``, ``value``.
        forks: Which run comes of which, parents first.

    Returns:
        The same with rows added; what a fork spent counts on from its parent's.
    """
    import pandas as pd

    parts = {str(run_id): rows for run_id, rows in curves.groupby("run_id", sort=False)}
    for fork in forks:
        if fork["run"] not in parts or fork["parent"] not in parts:
            continue
        own, before = parts[fork["run"]], parts[fork["parent"]]
        shared = before[before["server_round"] <= fork["round"]]
        own = own[own["server_round"] > fork["round"]]
        if len(shared) and not np.array_equal(own["x"], own["server_round"]):
            own = own.assign(x=own["x"] + float(shared["x"].iloc[-1]))
        again = shared.assign(run_id=fork["run"], group=parts[fork["run"]]["group"].iloc[0])
        parts[fork["run"]] = pd.concat([again, own])
    return pd.concat(list(parts.values())) if parts else curves


def parted(
    curves: pd.DataFrame, forks: Sequence[ForkShown]
) -> list[tuple[str, pd.DataFrame]]:
    """Cut courses so that shared rounds are there once.

    Args:
        curves: As ``with_courses`` gives them, smoothed or not.
        forks: Which run comes of which, parents first.

    Returns:
        ``"trunk"`` with what a first run shares with its forks, if any; and ``"own"``:
        each run from where it parts, its last shared point included.
    """
    begin: dict[str, int] = {}
    roots: dict[str, int] = {}
    told = {str(run_id) for run_id in curves["run_id"].unique()}
    for fork in forks:
        if {fork["run"], fork["parent"]} <= told:
            begin[fork["run"]] = fork["round"]
            if fork["parent"] not in begin or fork["parent"] in roots:
                first = min(roots.get(fork["parent"], fork["round"]), fork["round"])
                roots[fork["parent"]] = begin[fork["parent"]] = first
    if not begin:
        return [(_OWN, curves)]
    rounds = curves["server_round"]
    cut = curves["run_id"].map(begin)
    is_shared = cut.notna() & (rounds <= cut)
    last = rounds.where(is_shared).groupby(curves["run_id"]).transform("max")
    trunk = curves[is_shared & curves["run_id"].isin(list(roots))]
    return [(_TRUNK, trunk), (_OWN, curves[~is_shared | (rounds == last)])]


def rounds_left_at(forks: Sequence[ForkShown]) -> Mapping[str, int]:
    """Give the round at which each fork left, by run."""
    return {fork["run"]: fork["round"] for fork in forks}
