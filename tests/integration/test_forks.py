"""Forks as a researcher wants them: any change by its name, edits that stay, families."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.errors import InvalidValueError, ScenarioError, UnknownKeyError
from flip_lab.core.state import RunState
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.views import family_tree, fork_curves

PATIENCE_S = 240.0
AskedFirst = Callable[[Callable[[Run], object]], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def parent(shared_lab: Lab) -> Run:
    """Give a run of a scenario with all its checkpoints."""
    run = shared_lab.launch(
        "hospitals",
        on="in_process",
        overrides={"num_rounds": 6, "data.partitioner": "iid"},
        checkpoints=Checkpoints(keep_last=6),
        experiment="forking",
    )
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    return run


@pytest.fixture(scope="module")
def steered(shared_lab: Lab, asked_first: AskedFirst) -> Run:
    """Give a run whose learning rate and cohort a user changed on the way."""
    with asked_first(Run.pause):
        run = shared_lab.launch(
            "hospitals",
            on="in_process",
            overrides={"num_rounds": 8},
            checkpoints=Checkpoints(keep_last=8),
        )
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.set(learning_rate=0.02)
    run.step(2)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert run.metrics()["server_round"].max() == 2
    run.exclude(3)
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    return run


def model(run: Run) -> str | None:
    """Wait for a run, and give the hash of its model."""
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    return run.outcome().model_sha256


def test_a_fork_without_changes_repeats_its_parents_bits(
    steered: Run, shared_lab: Lab
) -> None:
    """What users changed before its round stays changed; what came later is its own."""
    edits = steered.commands().query("from_round.notna()")
    first, last = (
        int(each) for each in (edits["from_round"].min(), edits["from_round"].max())
    )
    assert first < last
    same = steered.fork(last)
    assert model(same) == model(steered)
    before = steered.fork(last - 1)
    assert model(before) != model(steered)
    assert [edit["command"] for edit in before.spec.edits] == ["set"]
    assert shared_lab.rerun(same.run_id).ok
    found = shared_lab.diff(steered, before)
    assert found.edits["edit"].tolist() == ["exclude 3"]
    assert found.trunk is not None
    assert found.trunk.last_round == last - 1


def test_what_a_fork_changes_overrules_an_edit_of_its_parent(steered: Run) -> None:
    """The learning rate that a user had set is not the one it asks for."""
    fork = steered.fork(7, learning_rate=0.5, num_rounds=8)
    assert model(fork) != model(steered)
    assert all("values" not in edit for edit in fork.spec.edits)
    settings = fork.settings_by_round()
    assert settings["train.learning_rate"].tolist()[-1] == 0.5


def test_any_setting_is_changed_by_its_name(parent: Run, shared_lab: Lab) -> None:
    """Strategy, its options, training, seed: and the family tells what it was."""
    fork = parent.fork(
        3,
        strategy="FedProx",
        proximal_mu=0.1,
        learning_rate=0.05,
        num_rounds=9,
        seed=7,
        tags=["prox"],
        note="Less drift?",
    )
    assert model(fork)
    assert fork.outcome().num_rounds == 6
    assert fork.scenario.strategy.name == "FedProx"
    assert fork.scenario.strategy.options == {"proximal_mu": 0.1}
    assert fork.spec.experiment == "forking"
    assert (fork.spec.tags, fork.spec.note) == (["prox"], "Less drift?")
    frame = shared_lab.family(parent).set_index("run_id")
    assert frame.loc[fork.run_id, "changed"] == (
        "seed 4 → 7; strategy.name FedAvg → FedProx; strategy.options.proximal_mu "
        "not set → 0.1; train.learning_rate 0.1 → 0.05; train.num_rounds 6 → 9"
    )
    assert fork.parent is not None
    assert fork.parent.run_id == parent.run_id
    assert fork.run_id in [each.run_id for each in parent.forks]
    again = shared_lab.fork(fork, 5, strategy="FedAvg", on="processes", workers=2)
    assert model(again)
    assert again.scenario.strategy.options == {}
    assert shared_lab.family(again)["depth"].max() == 2
    metrics = shared_lab.metrics(runs=[parent, fork, again])
    family = shared_lab.family(parent)
    assert len(list(fork_curves(metrics, family).data)) == 4
    title = family_tree(family).layout["title"]
    assert title.subtitle.text.endswith("forks")


def test_a_fleet_grows_where_clients_keep_nothing(parent: Run) -> None:
    """The partitioner has the last word; so has the strategy."""
    fork = parent.fork(4, num_nodes=6)
    assert model(fork)
    assert fork.spec.num_nodes == 6
    assert fork.clients()["partition_id"].nunique() == 6
    with pytest.raises(ScenarioError, match="num_partitions"):
        parent.fork(4, num_nodes=0)


def test_a_wrong_name_leaves_nothing(parent: Run, shared_lab: Lab) -> None:
    """The nearest name is told, and no run is launched."""
    before = len(shared_lab.runs())
    with pytest.raises(UnknownKeyError, match="Did you mean 'learning_rate'"):
        parent.fork(3, learnin_rate=0.1)
    with pytest.raises(InvalidValueError, match="would not fit"):
        parent.fork(3, dataset="digits")
    assert len(shared_lab.runs()) == before


def told(lab: Lab, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Give what a command prints last, as JSON."""
    done = CliRunner().invoke(app, [*arguments, "--lab", str(lab.path), "--json"])
    assert done.exit_code == status, done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def paused(shared_lab: Lab, slow_app: Path, asked_first: AskedFirst) -> Run:
    """Give a run that the terminal has paused, and stepped once."""
    changes = {"num-server-rounds": 8}

    def pause(run: Run) -> None:
        assert told(shared_lab, "pause", run.run_id)["command"] == "pause"

    with asked_first(pause):
        run = shared_lab.launch(slow_app, overrides=changes, on="in_process", num_nodes=3)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    told(shared_lab, "step", run.run_id, "1")
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    return run


