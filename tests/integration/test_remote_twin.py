"""A hub's own lab from afar: runs that live there, their settings, and their twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import flip_lab
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.core.errors import InvalidValueError
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0
CHANGES = {"train.num_rounds": 4}


@pytest.fixture(scope="module")
def far() -> Iterator[RemoteLab]:
    """Give the lab of a hub with two nodes, as a researcher elsewhere has it."""
    with LoopbackHub(num_nodes=2) as hub:
        url = f"https://{hub.address}/flip"
        token, trust = hub.token("researcher"), hub.root_certificates
        with flip_lab.connect(url, token=token, trust=trust) as lab:
            yield lab


@pytest.fixture(scope="module")
def real(far: RemoteLab) -> RemoteRun:
    """Give an ended run on the nodes, whose process lived with the hub."""
    run = far.launch("hospitals", on="hub", num_nodes=2, overrides=CHANGES, detach="hub")
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.logs(tail=40)
    return run


@pytest.mark.parametrize(("on", "detach"), [("hub", "moon"), ("in_process", "hub")])
def test_what_would_not_live_with_the_hub_is_refused(
    far: RemoteLab, on: str, detach: str
) -> None:
    """The error is the one that a lab here would raise."""
    with pytest.raises(InvalidValueError) as caught:
        far.launch("hospitals", on=on, detach=detach)
    assert "hub" in caught.value.fix


def test_a_fetched_run_has_a_twin(far: RemoteLab, real: RemoteRun, tmp_path: Path) -> None:
    """The verb does both; what it kept is found by the lab here, and not fetched again."""
    home = Lab(tmp_path / "home")
    twin = home.twin(home.fetch(real))
    assert [node.partition_id for node in twin.fleet.nodes] == [0, 1]
    replay = twin.replay(on="in_process", timeout_s=PATIENCE_S)
    assert replay.is_identical, replay.difference

    for named in (real, real.run_id):
        again = far.twin(named, into=home)
        assert again.fleet == twin.fleet
        assert again.run.run_id == real.run_id
    assert len(home.runs()) == 2  # the run, and what was replayed


def test_settings_are_told_by_round_from_afar(real: RemoteRun, tmp_path: Path) -> None:
    """The same frame as that of the run at home."""
    told = real.settings_by_round()
    here = real.fetch(tmp_path / "home").settings_by_round()
    assert "train.learning_rate" in told
    pd.testing.assert_frame_equal(told, here)
