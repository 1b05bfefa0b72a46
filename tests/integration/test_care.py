"""Care of a lab with real runs: backed up while they run, restored, pruned, repaired."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.errors import InvalidValueError, NoCheckpointError
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign
from flip_lab.runs.care import backup_lab, collect_unused, compact_lab, restore_lab
from flip_lab.runs.care_examining import examine, repair
from flip_lab.runs.care_info import store_info
from flip_lab.runs.care_retention import prune_runs
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.backup import verify_backup
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.manifest import read_manifest
from flip_lab.store.query import table
from flip_lab.store.schema import TABLES

PATIENCE_S = 240.0
ENDLESS = 1_000_000
"""Rounds of a run that is under way until a test ends it."""
Until = Callable[[Callable[[], bool]], None]
FACTS = ("events", "metrics", "clients", "client_metrics", "artifacts")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Give a lab of its own."""
    return Lab(tmp_path / "lab")


def lab_dir(lab: Lab) -> LabDir:
    """Give a lab's directory."""
    return LabDir(lab.path)


def run_dir(run: Run) -> Path:
    """Give a run's directory."""
    return run._dir


def launched(lab: Lab, what: Path, *, rounds: int = ENDLESS, seed: int = 0) -> Run:
    """Launch a slow run."""
    overrides = {"num-server-rounds": rounds, "nap-s": 0.05}
    return lab.launch(what, on="in_process", overrides=overrides, seed=seed)


def launched_and_held(lab: Lab, what: Path, *, rounds: int) -> Run:
    """Launch a slow run that does not end before it is let go: it stops in its last round.

    Restored or resumed it stops there again.
    """
    overrides = {"num-server-rounds": rounds, "nap-s": 0.05}
    breaks = [lambda replies: replies.server_round == rounds]
    return lab.launch(what, on="in_process", overrides=overrides, break_when=breaks)


def let_go(run: Run) -> None:
    """Let a run that is held in its last round come to its end."""
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, run.error
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error


def rounds_done(run: Run) -> int:
    """Count the rounds that have ended."""
    return sum(event.kind is EventKind.ROUND_ENDED for event in run.events())


def rows(lab: LabDir, name: str) -> list[str]:
    """Give one table, each row as text."""
    return [json.dumps(row, default=str) for row in table(lab, name, as_="rows")]


def ended(run: Run, until: Until, state: RunState = RunState.COMPLETED) -> Run:
    """Wait until a run has ended and its process has tidied up."""
    assert run.wait(PATIENCE_S) is state
    until(lambda: not life_sign.is_alive(run_dir(run)))
    return run


def process_id(run: Run) -> int:
    """Give the process of a run."""
    told = [e.body["process_id"] for e in run.events() if "process_id" in e.body]
    return int(str(told[-1])) if told else 0


@contextmanager
def load_on(lab: Lab, run: Run) -> Iterator[None]:
    """Seal, merge and label all the time."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            compact_lab(lab_dir(lab))
            lab.tag(run, "again")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def facts(lab: LabDir) -> dict[str, set[str]]:
    """Give the facts of a lab, none of them twice."""
    found = {name: rows(lab, name) for name in FACTS}
    assert all(len(some) == len({*some}) for some in found.values())
    return {name: {*some} for name, some in found.items()}


def test_a_backup_under_load_holds_all_that_was_acknowledged(
    lab: Lab, slow_app: Path, tmp_path: Path, until: Until
) -> None:
    """Several, while three runs write and others are sealed: each table is a part."""
    runs = [ended(launched(lab, slow_app, rounds=1), until) for _ in range(2)]
    runs += [launched(lab, slow_app, seed=seed) for seed in range(3)]
    until(lambda: all(rounds_done(run) >= 1 for run in runs))
    here, destination = lab_dir(lab), tmp_path / "backups"
    taken: list[tuple[dict[str, set[str]], str]] = []
    with load_on(lab, runs[0]):
        for _ in range(4):
            acknowledged = facts(here)
            done = backup_lab(here, destination)
            assert not done.left_out
            taken.append((acknowledged, done.snapshot))
    for run in runs[2:]:
        assert not run.state.is_final
        run.stop()
        ended(run, until, RunState.STOPPED)
    final = facts(here)
    for number, (acknowledged, name) in enumerate(taken):
        assert verify_backup(destination, name) == []
        restore_lab(destination, tmp_path / f"new-{number}", snapshot=name)
        new = open_lab(tmp_path / f"new-{number}", create=False)
        found = facts(new)
        for fact in FACTS:
            assert acknowledged[fact] <= found[fact] <= final[fact], fact
        for run in runs:
            sequences = [event.sequence for event in Run(new, run.run_id).events()]
            assert sequences == list(range(len(sequences)))
        assert all(f.kind == "run_lost" for f in examine(new)), examine(new)


def test_a_backup_after_the_end_says_the_same(
    lab: Lab, slow_app: Path, tmp_path: Path, until: Until
) -> None:
    """Compared table by table; the new lab's log adds where it comes from."""
    run = ended(launched(lab, slow_app, rounds=2), until)
    lab.tag(run, "good")
    here = lab_dir(lab)
    first = backup_lab(here, tmp_path / "backups")
    restore_lab(tmp_path / "backups", tmp_path / "new")
    new = open_lab(tmp_path / "new", create=False)
    for fact in TABLES.keys() - {"audit"}:
        assert rows(new, fact) == rows(here, fact)
    assert rows(new, "audit")[:-1] == rows(here, "audit")
    assert '"restore"' in rows(new, "audit")[-1]
    again = backup_lab(here, tmp_path / "backups")
    assert again.num_files == first.num_files
    assert again.new_bytes == 0


