"""A lab for the API's benchmark: many ended runs with whole specs, as launches write."""

from __future__ import annotations

from pathlib import Path

import store_history
from store_history import History

from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.lab import Lab
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir, write_json_atomic

_MARK = "whole"


def make(path: Path, history: History) -> Lab:
    """Make the lab, or give the one that is there.

    Args:
        path: The lab's directory.
        history: How much shall be in it.
    """
    if (path / _MARK).exists():  # with runs of earlier turns in it, too
        return Lab(path)
    lab = store_history.make(path, history)
    place = LabDir(lab.path)
    for number in range(history.runs):
        run_id = history.run_id(number)
        write_json_atomic(
            place.run_dir(run_id) / "run.json", _spec(history, number).to_json()
        )
    (path / _MARK).touch()
    return lab


def _spec(history: History, number: int) -> RunSpec:
    rest = {"federation": None, "run_config": {}, "checkpoints": Checkpoints()}
    return RunSpec(**history.spec(number), **rest)  # pyright: ignore[reportArgumentType]  # fields by name
