"""What code logged, as rows that the views of it share."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from flip_lab.core.errors import ViewError
from flip_lab.views.canvas import require_columns, require_one_run, where


def rows_of(logged: pd.DataFrame, kind: str, *, view: str) -> tuple[pd.DataFrame, str]:
    """Give the rows of one type, and the one name that they have.

    Raises:
        ViewError: If the frame lacks a column, or mixes runs or names.
    """
    require_columns(logged, ("server_round", "name", "type", "value"), view=view)
    require_one_run(logged, view=view)
    rows = where(logged, "type", kind)
    names = sorted({str(name) for name in rows["name"]})
    if len(names) > 1:
        raise ViewError(
            f"{view} shows what was logged under one name; the frame holds "
            f"{', '.join(names)}.",
            fix=f"Ask for one of them: run.logged({names[0]!r}).",
        )
    return rows, names[0] if names else ""


def value_of(cell: Any) -> dict[str, Any]:  # noqa: ANN401  # a cell
    """Give what a cell of the column ``value`` holds: JSON, as text or read already."""
    return json.loads(cell) if isinstance(cell, str) else cell


def cells(frame: pd.DataFrame, column: str) -> list[Any]:
    """Give a column as plain objects."""
    return frame[column].tolist()