def test_a_restored_run_goes_on_from_its_checkpoint(
    lab: Lab, slow_app: Path, tmp_path: Path, until: Until
) -> None:
    """Backed up in the middle: in the new lab it has died, goes on, and ends the same."""
    run = launched_and_held(lab, slow_app, rounds=10)
    until(lambda: rounds_done(run) >= 3)
    backup_lab(lab_dir(lab), tmp_path / "backups")
    assert not run.state.is_final
    restore_lab(tmp_path / "backups", tmp_path / "new")
    other = Lab(tmp_path / "new").run(run.run_id)
    assert other.working_dir.is_relative_to(tmp_path / "new")
    assert other.state is RunState.FAILED
    assert other.error is not None
    assert other.error.code == "FLIP-305"
    assert not run.state.is_final
    assert other.checkpoints[-1].server_round >= 2
    other.resume_from_checkpoint()
    for each in (run, other):
        let_go(each)
    until(lambda: not life_sign.is_alive(run_dir(other)))
    assert other.result().model_sha256 == run.result().model_sha256
    assert examine(open_lab(tmp_path / "new")) == []


def test_a_stopped_run_is_restored_and_resumed(
    lab: Lab, slow_app: Path, tmp_path: Path, until: Until
) -> None:
    """Also when its facts are sealed, and with one command each."""
    run = launched_and_held(lab, slow_app, rounds=8)
    until(lambda: rounds_done(run) >= 2)
    run.stop()
    ended(run, until, RunState.STOPPED)
    tool = CliRunner()
    for arguments in (
        ["store", "compact", "--now", "--lab", str(lab.path)],
        ["backup", str(tmp_path / "backups"), "--lab", str(lab.path)],
        ["backup", str(tmp_path / "backups"), "--verify", "--lab", str(lab.path)],
        ["restore", str(tmp_path / "backups"), str(tmp_path / "new")],
        ["doctor", "--lab", str(tmp_path / "new")],
    ):
        done = tool.invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        json.loads(done.stdout.splitlines()[-1])
    listed = tool.invoke(app, ["backup", str(tmp_path / "backups"), "--list", "--json"])
    assert len(json.loads(listed.stdout)["snapshots"]) == 2
    other = Lab(tmp_path / "new").run(run.run_id)
    assert other.state is RunState.STOPPED
    other.resume_from_checkpoint()
    let_go(other)
    assert rounds_done(other) >= 8


@pytest.fixture
def four(lab: Lab, slow_app: Path, until: Until) -> list[Run]:
    """Give four runs: the second has the tag keep, the third is archived."""
    runs = [launched(lab, slow_app, rounds=2, seed=seed) for seed in range(4)]
    for run in runs:
        ended(run, until)
    lab.tag(runs[1], "keep")
    lab.archive(runs[2])
    return runs


def test_old_runs_are_pruned(lab: Lab, four: list[Run]) -> None:
    """What stays, what goes, and what is left alone; each said before it is done."""
    oldest, kept, _, _ = four
    here = lab_dir(lab)
    with pytest.raises(InvalidValueError, match="Nothing says"):
        prune_runs(here)
    assert prune_runs(here, older_than_s=3600.0).run_ids == ()
    asked = prune_runs(here, keep_last=1)
    assert asked.run_ids == (oldest.run_id,)
    assert asked.freed_bytes > 0
    assert oldest.checkpoints
    before = {name: rows(here, name) for name in ("metrics", "rounds", "artifacts")}
    model = oldest.result().model_sha256
    done = prune_runs(here, keep_last=1, dry_run=False)
    assert done.run_ids == (oldest.run_id,)
    assert done.freed_bytes > 0
    assert {name: rows(here, name) for name in before} == before
    assert len(oldest.clients()) == 0
    assert len(kept.clients()) > 0
    assert oldest.checkpoints == []
    again = lab.run(oldest.run_id)
    assert again.result().model_sha256 == model
    with pytest.raises(NoCheckpointError):
        again.fork()
    assert prune_runs(here, keep_last=1, dry_run=False).run_ids == ()
    [record] = lab.sql("SELECT * FROM audit WHERE action = 'prune'").to_dict("records")
    assert record["run_id"] == oldest.run_id
    assert examine(here) == []


