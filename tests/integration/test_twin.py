"""The digital twin of real nodes: replayed to the same bits, and honest about its times."""

from __future__ import annotations

import numpy as np
import pytest

from flip_lab import Fleet, Lab
from flip_lab.core.errors import TwinError
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.state import RunState
from flip_lab.runs.twin import Twin
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

NUM_ROUNDS = 12


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give a lab with a run on a hub and two nodes, which are gone by now."""
    folder = tmp_path_factory.mktemp("twin")
    with pytest.MonkeyPatch.context() as patch, LoopbackHub(num_nodes=2) as hub:
        patch.chdir(folder)
        hub.write_config(folder / "flip-lab.toml", "hospitals")
        lab = Lab(folder / "lab")
        changes = {"train.num_rounds": NUM_ROUNDS, "train.local_epochs": 20}
        run = lab.launch("hospitals", on="hospitals", num_nodes=2, overrides=changes)
        assert run.wait(300) is RunState.COMPLETED, run.logs(tail=40)
    return lab


@pytest.fixture(scope="module")
def twin(lab: Lab) -> Twin:
    """Give the twin of that federation."""
    return lab.twin(lab.runs()["run_id"].iloc[-1])


def test_the_fleet_knows_its_nodes(twin: Twin) -> None:
    """What they compute is told from the rest, because they say how long they worked."""
    fleet = twin.fleet
    assert [node.partition_id for node in fleet.nodes] == [0, 1]
    assert fleet.num_rounds == NUM_ROUNDS
    assert fleet.diagnosis().set_index("what")["known"]["computing"] == "measured"
    for node in fleet.nodes:
        train, evaluate = (node.phases[name] for name in ("train", "evaluate"))
        assert train.compute_share[0] > evaluate.compute_share[0]
    observed = twin.facts.answered
    # a dispatch is on record once all are sent: the first client may have begun by then
    last = observed[observed["partition_id"] == 1]
    assert (last["node_s"] < last["duration_s"]).mean() > 0.8
    assert Fleet.from_json(fleet.to_json()) == fleet


def test_a_replay_has_the_same_bits_and_the_fleets_times(twin: Twin) -> None:
    """The simulation gives the real run's model, and the prediction its duration."""
    replay = twin.replay(on="in_process", timeout_s=300)
    assert replay.is_identical, replay.difference
    assert replay.run.outcome().model_sha256 == twin.run.outcome().model_sha256
    assert replay.rounds["observed_s"].notna().all()
    total = replay.prediction.total
    assert total.low < total.value < total.high
    # learned from these very rounds, so it lies among them, whatever the machine did
    mean_s, seen = total.value / NUM_ROUNDS, replay.rounds["observed_s"]
    assert 0.5 * seen.min() < mean_s < 1.5 * seen.max()
    with pytest.raises(TwinError, match="was simulated"):
        Fleet.from_run(replay.run)


def test_half_of_the_rounds_are_foretold(twin: Twin) -> None:
    """Six are learned from, six are judged."""
    comparison = twin.compare()
    assert comparison.rounds["is_learned"].sum() == NUM_ROUNDS // 2
    scores = comparison.summary().set_index("what")
    assert scores["number"].to_dict() == {"rounds": 6, "messages": 24}
    assert np.isfinite(scores["mape"]).all()


def test_questions_are_answered_without_a_launch(lab: Lab, twin: Twin) -> None:
    """A deadline that nobody meets, and one node less."""
    before = len(lab.runs())
    deadline = twin.what_if("deadline", policy=RoundPolicy(deadline_s=0.001))
    assert (deadline.rounds["num_replies"] < 0.1).all()
    # one of two may always be the faster one: without it a round takes as long as before
    alone = [twin.what_if(without=[partition]).total.value for partition in (0, 1)]
    assert min(alone) < twin.what_if().total.value
    assert len(lab.runs()) == before
