"""The lanes of a family of runs: which lies where, and what each tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from flip_lab.views.canvas import number, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One run as it is drawn.

    Attributes:
        row: What is known of it.
        at: Its lane, from 0 at the top.
        parent: The lane of its parent; None for the first run.
        begin: Where it begins: the round it was forked at, or 0.
        end: Its last round.
    """

    row: Mapping[str, Any]
    at: int
    parent: int | None
    begin: int
    end: int


def lanes_of(family: pd.DataFrame) -> list[Lane]:
    """Lay the runs out so that no branch crosses another: the last fork lies nearest."""
    rows = {str(row["run_id"]): row for row in family.to_dict("records")}
    children: dict[str, list[str]] = {}
    roots: list[str] = []
    for run_id, row in rows.items():
        parent = str(row["parent_run_id"])
        (children.setdefault(parent, []) if parent in rows else roots).append(run_id)
    found: dict[str, Lane] = {}
    waiting = list(reversed(roots))
    while waiting:
        run_id = waiting.pop()
        row = rows[run_id]
        parent = found.get(str(row["parent_run_id"]))
        begin = 0 if parent is None else int(row["forked_at_round"])
        end = max(begin, int(row["rounds_done"] or 0))
        found[run_id] = Lane(
            row={str(key): value for key, value in row.items()},
            at=len(found),
            parent=None if parent is None else parent.at,
            begin=begin,
            end=end,
        )
        waiting += sorted(
            children.get(run_id, []),
            key=lambda each: (int(rows[each]["forked_at_round"]), each),
        )
    return list(found.values())


def told(lane: Lane) -> str:
    """Tell about a run in the lines of a tooltip."""
    row = lane.row
    rounds = "" if pd.isna(row["num_rounds"]) else f" of {int(row['num_rounds'])}"
    parts = [
        f"<b>{plain(row['name'])}</b> {plain(row['run_id'])}",
        f"{row['state']}, round {int(row['rounds_done'] or 0)}{rounds}",
    ]
    if lane.parent is not None:
        parts.append(f"forked at round {lane.begin}")
        changes = [plain(each) for each in str(row["changed"] or "").split("; ") if each]
        parts += changes or ["nothing changed"]
    if not pd.isna(row["best"]):
        parts.append(
            f"{plain(row['metric'])}: best {number(row['best'])}, "
            f"last {number(row['last'])}"
        )
    return "<br>".join(parts)


def name_of(lane: Lane) -> str:
    """Name a lane: the run that began it all, or what a fork changed."""
    short = str(lane.row["run_id"]).rpartition("-")[2]
    if lane.parent is None:
        return f"{plain(lane.row['name'], at_most=28)} {plain(short, at_most=12)}"
    changed = str(lane.row["changed"] or "no change")
    first, _, more = changed.partition("; ")
    several = f" +{more.count('; ') + 1}" if more else ""
    what = plain(_shortened(first), at_most=34)
    return f"{what}{several}  <b>{plain(short, at_most=12)}</b>"


def _shortened(change: str) -> str:
    """Leave out the table that a setting stands in: its own name says enough."""
    name, space, rest = change.partition(" ")
    return (
        f"{name.rpartition('.')[2] if name != 'strategy.name' else 'strategy'}{space}{rest}"
    )
