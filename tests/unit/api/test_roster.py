"""The list of runs in memory: the same as the tables, and told only what is new."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flip_lab.api.live import roster as roster_module
from flip_lab.api.live.changes import Changes
from flip_lab.api.live.roster import Roster
from flip_lab.api.live.rows import RunRow, rows_in_tables
from flip_lab.core.errors import EngineStartError, StoreNotWritableError
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs import life_sign
from flip_lab.runs.lab import Lab
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run import Run
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.compaction import compact, reopen
from flip_lab.store.journal import RESUMER, JournalWriter, last_sequence
from flip_lab.store.layout import LabDir, write_json_atomic

MakeRun = Callable[..., Run]


@pytest.fixture
def lab(lab_dir: LabDir) -> Lab:
    """Give the lab that ``make_run`` fills."""
    return Lab(lab_dir.root)


@pytest.fixture
def roster(lab: Lab) -> Iterator[Roster]:
    """Give a roster whose thread sleeps: tests say when it looks."""
    made = Roster(lab, every_s=3600.0)
    made.start()
    yield made
    made.stop()


def _in_tables(lab_dir: LabDir) -> dict[str, RunRow]:
    return {row["run_id"]: row for row in rows_in_tables(lab_dir)}


def _now(roster: Roster, lab_dir: LabDir) -> dict[str, RunRow]:
    """Look, and check that the roster says what the tables say."""
    roster.look()
    rows = {row["run_id"]: row for row in roster.rows}
    assert rows == _in_tables(lab_dir)
    return rows


def test_a_lab_that_is_there_is_read_from_its_tables(
    lab: Lab, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Sealed and unsealed runs alike, newest first, with their most telling metric."""
    for number in range(3):
        make_run(f"run-{number}")
    compact(lab_dir, ["run-0"], grace_s=0.0)
    roster = Roster(lab, every_s=3600.0)
    roster.start()
    roster.stop()
    assert [row["run_id"] for row in roster.rows] == ["run-2", "run-1", "run-0"]
    assert {row["run_id"]: row for row in roster.rows} == _in_tables(lab_dir)
    row = roster.row("run-0")
    assert row is not None
    assert row["headline"] is not None
    assert row["headline"]["name"] == "eval_accuracy"
    assert row["fraction"] == 1.0
    assert row["created_at"] == "2023-11-14T22:13:21.000000Z"


