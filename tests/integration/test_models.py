"""Models of real runs in the registry: of ended ones, and of one that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flip_lab.core.errors import ModelError, NoCheckpointError
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.lab import Lab

PATIENCE_S = 120.0


def test_a_version_knows_what_its_run_knew(lab_path: Path) -> None:
    """Round, metrics, input; the checkpoint of the last round is the same file."""
    lab = Lab(lab_path)
    run = lab.launch(
        "hospitals",
        on="in_process",
        overrides={"train.num_rounds": 3},
        checkpoints=Checkpoints(keep_every=1),
    )
    run.wait(PATIENCE_S)
    version = lab.models.register(run, "heart")
    lineage = version.lineage
    assert (lineage.run_id, lineage.server_round) == (run.run_id, 3)
    assert lineage.scenario_fingerprint == run.scenario.fingerprint
    result = run.result()
    assert version.sha256 == result.model_sha256
    assert lineage.metrics["eval_accuracy"] == result.metrics["eval_accuracy"]
    assert lineage.input_schema is not None
    assert lineage.input_schema["features"]["shape"] == [len(result.arrays["1.weight"][0])]
    assert lineage.num_parameters == sum(array.size for array in result.arrays.values())
    assert lab.models.register(run, "heart", at_round=3) == version
    earlier = lab.models.register(run, "heart", at_round=1)
    assert earlier.version == 2
    assert earlier.lineage.metrics != lineage.metrics
    for name, array in lab.models.arrays("heart", 1).items():
        np.testing.assert_array_equal(array, result.arrays[name])
    with pytest.raises(NoCheckpointError, match="1, 2, 3"):
        lab.models.register(run, "heart", at_round=4)


def test_a_run_that_goes_on_gives_its_checkpoints(
    lab_path: Path, slow_app: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    """Its last model is not there yet, and the message says what is."""
    lab = Lab(lab_path)
    run = lab.launch(
        slow_app,
        num_nodes=2,
        overrides={"num-server-rounds": 5000, "nap-s": 0.05},
        checkpoints=Checkpoints(keep_every=1),  # the one that is named stays meanwhile
    )
    try:
        until(lambda: bool(run.checkpoints))
        with pytest.raises(ModelError, match="give at_round"):
            lab.models.register(run, "early")
        version = lab.models.register(
            run, "early", at_round=run.checkpoints[-1].server_round
        )
        assert not run.state.is_final
        assert lab.models.arrays("early", version.version)
        assert version.lineage.input_schema is None
    finally:
        run.stop()
        run.wait(PATIENCE_S)
    assert lab.models.path("early", 1).exists()
    assert lab.doctor() == []
