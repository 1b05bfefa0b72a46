"""A twin asks about its run under the policy that the run was made under."""

from __future__ import annotations

from typing import cast

import pytest

from flip_lab.core.policy import RoundPolicy
from flip_lab.runs.run import Run
from flip_lab.runs.twin import Twin
from flip_lab.store.layout import LabDir
from flip_lab.testing.recorded_run import KnownNode, KnownSpec, RecordedRun

NODES = [KnownNode(compute_s=seconds) for seconds in (0.5, 1.0, 8.0)]
DEADLINE_S = 3.0
RUN = RecordedRun(
    nodes=NODES, num_rounds=12, spec=KnownSpec(policy=RoundPolicy(deadline_s=DEADLINE_S))
)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """Give the twin of a run in which a slow node missed each deadline."""
    return Twin(LabDir(tmp_path_factory.mktemp("lab")), [cast("Run", RUN)])


def test_as_it_was_has_the_runs_own_deadline(twin: Twin) -> None:
    """Both phases wait for the slow node, but no longer; an answer may have another one."""
    most_s = 2 * DEADLINE_S + 0.5
    assert (twin.what_if().rounds["high_s"] <= most_s).all()
    assert (twin.what_if().rounds["num_replies"] < 2.1).all()
    patient = twin.what_if(policy=RoundPolicy())
    assert (patient.rounds["predicted_s"] > 9.0).all()


def test_the_second_half_is_foretold_under_it(twin: Twin) -> None:
    """What is compared is what happened: rounds that did not wait."""
    scores = twin.compare().summary().set_index("what")
    assert scores["mape"]["rounds"] < 0.1
    assert scores["coverage"]["rounds"] > 0.6