def test_runs_that_come_go_and_come_back(
    roster: Roster, lab: Lab, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """New, deleted and undeleted runs are noticed, sealed ones too."""
    make_run("run-a")
    make_run("run-b")
    assert set(_now(roster, lab_dir)) == {"run-a", "run-b"}
    compact(lab_dir, ["run-a"], grace_s=0.0)
    for run_id in ("run-a", "run-b"):
        begin = roster.position
        lab.delete(run_id)
        assert run_id not in _now(roster, lab_dir)
        assert roster.changes(begin) == ([], [run_id])
        lab.undelete(run_id)
        assert run_id in _now(roster, lab_dir)
        assert roster.changes(begin) == ([roster.row(run_id)], [])


def test_a_directory_that_is_removed_by_hand_takes_its_row_along(
    roster: Roster, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """What cannot be opened any more is not listed."""
    make_run("run-a")
    roster.look()
    shutil.rmtree(lab_dir.run_dir("run-a"))
    roster.look()
    assert roster.rows == []


def test_labels_follow_the_lab_s_log(
    roster: Roster, lab: Lab, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Tags, notes and archiving, and taking them back."""
    make_run("run-a")
    make_run("run-b")
    roster.look()
    lab.tag("run-a", "good", "fast")
    lab.note("run-b", "odd")
    lab.archive("run-b")
    rows = _now(roster, lab_dir)
    assert rows["run-a"]["tags"] == ["fast", "good"]
    assert (rows["run-b"]["note"], rows["run-b"]["is_archived"]) == ("odd", True)
    begin = roster.position
    lab.undo()
    assert _now(roster, lab_dir)["run-b"]["is_archived"] is False
    changed = roster.changes(begin)
    assert changed is not None
    assert [row["run_id"] for row in changed[0]] == ["run-b"]


def test_a_run_under_way_is_followed_to_its_end(
    roster: Roster, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """State, rounds, share and headline move; what stands still is no change."""
    spec = replace(make_run("other").spec, run_id="run-a", num_rounds=4)
    run_dir = lab_dir.run_dir("run-a")
    write_json_atomic(run_dir / "run.json", spec.to_json())
    with life_sign.held_lock(run_dir):
        assert _now(roster, lab_dir)["run-a"]["state"] == "pending"
        recorder = _recorder(lab_dir, "run-a")
        for state in (RunState.STARTING, RunState.RUNNING):
            recorder.enter(state)
        recorder.emit(EventKind.ROUND_STARTED, {"num_rounds": 4}, server_round=1)
        recorder.emit(EventKind.METRIC, _metric("loss", math.nan), server_round=1)
        recorder.emit(EventKind.ROUND_ENDED, {"duration_s": 1.0}, server_round=1)
        recorder.flush()
        row = _now(roster, lab_dir)["run-a"]
        assert (row["state"], row["rounds_done"], row["fraction"]) == ("running", 1, 0.25)
        assert row["headline"] == {"name": "loss", "value": "NaN"}
        begin = roster.position
        roster.look()
        assert roster.position == begin
        recorder.enter(RunState.FAILED, EngineStartError("It broke.", fix="Mend it."))
        recorder.close()
    row = _now(roster, lab_dir)["run-a"]
    assert (row["state"], row["error_code"]) == ("failed", EngineStartError.code)
    assert row["error"] == "It broke."


def test_the_end_of_a_run_whose_process_died_is_written(
    roster: Roster, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Nobody need ask for the run: looking at the lab is enough."""
    make_run("run-a", state=RunState.PAUSED)
    row = _now(roster, lab_dir)["run-a"]
    assert (row["state"], row["error_code"]) == ("failed", "FLIP-305")


def test_a_run_that_is_taken_up_again_is_told_anew(
    roster: Roster, lab: Lab, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Rounds that are superseded count no more; the run moves again."""
    make_run("run-a", state=RunState.STOPPED)
    assert _now(roster, lab_dir)["run-a"]["rounds_done"] == 2
    with life_sign.held_lock(lab_dir.run_dir("run-a")):
        append_audit(lab_dir, "resume", run_ids=["run-a"])
        roster.look()  # it says nothing yet, and is followed nevertheless
        after = _end_of_first_round(lab.run("run-a"))
        reopen(lab_dir, "run-a")
        recorder = _recorder(lab_dir, "run-a", role=RESUMER, state=RunState.STOPPED)
        told: dict[str, Any] = {"resumed_from_round": 1, "resumed_after": after}
        recorder.enter(RunState.PENDING, more=told)
        recorder.close()
        row = _now(roster, lab_dir)["run-a"]
        assert (row["state"], row["rounds_done"]) == ("pending", 1)


def test_a_position_of_another_time_is_too_old(roster: Roster, make_run: MakeRun) -> None:
    """Who comes back with one reads everything again."""
    make_run("run-a")
    roster.look()
    assert roster.changes(roster.position - 1_000_000) is None
    assert roster.changes(roster.position + 1) is None
    assert roster.changes(roster.position) == ([], [])


def test_changes_are_told_once_each_and_the_oldest_losses_are_forgotten() -> None:
    """A row that changed twice comes once; a position before what is known gives none."""
    changes = Changes()
    begin = changes.position
    changes.note(["a", "b"])
    changes.note(["a"], ["b"])
    assert changes.after(begin) == (["a"], ["b"])
    changes.note([], [str(number) for number in range(20_000)])
    assert changes.after(begin) is None
    changes.note(["b"])
    assert changes.after(changes.position - 1) == (["b"], [])


def test_a_run_that_cannot_be_read_yet_is_looked_at_again(
    roster: Roster, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """A directory that was there before its run.json hides nothing and is not forgotten."""
    lab_dir.run_dir("run-b").mkdir(parents=True)
    make_run("run-a")
    roster.look()
    assert [row["run_id"] for row in roster.rows] == ["run-a"]
    make_run("run-b")
    assert set(_now(roster, lab_dir)) == {"run-a", "run-b"}


def test_a_run_that_makes_no_sense_hides_no_other(
    roster: Roster, lab: Lab, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Whatever stands in its run.json: the list follows the others, and can be built."""
    folder = lab_dir.run_dir("run-a")
    folder.mkdir(parents=True)
    write_json_atomic(folder / "run.json", {"run_id": "run-a", "seed": "many"})
    for run_id in ("run-b", "run-c"):
        make_run(run_id)
        roster.look()
    assert {row["run_id"] for row in roster.rows} == {"run-b", "run-c"}
    another = Roster(lab, every_s=3600.0)
    another.start()
    another.stop()
    assert {"run-b", "run-c"} <= {row["run_id"] for row in another.rows}


def test_runs_that_came_while_the_lab_could_not_be_read_are_listed_later(
    roster: Roster,
    lab: Lab,
    lab_dir: LabDir,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happened besides is told at once: labels, and runs that went."""
    make_run("run-a")
    make_run("run-b")
    roster.look()
    make_run("run-c")
    shutil.rmtree(lab_dir.run_dir("run-a"))
    lab.tag("run-b", "good")
    with monkeypatch.context() as patched:

        def damaged(_: LabDir) -> None:
            raise StoreNotWritableError("It cannot be read now.", fix="Wait.")

        patched.setattr(roster_module, "read_manifest", damaged)
        with pytest.raises(StoreNotWritableError):
            roster.look()
    assert [(row["run_id"], row["tags"]) for row in roster.rows] == [("run-b", ["good"])]
    assert set(_now(roster, lab_dir)) == {"run-b", "run-c"}


def test_what_the_log_said_while_it_could_not_be_opened_is_heard_later(
    roster: Roster, lab: Lab, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as with too many files open: nobody need say anything else first."""
    make_run("run-a")
    roster.look()
    lab.tag("run-a", "good")
    with monkeypatch.context() as patched:

        def refused(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        patched.setattr(Path, "open", refused)
        with pytest.raises(OSError, match="Too many"):
            roster.look()
    roster.look()
    row = roster.row("run-a")
    assert row is not None
    assert row["tags"] == ["good"]


def test_the_thread_notices_by_itself(lab: Lab, make_run: MakeRun) -> None:
    """Started, it needs no telling; stopped, it is gone."""
    make_run("run-a")
    roster = Roster(lab, every_s=0.01)
    roster.start()
    begin = roster.position
    lab.tag("run-a", "good")
    while roster.position == begin:
        time.sleep(0.01)
    roster.stop()
    row = roster.row("run-a")
    assert row is not None
    assert row["tags"] == ["good"]
    assert roster.states == {"completed": 1}
    roster.stop()


def _recorder(
    lab_dir: LabDir, run_id: str, *, role: str = "run", state: RunState | None = None
) -> Recorder:
    first = last_sequence(lab_dir, run_id) + 1
    life = RunLife() if state is None else RunLife((state,))
    writer = JournalWriter(lab_dir, run_id, role=role)
    return Recorder(run_id, writer, first=first, life=life)


def _metric(name: str, value: float) -> dict[str, Any]:
    return {"phase": "evaluate", "scope": "federated", "name": name, "value": value}


def _end_of_first_round(run: Run) -> int:
    return next(e.sequence for e in run.events() if e.kind is EventKind.ROUND_ENDED)
