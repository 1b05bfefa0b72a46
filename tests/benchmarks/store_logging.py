"""How fast points are logged, and how much room they take: our store and others in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, TextIO, TypeAlias, cast

_SIDE = Path(__file__).with_name("store_side.py")
_OURS = "flip_series"
Report: TypeAlias = dict[str, Any]
Found: TypeAlias = Mapping[str, Sequence[Report]]
Figure: TypeAlias = Callable[[Report], float]
SIDES = (_OURS, "flip_emit", "raw", "tensorboard", "mlflow")
"""The sides, in the order of their turns."""


class SideProcess:
    """One side's process: warm, and asleep between its turns.

    Args:
        side: Which side.
        python: The interpreter that runs it.
        log: Where its standard error goes.
    """

    def __init__(self, side: str, python: str, log: TextIO) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [python, str(_SIDE), side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def log(self, folder: Path, num_points: int) -> dict[str, Any]:
        """Let it log, and give its report."""
        command = {"folder": str(folder), "points": num_points}
        pipe = cast("TextIO", self._process.stdin)
        pipe.write(json.dumps(command) + "\n")
        pipe.flush()
        line = cast("TextIO", self._process.stdout).readline()
        return json.loads(line) if line else {"skipped": "it ended with an error"}

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            cast("TextIO", pipe).close()
        self._process.wait(timeout=60)


def measure(
    folder: Path, *, turns: int, points: Mapping[str, int], mlflow_python: str
) -> dict[str, Any]:
    """Let all sides log in turn, A B C A B C, after one turn that does not count.

    Args:
        folder: Where they write.
        turns: How often each logs.
        points: How many points each logs in a turn.
        mlflow_python: The interpreter with MLflow.

    Returns:
        Figures by name; a side that is not installed is in ``missing``.
    """
    found: dict[str, list[Report]] = {side: [] for side in SIDES}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        log = stack.enter_context((folder / "sides.log").open("w", encoding="utf-8"))
        running: dict[str, SideProcess] = {}
        for side in SIDES:
            python = mlflow_python if side == "mlflow" else sys.executable
            running[side] = SideProcess(side, python, log)
            stack.callback(running[side].close)
        for side, process in running.items():
            warm_up = process.log(folder / f"{side}-0", 1_000)
            missing |= {side: warm_up["skipped"]} if "skipped" in warm_up else {}
        for turn, (side, process) in product(range(1, turns + 1), running.items()):
            if side not in missing:
                report = process.log(folder / f"{side}-{turn}", points[side])
                found[side].append({"points": points[side], **report})
    return _figures(found) | {"missing": missing}


def _figures(found: Found) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "points_per_s": _each(found, lambda one: one["points"] / one["seconds"]),
        "cpu_us_per_point": _each(found, lambda one: 1e6 * one["cpu_s"] / one["points"]),
        "bytes_per_point": _each(found, lambda one: one["disk_bytes"] / one["points"]),
    }
    ours = found[_OURS]
    if ours:
        figures["seal_s"] = round(median(one["seal_s"] for one in ours), 3)
        figures["journal_bytes_per_point"] = round(
            median(one["journal_bytes"] / one["points"] for one in ours), 1
        )
    for key, above, below in (
        ("mlflow_over_ours_log", "mlflow", _OURS),
        ("tensorboard_over_ours_log", "tensorboard", _OURS),
        ("raw_write_over", _OURS, "raw"),
        ("emit_over_series", "flip_emit", _OURS),
        ("mlflow_over_emit", "mlflow", "flip_emit"),
        ("tensorboard_over_emit", "tensorboard", "flip_emit"),
    ):
        figures[key] = _ratio(found[above], found[below], _s_per_point)
    for key, other in (
        ("tensorboard_over_ours_disk", "tensorboard"),
        ("mlflow_over_ours_disk", "mlflow"),
    ):
        figures[key] = _ratio(
            found[other], ours, lambda one: one["disk_bytes"] / one["points"]
        )
    return figures


def _s_per_point(one: Report) -> float:
    return one["seconds"] / one["points"]


def _each(found: Found, figure: Figure) -> dict[str, float]:
    return {
        side: round(median(map(figure, some)), 2) for side, some in found.items() if some
    }


def _ratio(
    above: Sequence[Report], below: Sequence[Report], figure: Figure
) -> float | None:
    """Give the median of the ratios turn by turn: a drifting machine cancels out."""
    pairs = [figure(a) / figure(b) for a, b in zip(above, below, strict=False)]
    return round(median(pairs), 2) if pairs else None
