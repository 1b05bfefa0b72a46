"""Whole runs under a policy: who counts, who is late, and the same again in a rerun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flip_lab.core.errors import CohortError, InvalidValueError, QuorumError
from flip_lab.core.events import EventKind
from flip_lab.core.policy import LATE, RoundPolicy
from flip_lab.runs import steered_run
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

pytestmark = pytest.mark.slow

PATIENCE_S = 240.0

APP = Path(__file__).parent / "apps" / "uneven"
LEGACY = Path(__file__).parents[1] / "apps" / "legacy"


@pytest.fixture(scope="module")
def lab(shared_lab: Lab) -> Lab:
    """Give the lab of this module."""
    return shared_lab


def model(run: Run) -> np.ndarray[Any, Any]:
    """Give the run's only array."""
    [array] = run.result(PATIENCE_S).arrays.values()
    return array


def codes(lab: Lab, run: Run) -> dict[tuple[int, int], int]:
    """Give the error code of each client row, by round and partition."""
    rows = lab.clients(runs=run, phase="train", as_="rows")
    return {(r["server_round"], r["partition_id"]): r["error_code"] for r in rows}


def test_a_policy_that_never_bites_changes_no_bit(lab: Lab) -> None:
    """The model is the same, and so is every row."""
    loose = RoundPolicy(deadline_s=100.0, quorum=1.0)
    plain = lab.launch(APP, on="in_process", seed=4)
    under = lab.launch(APP, on="in_process", seed=4, policy=loose)
    assert (model(plain) == model(under)).all()
    assert codes(lab, plain) == codes(lab, under)


def test_a_straggler_counts_nowhere_and_a_rerun_leaves_it_out_again(lab: Lab) -> None:
    """Its row says how long it took; a repetition, though faster, gives the same bits."""
    policy = RoundPolicy(deadline_s=8.0, quorum=0.5)
    config = {"naps-s": "0,0,18,0"}
    run = lab.launch(
        APP, on="processes", workers=4, seed=4, policy=policy, overrides=config
    )
    np.testing.assert_allclose(model(run), 2 * 4 / 3 + 0.1 + 0.2, rtol=1e-6)
    found = codes(lab, run)
    assert found[1, 2] == found[2, 2] == LATE
    assert sum(found.values()) == 2 * LATE
    warnings = [e.body for e in run.events() if e.kind is EventKind.WARNING]
    assert [each["code"] for each in warnings].count("quorum") == 2
    again = lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S)
    assert again.ok, again
    assert codes(lab, lab.run(again.repeated)) == found


def test_more_nodes_are_asked_and_a_rerun_counts_the_same_ones(lab: Lab) -> None:
    """The first to reply make the model, whoever was asked first."""
    run = lab.launch(
        APP,
        on="processes",
        workers=4,
        seed=4,
        policy=RoundPolicy(over_selection=1.0),
        overrides={"naps-s": "0,0,30,30", "fraction-train": 0.5},
    )
    np.testing.assert_allclose(model(run), 0.5 * 2 + 0.1 + 0.2, rtol=1e-6)
    again = lab.rerun(run.run_id, timeout_s=PATIENCE_S)
    assert again.ok, again


def test_a_policy_is_changed_while_the_run_is_under_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the next round on, on record, and again in a repetition."""
    monkeypatch.setattr(steered_run, "_PATIENCE_S", PATIENCE_S)  # each wish is answered
    config = {"naps-s": "0,0,15,0", "num-server-rounds": 3}
    run = lab.launch(APP, on="processes", workers=4, seed=4, overrides=config)
    run.pause()
    run.wait_until_paused(PATIENCE_S)
    assert run.policy is None
    run.step()
    run.wait_until_paused(PATIENCE_S)
    with pytest.raises(InvalidValueError, match="deadline"):
        run.set_policy(deadline_s=-1)
    assert run.set_policy(RoundPolicy(deadline_s=30.0, quorum=0.5)).from_round == 2
    assert run.set_policy(deadline_s=6).from_round == 2
    assert run.policy == RoundPolicy(deadline_s=6, quorum=0.5)
    run.resume()
    run.result(PATIENCE_S)
    found = codes(lab, run)
    assert [found[number, 2] for number in (1, 2, 3)] == [0, LATE, LATE]
    deadlines = run.settings_by_round()["policy.deadline_s"]
    assert deadlines.dropna().to_dict() == {2: 6.0}
    again = lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S)
    assert again.ok, again
    assert codes(lab, lab.run(again.repeated)) == found


def test_too_few_replies_fail_the_run_and_name_who_was_silent(lab: Lab) -> None:
    """The code is FLIP-810."""
    run = lab.launch(
        APP,
        on="processes",
        workers=4,
        policy=RoundPolicy(deadline_s=8.0, quorum=3),
        overrides={"naps-s": "0,0,30,30"},
    )
    with pytest.raises(QuorumError, match=r"partition 2, .*partition 3,"):
        run.result(PATIENCE_S)


def test_apps_of_flower_s_older_api_run_under_a_policy(lab: Lab) -> None:
    """They ask clients one by one: nobody is asked besides, and a warning says so."""
    policy = RoundPolicy(deadline_s=100.0, quorum=1.0, over_selection=0.5)
    plain = lab.launch(LEGACY, on="in_process", seed=4)
    under = lab.launch(LEGACY, on="in_process", seed=4, policy=policy)
    arrays = under.result(PATIENCE_S).arrays
    for name, array in plain.result(PATIENCE_S).arrays.items():
        assert (arrays[name] == array).all()
    [warning] = [e.body for e in under.events() if e.kind is EventKind.WARNING]
    assert "one by one" in str(warning["message"])


def test_chosen_partitions_are_all_that_take_part(lab: Lab) -> None:
    """The others keep their data; the strategy never sees them."""
    run = lab.launch(APP, on="in_process", nodes="0, 2-3")
    run.result(PATIENCE_S)
    assert {partition for _, partition in codes(lab, run)} == {0, 2, 3}


def test_a_choice_that_cannot_be_met_is_refused_at_the_launch_or_named(lab: Lab) -> None:
    """Names need a hub; partitions that are not there fail the run with what there is."""
    with pytest.raises(CohortError, match="names or tags"):
        lab.launch(APP, on="in_process", nodes="eu and not slow")
    with pytest.raises(InvalidValueError, match="no policy"):
        lab.launch(APP, on="in_process", policy=0.5)  # pyright: ignore[reportArgumentType]  # users err
    run = lab.launch(APP, on="in_process", nodes="7")
    with pytest.raises(CohortError, match="partitions: 0, 1, 2, 3"):
        run.result(PATIENCE_S)
