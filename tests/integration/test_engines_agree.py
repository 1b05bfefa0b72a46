"""The same seed gives the same bits: in process, in workers, on Ray, and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

APPS = Path(__file__).parents[1] / "apps"
INPUTS: dict[str, tuple[str | Path, dict[str, Any]]] = {
    "hospitals": ("hospitals", {"overrides": {"train.num_rounds": 3}}),
    "digits": ("digits-iid", {"overrides": {"train.num_rounds": 3}}),
    "numpy": (APPS / "numpy", {"num_nodes": 4}),
    "sklearn": (APPS / "sklearn", {"num_nodes": 3}),
    "pytorch": (APPS / "pytorch", {"num_nodes": 4}),
    "legacy": (APPS / "legacy", {"num_nodes": 4}),
}
RUN_COLUMNS = ["run_id", "sequence", "time_at"]
Launch = Callable[..., Run]


@pytest.fixture(scope="module")
def launch(shared_lab: Lab) -> Launch:
    """Give a way to launch an input; the same launch is done once.

    Nobody waits here: while Ray starts, the run that it is compared with is under way.
    """

    @cache
    def begin(name: str, on: str = "in_process", workers: int = 1, seed: int = 0) -> Run:
        what, more = INPUTS[name]
        return shared_lab.launch(what, on=on, workers=workers, seed=seed, **more)

    return begin


def model_of(run: Run) -> str:
    """Wait for a run and give the hash of its model."""
    assert run.wait(400) is RunState.COMPLETED, run.logs(tail=30)
    return run.outcome().model_sha256


def facts(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out what differs from run to run; sort by the rest: replies may come late."""
    kept = frame.drop(columns=RUN_COLUMNS, errors="ignore")
    return kept.sort_values(list(kept.columns), ignore_index=True)


def assert_same(one: Run, other: Run) -> None:
    """Compare the models and every number in the tables."""
    assert model_of(one) == model_of(other) != ""
    pd.testing.assert_frame_equal(
        facts(one.metrics()), facts(other.metrics()), check_exact=True
    )
    assert not one.client_metrics().empty
    pd.testing.assert_frame_equal(
        facts(one.client_metrics()), facts(other.client_metrics()), check_exact=True
    )


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_a_scenario_gives_the_same_bits_on_ray(launch: Launch, workers: int) -> None:
    """On one worker and on two."""
    assert_same(launch("hospitals"), launch("hospitals", on="ray", workers=workers))


@pytest.mark.ray
@pytest.mark.parametrize("name", ["numpy", "sklearn", "pytorch", "legacy"])
def test_an_unmodified_app_gives_the_same_bits_on_ray(launch: Launch, name: str) -> None:
    """Flower's own examples, which draw from global generators and shuffle."""
    assert_same(launch(name), launch(name, on="ray", workers=2))


@pytest.mark.parametrize(
    ("on", "workers"), [("processes", 1), ("processes", 2), ("processes", 4), ("auto", 2)]
)
def test_a_scenario_gives_the_same_bits_in_workers(
    launch: Launch, on: str, workers: int
) -> None:
    """However many there are, and whenever they start."""
    assert_same(launch("hospitals"), launch("hospitals", on=on, workers=workers))


@pytest.mark.parametrize("name", ["numpy", "sklearn", "pytorch", "legacy"])
def test_an_unmodified_app_gives_the_same_bits_in_workers(
    launch: Launch, name: str
) -> None:
    """Flower's own examples, which draw from global generators and shuffle."""
    assert_same(launch(name), launch(name, on="processes", workers=2))


def test_clients_trained_together_give_the_same_numbers(launch: Launch) -> None:
    """Perhaps not the same bits: one product of many matrices rounds differently."""
    one, many = launch("digits"), launch("digits", on="vectorised", workers=2)
    assert model_of(many)
    arrays = one.result().arrays
    for name, found in many.result().arrays.items():
        np.testing.assert_allclose(found, arrays[name], atol=3e-6, rtol=0)


def test_the_seed_decides(launch: Launch, shared_lab: Lab) -> None:
    """The same one gives the same run again, another one another."""
    what, more = INPUTS["pytorch"]
    again, other = shared_lab.launch(what, seed=0, **more), launch("pytorch", seed=1)
    assert_same(launch("pytorch"), again)
    assert model_of(other) != model_of(again)
