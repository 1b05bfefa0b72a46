"""What recording costs a simulated round, beside what the round itself takes."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from engine_contest import Plan, compete
from engine_workloads import WORKLOADS
from store_history import record_round

from flip_lab.runs.recorder import Recorder
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab

_ENGINE = "vectorised"  # the fastest: there recording weighs most
_COHORTS = {"A": 10, "B": 100}
_ROUNDS = 200


def measure(folder: Path, *, workload: str, turns: int) -> dict[str, Any]:
    """Record rounds of a workload's size, and run rounds of that workload.

    Args:
        folder: Where the journals lie.
        workload: A workload of the engine benchmark: A or B.
        turns: Turns of the engine.
    """
    plan = Plan(turns=turns, rounds=5, few_turns=0, slow=(), launches=False, seconds=120.0)
    found = compete([(_ENGINE, workload)], plan, engines=(_ENGINE,))
    figures = found[_ENGINE, workload]
    if figures.skipped:
        return {"recording_skipped": figures.skipped}
    recording_s = _recording_s(folder, _COHORTS[workload])
    round_s = median(figures.round_s)
    ratios = [a / b for a, b in zip(figures.recorded_s, figures.round_s, strict=False)]
    return {
        "recording_workload": WORKLOADS[workload].title,
        "recording_ms_per_round": round(1000 * recording_s, 3),
        "round_ms": round(1000 * round_s, 1),
        "recording_share_of_round": round(recording_s / round_s, 5),
        "recorded_over_not": round(median(ratios), 3),
    }


def _recording_s(folder: Path, clients: int) -> float:
    """Give the median seconds that the facts of a round take until they are kept."""
    generator = np.random.default_rng(0)
    took_s: list[float] = []
    lab = open_lab(folder)
    with closing(Recorder("run", JournalWriter(lab, "run"))) as recorder:
        for server_round in range(1, _ROUNDS + 1):
            start_s = time.perf_counter()
            record_round(recorder, server_round, clients, generator)
            took_s.append(time.perf_counter() - start_s)
    return median(took_s)
