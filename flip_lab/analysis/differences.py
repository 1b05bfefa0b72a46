"""What two or more runs do not have in common: configuration and code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from typing import Literal

import pandas as pd

from flip_lab.analysis.inputs import require_columns
from flip_lab.core.errors import AnalysisError, nearest


def configuration_diff(
    parameters: pd.DataFrame, run_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """Give only the keys in which runs differ.

    Args:
        parameters: Rows of the table ``parameters``: ``run_id``, ``name``, ``value``.
        run_ids: Runs to compare, in the order of the columns; by default all.

    Returns:
        One row a key (the index, called ``name``), sorted, and one column a run, with
        values as text and None where a run lacks the key. Empty if all agree.

    Raises:
        AnalysisError: If a column is missing, or there is nothing of one of the runs.
    """
    require_columns(parameters, ("run_id", "name", "value"), what="parameters")
    known = dict.fromkeys(str(run_id) for run_id in parameters["run_id"])
    chosen = list(dict.fromkeys(known if run_ids is None else run_ids))
    for run_id in chosen:
        if run_id not in known:
            raise AnalysisError(
                f"There are no parameters of a run {run_id!r}.", fix=nearest(run_id, known)
            )
    held: dict[str, dict[str, str | None]] = {}
    for run_id, name, value in zip(
        parameters["run_id"].tolist(),
        parameters["name"].tolist(),
        parameters["value"].tolist(),
        strict=True,
    ):
        if run_id in chosen:
            held.setdefault(str(name), {})[str(run_id)] = (
                None if pd.isna(value) else str(value)
            )
    rows = {
        name: [values.get(run_id) for run_id in chosen]
        for name, values in sorted(held.items())
        if len({values.get(run_id) for run_id in chosen}) > 1
    }
    frame = pd.DataFrame(
        list(rows.values()), index=list(rows), columns=chosen, dtype=object
    )
    return frame.rename_axis(index="name", columns="run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """One line of a file that differs, or that stands beside one that does.

    Attributes:
        path: The file.
        kind: *same*, *removed* or *added*.
        old_line: Its number in the old file, from 1; None if it was added.
        new_line: Its number in the new file; None if it was removed.
        text: The line without its end.
    """

    path: str
    kind: Literal["same", "removed", "added"]
    old_line: int | None
    new_line: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDiff:
    """How the files of one run became those of another.

    Attributes:
        text: A unified diff, as reviewers read it; empty if nothing changed.
        rows: The same as rows, for a table with colours.
        added: Files that only the new side has.
        removed: Files that only the old side has.
        changed: Files that both have, with different text.
    """

    text: str
    rows: tuple[DiffRow, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def code_diff(
    old: Mapping[str, str], new: Mapping[str, str], *, context: int = 3
) -> CodeDiff:
    """Compare two sets of files.

    Args:
        old: Text by path.
        new: Text by path.
        context: Equal lines to show around each change.

    Returns:
        The differences, files in the order of their paths.
    """
    texts: list[str] = []
    rows: list[DiffRow] = []
    differing = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    for path in differing:
        before = _lines(old.get(path, ""))
        after = _lines(new.get(path, ""))
        source = f"a/{path}" if path in old else "/dev/null"
        goal = f"b/{path}" if path in new else "/dev/null"
        lines = unified_diff(before, after, source, goal, lineterm="", n=context)
        texts += list(lines) or [f"--- {source}", f"+++ {goal}"]
        rows += _rows(path, before, after, context=context)
    return CodeDiff(
        text="".join(f"{line}\n" for line in texts),
        rows=tuple(rows),
        added=tuple(path for path in differing if path not in old),
        removed=tuple(path for path in differing if path not in new),
        changed=tuple(path for path in differing if path in old and path in new),
    )


def _lines(text: str) -> list[str]:
    """Cut at line feeds only: str.splitlines also cuts at form feeds and the like."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _rows(path: str, before: list[str], after: list[str], *, context: int) -> list[DiffRow]:
    rows: list[DiffRow] = []
    matcher = SequenceMatcher(None, before, after)
    for group in matcher.get_grouped_opcodes(context):
        for kind, old_from, old_to, new_from, new_to in group:
            if kind == "equal":
                rows += [
                    DiffRow(
                        path=path,
                        kind="same",
                        old_line=old_from + at + 1,
                        new_line=new_from + at + 1,
                        text=before[old_from + at],
                    )
                    for at in range(old_to - old_from)
                ]
                continue
            rows += [
                DiffRow(
                    path=path,
                    kind="removed",
                    old_line=at + 1,
                    new_line=None,
                    text=before[at],
                )
                for at in range(old_from, old_to)
            ]
            rows += [
                DiffRow(
                    path=path, kind="added", old_line=None, new_line=at + 1, text=after[at]
                )
                for at in range(new_from, new_to)
            ]
    return rows
