"""One scenario, simulated and on real nodes: the same bits and the same tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from flip_lab import Lab
from flip_lab.core.callback import Callback
from flip_lab.core.errors import CommandRefusedError
from flip_lab.core.state import RunState
from flip_lab.runs import steered_run
from flip_lab.testing.federation import LoopbackFederation

pytestmark = [pytest.mark.hub, pytest.mark.slow]

WHEN_AND_WHERE = ["run_id", "sequence", "time_at", "started_at", "duration_s", "node_id"]


@pytest.fixture(scope="module")
def federation() -> Iterator[LoopbackFederation]:
    """Give a SuperLink with TLS and two SuperNodes with registered keys."""
    with LoopbackFederation(num_nodes=2) as running:
        yield running


def held_until(there: Path) -> Callback:
    """Give a callback that lets no round begin before a file is there."""

    class Held(Callback):
        """Waits at the beginning of each round."""

        def on_round_begin(self, server_round: int) -> None:
            """Wait for the file."""
            del server_round
            while not there.exists():
                time.sleep(0.05)

    return Held()


def what_was_measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep what must not depend on where a run happens: no times, no node ids."""
    kept = frame.drop(columns=WHEN_AND_WHERE, errors="ignore")
    return kept.sort_values(list(kept.columns[:4]), ignore_index=True)


def test_a_scenario_gives_the_same_model_and_tables_on_real_nodes(
    federation: LoopbackFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hospitals, two rounds: one argument changes, not one bit of the result."""
    monkeypatch.chdir(tmp_path)
    federation.write_config(tmp_path / "flip-lab.toml", "loopback")
    lab = Lab(tmp_path / "lab")
    changes = {"train.num_rounds": 2}

    simulated = lab.launch("hospitals", num_nodes=2, overrides=changes)
    real = lab.launch("hospitals", on="loopback", num_nodes=2, overrides=changes)

    assert simulated.wait(300) is RunState.COMPLETED
    assert real.wait(500) is RunState.COMPLETED, real.logs(tail=40)
    assert real.outcome().model_sha256 == simulated.outcome().model_sha256 != ""
    assert real.outcome().metrics == simulated.outcome().metrics
    for table in ("metrics", "client_metrics", "clients"):
        left, right = (
            what_was_measured(getattr(run, table)()) for run in (simulated, real)
        )
        assert len(left), table
        pd.testing.assert_frame_equal(left, right)
    rows = lab.sql(
        "SELECT engine, federation, state FROM runs ORDER BY engine", as_="arrow"
    )
    assert rows.to_pylist() == [
        {"engine": "auto", "federation": None, "state": "completed"},
        {"engine": "deployment", "federation": "loopback", "state": "completed"},
    ]


def test_a_real_federation_is_steered_like_a_simulated_one(
    federation: LoopbackFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused, changed and let go on; a simulation with the same edits has the same bits."""
    monkeypatch.chdir(tmp_path)
    federation.write_config(tmp_path / "flip-lab.toml", "loopback")
    lab = Lab(tmp_path / "lab")
    changes = {"train.num_rounds": 3}
    monkeypatch.setattr(steered_run, "_PATIENCE_S", 500.0)  # each wish is answered

    may_begin = tmp_path / "may begin"
    real = lab.launch(
        "hospitals",
        on="loopback",
        num_nodes=2,
        overrides=changes,
        callbacks=[held_until(may_begin)],
    )
    real.pause()
    may_begin.touch()
    assert real.wait_until_paused(500) is RunState.PAUSED, real.logs(tail=40)
    assert len(real.clients()) == 0
    real.step()
    assert real.wait_until_paused(500) is RunState.PAUSED
    assert real.set(learning_rate=0.01).from_round == 2
    with pytest.raises(CommandRefusedError, match="knows no setting"):
        real.set(num_rounds=9)
    real.exclude(1)
    real.resume()

    assert real.wait(500) is RunState.COMPLETED, real.logs(tail=40)
    cohorts = real.clients().groupby("server_round")["partition_id"].unique()
    assert [sorted(each) for each in cohorts] == [[0, 1], [0], [0]]
    again = lab.rerun(real.run_id, on="in_process", timeout_s=300)
    assert again.ok, again