def test_old_runs_are_removed(lab: Lab, four: list[Run]) -> None:
    """For good, and no other run."""
    oldest, kept, archived, newest = four
    here = lab_dir(lab)
    gone = prune_runs(here, keep_last=1, keep="none", dry_run=False)
    assert gone.run_ids == (oldest.run_id,)
    assert set(lab.runs(archived=True)["run_id"]) == {
        kept.run_id,
        archived.run_id,
        newest.run_id,
    }
    assert not here.run_dir(oldest.run_id).exists()
    assert examine(here) == []
    assert collect_unused(here, dry_run=True).num_files == 0


def test_a_killed_run_is_found_and_buried(lab: Lab, slow_app: Path, until: Until) -> None:
    """The doctor has nothing to say while it lives, and writes its end afterwards."""
    run = launched(lab, slow_app)
    until(lambda: rounds_done(run) >= 1)
    here = lab_dir(lab)
    assert examine(here) == []
    os.kill(process_id(run), signal.SIGKILL)
    until(lambda: any(finding.kind == "run_lost" for finding in examine(here)))
    tool = CliRunner()
    assert tool.invoke(app, ["doctor", "--lab", str(lab.path)]).exit_code == 1
    mended = tool.invoke(app, ["doctor", "--repair", "--lab", str(lab.path), "--json"])
    assert mended.exit_code == 0, mended.output
    told = json.loads(mended.stdout.splitlines()[-1])
    assert told["found"][-1]["run_id"] == run.run_id
    assert told["left"] == []
    assert run.state is RunState.FAILED
    assert repair(here, []) == []


def test_a_damaged_checkpoint_is_set_aside(lab: Lab, slow_app: Path, until: Until) -> None:
    """The run goes on from the one before."""
    run = launched_and_held(lab, slow_app, rounds=6)
    until(lambda: rounds_done(run) >= 3)
    run.stop()
    ended(run, until, RunState.STOPPED)
    newest = run_dir(run) / "checkpoints" / f"round-{run.checkpoints[-1].server_round:06d}"
    model = newest / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    here = lab_dir(lab)
    [finding] = [each for each in examine(here) if not each.is_note]
    assert (finding.kind, finding.path) == ("checkpoint_damaged", newest)
    assert repair(here, [finding]) == []
    assert list((lab.path / "damaged").rglob("model.safetensors"))
    run.resume_from_checkpoint()
    let_go(run)


def test_a_store_says_what_takes_the_room(lab: Lab, slow_app: Path, until: Until) -> None:
    """Runs, rows and bytes, sealed or not."""
    run = ended(launched(lab, slow_app, rounds=2), until)
    here = lab_dir(lab)
    before = store_info(here)
    assert (before.num_runs, before.num_sealed, before.tables) == (1, 0, ())
    assert before.journal_bytes > 0
    assert compact_lab(here).num_sealed == 1
    after = store_info(here)
    assert (after.num_sealed, after.journal_bytes, after.levels) == (1, 0, {0: 1})
    sizes = {each.name: each for each in after.tables}
    assert sizes["client"].num_rows == len(run.clients())
    assert after.biggest[0].run_id == run.run_id
    assert after.biggest[0].files_bytes > 0
    told = CliRunner().invoke(app, ["store", "info", "--lab", str(lab.path)])
    assert told.exit_code == 0
    assert run.run_id in told.output


def _bound_read_only(source: Path, target: Path) -> bool:
    """Show a directory once more, where nobody may write it: not even root."""
    target.mkdir()
    for options in (["--bind"], ["-o", "remount,ro,bind"]):
        done = subprocess.run(
            ["mount", *options, str(source), str(target)], capture_output=True, check=False
        )
        if done.returncode:
            return False
    return True


def test_a_lab_on_a_read_only_disk_can_be_read(
    lab: Lab, slow_app: Path, tmp_path: Path, until: Until
) -> None:
    """Tables, events, models and the doctor; sealed or not."""
    runs = [ended(launched(lab, slow_app, rounds=1), until)]
    compact_lab(lab_dir(lab))
    runs.append(ended(launched(lab, slow_app, rounds=1), until))
    expected: dict[str, Any] = {name: rows(lab_dir(lab), name) for name in TABLES}
    place = tmp_path / "read only"
    if not _bound_read_only(lab.path, place):
        pytest.skip("needs the right to mount")
    try:
        there = open_lab(place, create=False)
        with pytest.raises(OSError, match="Read-only"):
            (place / "x").touch()
        assert {name: rows(there, name) for name in TABLES} == expected
        assert read_manifest(there).closed_runs == {runs[0].run_id}
        for run in runs:
            other = Run(there, run.run_id)
            assert other.state is RunState.COMPLETED
            assert other.result().model_sha256 == run.result().model_sha256
        assert examine(there) == []
        assert store_info(there).num_runs == 2
    finally:
        # Lazily: a file may be open until its reader is collected.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
