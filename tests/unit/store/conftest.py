"""A lab of its own for every test of the store, and short ways to say what happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.store.layout import LabDir, open_lab


@pytest.fixture
def lab(lab_path: Path) -> LabDir:
    """Give a new lab."""
    return open_lab(lab_path)


@pytest.fixture
def metrics() -> Callable[[int, int], list[RunEvent]]:
    """Give a maker of metric events: from a sequence, so many of them."""

    def make(first: int, count: int) -> list[RunEvent]:
        body: dict[str, Json] = {
            "phase": "train",
            "scope": "federated",
            "name": "train_loss",
        }
        return [
            RunEvent(
                run_id="run",
                sequence=sequence,
                time_s=1_700_000_000.0 + sequence,
                server_round=sequence,
                kind=EventKind.METRIC,
                body={**body, "value": sequence / 8},
            )
            for sequence in range(first, first + count)
        ]

    return make
