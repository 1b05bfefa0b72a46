"""What a launch says of its run is kept, inherited and on record, with living runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.errors import (
    IllegalTransitionError,
    InvalidValueError,
    StoreNotWritableError,
)
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.life_sign import is_alive
from flip_lab.runs.run import Run
from flip_lab.store.audit import audit_path, read_audit
from flip_lab.store.audit_chain import verify_audit
from flip_lab.store.layout import open_lab

PATIENCE_S = 120.0


@pytest.fixture
def lab(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Give a lab of one author."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "ada")
    return Lab(lab_path)


def launched(lab: Lab, what: Path, **more: Any) -> Run:  # noqa: ANN401  # of a launch
    """Launch three quick rounds."""
    changes = {"num-server-rounds": 3, "nap-s": 0.0} | more.pop("overrides", {})
    return lab.launch(what, num_nodes=2, overrides=changes, **more)


def recorded(lab: Lab) -> list[tuple[str, str | None]]:
    """Give what was done, and to which run."""
    return [(each.action, each.run_id) for each in read_audit(open_lab(lab.path))]


def test_a_run_is_what_its_launch_says_and_so_are_its_heirs(
    lab: Lab, slow_app: Path
) -> None:
    """A fork and a repetition stay in its experiment; its sweep and labels are its own."""
    first = launched(lab, slow_app, experiment="x", sweep="s", tags=["t"], note="n")
    assert first.wait(PATIENCE_S) is RunState.COMPLETED
    fork = first.fork(2)
    assert fork.wait(PATIENCE_S) is RunState.COMPLETED
    rerun = lab.rerun(first.run_id)
    assert rerun.ok
    table = lab.runs(experiment="x", as_="arrow").to_pylist()
    assert {row["run_id"] for row in table} == {first.run_id, fork.run_id, rerun.repeated}
    said = {row["run_id"]: (row["sweep"], row["tags"], row["note"]) for row in table}
    assert said == {
        first.run_id: ("s", ["t"], "n"),
        fork.run_id: (None, [], ""),
        rerun.repeated: (None, [], ""),
    }
    assert recorded(lab) == [
        ("launch", first.run_id),
        ("fork", fork.run_id),
        ("rerun", rerun.repeated),
    ]
    [sweep] = lab.table("sweeps", as_="arrow").to_pylist()
    assert (sweep["sweep"], sweep["num_runs"]) == ("s", 1)


def test_a_run_belongs_to_an_experiment_of_its_own_name(lab: Lab, slow_app: Path) -> None:
    """Unless something else was said."""
    run = launched(lab, slow_app)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    assert list(lab.runs().experiment) == ["slow"]
    assert run.spec.experiment == "slow"


@pytest.mark.parametrize(
    "wrong", [{"experiment": ""}, {"sweep": "a\nb"}, {"tags": [""]}, {"note": 3}]
)
def test_a_launch_that_says_nonsense_leaves_nothing(
    lab: Lab, slow_app: Path, wrong: dict[str, Any]
) -> None:
    """No directory, no process, no line in the log."""
    with pytest.raises(InvalidValueError):
        launched(lab, slow_app, **wrong)
    assert recorded(lab) == []
    assert not list((lab.path / "runs").glob("*"))


def test_what_cannot_be_put_on_record_does_not_run(lab: Lab, slow_app: Path) -> None:
    """A directory in the log's place does what a read-only disk does, also for root."""
    audit_path(open_lab(lab.path)).mkdir()
    with pytest.raises(StoreNotWritableError):
        launched(lab, slow_app)
    assert not list((lab.path / "runs").glob("*"))


def test_a_living_run_is_stopped_and_resumed_on_record(lab: Lab, slow_app: Path) -> None:
    """It cannot be deleted while it lives; a deleted one cannot be resumed."""
    run = launched(lab, slow_app, overrides={"num-server-rounds": 5000, "nap-s": 0.05})
    with pytest.raises(IllegalTransitionError, match="under way"):
        lab.delete(run)
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    lab.delete(run)
    with pytest.raises(IllegalTransitionError, match="undelete"):
        run.resume_from_checkpoint()
    lab.undo()
    run.resume_from_checkpoint()
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    actions = [action for action, _ in recorded(lab)]
    assert actions == ["launch", "stop", "delete", "undo", "resume", "stop"]
    assert {each.author for each in read_audit(open_lab(lab.path))} == {"ada"}
    assert verify_audit(open_lab(lab.path)) == []


def test_an_emptied_trash_leaves_no_file_of_a_run(
    lab: Lab, slow_app: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    """Its app, its checkpoints, its journal; what other runs have stays."""
    runs = [launched(lab, slow_app) for _ in range(2)]
    for run in runs:
        assert run.wait(PATIENCE_S) is RunState.COMPLETED
    gone, kept = runs
    lab.delete(gone)
    for run in runs:  # its process may be tidying up yet
        until(lambda at=lab.path / "runs" / run.run_id: not is_alive(at))
    assert lab.empty_trash() == [gone.run_id]
    assert not [path for path in lab.path.rglob("*") if gone.run_id in path.name]
    assert list(lab.table("metrics").run_id.unique()) == [kept.run_id]


def test_the_command_line_says_it_too(lab: Lab, slow_app: Path) -> None:
    """Options may come several times where several values make sense."""
    quick = ["--set", "nap-s=0.0", "--set", "num-server-rounds=1"]
    group = ["--experiment", "x", "--sweep", "s", "--tag", "a", "--tag", "b", "--note", "n"]
    done = CliRunner().invoke(app, ["run", str(slow_app), *quick, *group])
    assert done.exit_code == 0, done.output
    [row] = lab.runs(tag=["a", "b"], as_="arrow").to_pylist()
    assert (row["experiment"], row["sweep"], row["note"]) == ("x", "s", "n")
