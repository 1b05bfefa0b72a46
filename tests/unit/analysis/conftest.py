"""Frames as the store gives them, made small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest

Scores = Callable[[Mapping[str, Mapping[int, float] | Sequence[float]]], pd.DataFrame]


@dataclass(kw_only=True)
class Frames:
    """The tables of a lab, run by run."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        run_id: str,
        values: Sequence[float] | Mapping[int, float],
        *,
        seed: int | None = 0,
        state: str = "completed",
        name: str = "eval_accuracy",
        place: tuple[str, str] = ("evaluate", "federated"),
        created: str = "2026-11-22T00:00:00Z",
        **parameters: object,
    ) -> None:
        """Add one run with its curve; a list of values starts at round 1."""
        points = dict(values) if isinstance(values, Mapping) else dict(enumerate(values, 1))
        self.runs.append(
            {
                "run_id": run_id,
                "state": state,
                "seed": seed,
                "created_at": pd.Timestamp(created),
            }
        )
        self.point(run_id, points, name=name, place=place)
        for key, value in parameters.items():
            number = float(value) if isinstance(value, (bool, int, float)) else None
            text = str(value).lower() if isinstance(value, bool) else str(value)
            self.parameters.append(
                {
                    "run_id": run_id,
                    "name": key.replace("__", "."),
                    "value": text,
                    "number": number,
                }
            )

    def point(
        self,
        run_id: str,
        points: Mapping[int, float],
        *,
        name: str = "eval_accuracy",
        place: tuple[str, str] = ("evaluate", "federated"),
    ) -> None:
        """Add points of a metric, and the rounds they were recorded in."""
        for server_round, value in points.items():
            self.metrics.append(
                {
                    "run_id": run_id,
                    "sequence": len(self.metrics),
                    "server_round": server_round,
                    "phase": place[0],
                    "scope": place[1],
                    "name": name,
                    "value": value,
                }
            )

    def spend(self, run_id: str, durations_s: Sequence[float], *, moved: int = 100) -> None:
        """Add rounds, from 1, that cost something."""
        for server_round, duration_s in enumerate(durations_s, 1):
            self.rounds.append(
                {
                    "run_id": run_id,
                    "server_round": server_round,
                    "duration_s": duration_s,
                    "bytes_down": moved,
                    "bytes_up": moved,
                }
            )

    @property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Runs, metrics and parameters."""
        names = ["run_id", "name", "value", "number"]
        return (
            pd.DataFrame(self.runs),
            pd.DataFrame(self.metrics),
            pd.DataFrame(self.parameters, columns=names),
        )


@pytest.fixture(scope="session")
def new_lab() -> Callable[[], Frames]:
    """Make an empty lab; for Hypothesis, which needs one for each example."""
    return Frames


@pytest.fixture
def lab() -> Frames:
    """An empty lab to add runs to."""
    return Frames()


@pytest.fixture
def five_seeds(lab: Frames) -> Frames:
    """Two strategies with the same five seeds, and a baseline without a strategy."""
    avg = (0.80, 0.82, 0.81, 0.79, 0.83)
    prox = (0.83, 0.84, 0.85, 0.81, 0.86)
    for seed in range(5):
        lab.add(f"a{seed}", [0.5, avg[seed]], seed=seed, strategy__name="FedAvg")
        lab.add(f"p{seed}", [0.5, prox[seed]], seed=seed, strategy__name="FedProx", mu=0.01)
        lab.add(f"z{seed}", [0.1, 0.3 + seed / 100], seed=seed)
    return lab


@pytest.fixture(scope="session")
def scores() -> Scores:
    """Make a frame of scores from values by group; keys or positions are the seeds."""

    def make(groups: Mapping[str, Mapping[int, float] | Sequence[float]]) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {"group": group, "run_id": f"{group}-{seed}", "seed": seed, "value": value}
                for group, values in groups.items()
                for seed, value in (
                    values.items() if isinstance(values, Mapping) else enumerate(values)
                )
            ],
            columns=["group", "run_id", "seed", "value"],
        )

    return make
