"""Notebooks as they are committed: short, and without output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stripped_and_short(path: Path) -> None:
    """No output, no counter, at most 25 cells; if not: ``make format``."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert len(cells) <= 25
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
