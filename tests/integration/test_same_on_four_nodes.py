"""One scenario and seed, simulated and on four real nodes of a hub: nothing differs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from flip_lab import Lab
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

HALF = {
    "train.num_rounds": 4,
    "strategy.options": {"fraction_train": 0.5, "min_train_nodes": 2},
}


def cohorts(run: Run) -> list[list[int]]:
    """Give the partitions that trained, round by round."""
    rows = run.clients()
    trained = rows[rows["phase"] == "train"]
    return [sorted(each["partition_id"]) for _, each in trained.groupby("server_round")]


def test_partitions_cohorts_and_the_model_are_those_of_the_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the hospitals train in a round; what each held is told by the nodes."""
    with LoopbackHub(4, in_one_process=True) as hub:
        monkeypatch.chdir(tmp_path)
        hub.write_config(tmp_path / "flip-lab.toml", "four")
        lab = Lab(tmp_path / "lab")
        simulated = lab.launch("hospitals", overrides=HALF)
        real = lab.launch("hospitals", on="four", overrides=HALF)
        assert simulated.wait(300) is RunState.COMPLETED
        assert real.wait(300) is RunState.COMPLETED, real.logs(tail=40)

    assert cohorts(real) == cohorts(simulated)
    assert len({tuple(each) for each in cohorts(real)}) > 1, "cohorts are drawn"
    kept = lab.runs()[["run_id", "data_sha256", "partition_sha256", "model_sha256"]]
    one, other = kept.drop(columns="run_id").to_dict("records")
    assert one == other
    assert all(isinstance(each, str) and len(each) == 64 for each in one.values())
    left, right = (
        run.metrics().drop(columns=["run_id", "sequence", "time_at"])
        for run in (simulated, real)
    )
    pd.testing.assert_frame_equal(left, right)