def test_the_terminal_steers(shared_lab: Lab, paused: Run) -> None:
    """Pause, look, change, go on: each a line of JSON, and on record with its author."""
    run_id = paused.run_id
    changed = told(shared_lab, "set", run_id, "loss=0.25", "nap-s=0.01")
    assert changed["from_round"] >= 1
    broken = told(shared_lab, "break-when", run_id, "train_loss < 0.1")
    told(shared_lab, "stop-when", run_id, "--budget-s", "3600")
    assert told(shared_lab, "clear", run_id, broken["id"])["command"] == "clear"
    refused = told(shared_lab, "exclude", run_id, "77", status=1)
    assert refused["error"]["code"] == "FLIP-310"
    left_out = told(shared_lab, "exclude", run_id, "1")
    assert left_out["from_round"] == changed["from_round"]
    assert told(shared_lab, "include", run_id, "1")["command"] == "include"
    moved = ("resume", run_id, "--workers", "2")
    done = CliRunner().invoke(app, [*moved, "--lab", str(shared_lab.path)])
    assert done.exit_code == 2
    assert told(shared_lab, "resume", run_id)["state"] == "completed"
    asked = paused.commands()
    assert asked["command"].tolist()[:2] == ["pause", "step"]
    assert asked["is_refused"].sum() == 1
    losses = paused.metrics().query("name == 'train_loss'").set_index("server_round")
    assert losses["value"][8] == 0.25


def test_the_terminal_shows_what_came_of_it(shared_lab: Lab, paused: Run) -> None:
    """Settings in force, the family; an ended run takes no command."""
    run_id = paused.run_id
    told(shared_lab, "set", run_id, "loss=0.25", "nap-s=0.0")
    assert told(shared_lab, "resume", run_id)["state"] == "completed"
    assert told(shared_lab, "set", run_id)["settings"]["loss"] == 0.25
    assert told(shared_lab, "pause", run_id, status=1)["error"]["code"] == "FLIP-310"
    forked = told(shared_lab, "fork", run_id, "--rounds", "9", "--set", "loss=2.0")
    assert forked["state"] == "completed"
    first, fork = told(shared_lab, "family", run_id)["family"]
    assert (first["run_id"], first["num_edits"], first["depth"]) == (run_id, 1, 0)
    assert fork["changed"] == "app.loss 0.5 → 2.0; app.num-server-rounds 8 → 9"
    found = told(shared_lab, "diff", run_id, fork["run_id"], status=1)
    assert found["relation"].endswith("rounds 1 to 8 are the same")
    for command in ("family", "set"):
        arguments = [command, run_id, "--lab", str(shared_lab.path)]
        plain = CliRunner().invoke(app, arguments)
        assert plain.exit_code == 0
        assert "0.25" in plain.stdout if command == "set" else run_id in plain.stdout
