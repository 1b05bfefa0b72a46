"""A handle on a run that has ended: its words, and its error as what it was."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from flip_lab.core.errors import (
    EngineStartError,
    FlipLabError,
    RunError,
    UnknownNameError,
)
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.reader import LabReader
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic

SPEC = RunSpec(
    run_id="r1",
    name="hospitals",
    kind="app",
    created_s=1.0,
    seed=0,
    num_rounds=None,
    num_nodes=2,
    engine="in_process",
    federation=None,
    workers=1,
    run_config={},
    overrides={},
)


class PluginError(RunError):
    """An error of a package that is not installed where the run is looked at."""

    code = "PLUG-1"


def ended(path: Path, error: FlipLabError | None) -> Run:
    """Give a handle on a run that failed with this error, or was stopped."""
    lab = open_lab(path)
    write_json_atomic(lab.run_dir("r1") / "run.json", SPEC.to_json())
    recorder = Recorder("r1", JournalWriter(lab, "r1"))
    recorder.enter(RunState.FAILED if error else RunState.STOPPED, error)
    recorder.close()
    return Run(lab, "r1")


@pytest.mark.parametrize("kind", [EngineStartError, UnknownNameError, RunError])
def test_a_failed_run_raises_its_own_error(
    tmp_path: Path, kind: type[FlipLabError]
) -> None:
    """Of its own class with all its parts, though another process met it."""
    run = ended(tmp_path, kind("It broke.", fix="Mend it.", detail="line 1\nline 2"))
    with pytest.raises(FlipLabError) as caught:
        run.result()
    assert type(caught.value) is kind
    assert caught.value.what == "It broke."
    assert (caught.value.fix, caught.value.detail) == ("Mend it.", "line 1\nline 2")


def test_an_error_of_an_unknown_kind_is_still_an_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are kept."""
    run = ended(tmp_path, PluginError("It broke.", fix="Mend it."))
    monkeypatch.setattr(PluginError, "code", "PLUG-2")
    assert type(run.error) is RunError
    assert run.error.what == "It broke."


def test_a_run_that_did_not_fail_has_no_error(tmp_path: Path) -> None:
    """Being stopped is no failure."""
    assert ended(tmp_path, None).error is None


@pytest.mark.parametrize(
    ("tail", "expected"), [(None, "a\nb\nc\n"), (2, "b\nc"), (9, "a\nb\nc"), (0, "")]
)
def test_logs_give_the_last_lines(tmp_path: Path, tail: int | None, expected: str) -> None:
    """As many as there are; none if none are asked for."""
    run = ended(tmp_path, None)
    assert run.logs() == ""
    (tmp_path / "runs" / "r1" / "output.log").write_text("a\nb\nc\n")
    assert run.logs(tail=tail) == expected


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_lab_understands_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_variable: bool
) -> None:
    """No directory called ``~`` appears beside the notebook."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FLIP_LAB_HOME", "~/lab")
    lab = Lab() if by_variable else Lab("~/lab")
    assert lab.path == tmp_path / "lab"


def journal(lab: LabDir) -> Path:
    """Give the one journal file of the run."""
    return next(lab.live_dir("r1").glob("*.jsonl"))


def test_a_journal_that_lost_a_line_still_tells_the_end(tmp_path: Path) -> None:
    """A disk's fault in the middle must not make a run that completed unreadable."""
    ended(tmp_path, None)
    file = journal(open_lab(tmp_path))
    lines = file.read_bytes()
    file.write_bytes(
        b'\xff\x00rubbish\n{"a": 1}\n5\n' + lines.replace(b"stopped", b"completed")
    )
    assert Lab(tmp_path).run("r1").state is RunState.COMPLETED


def test_a_run_whose_end_was_cut_off_gets_another(tmp_path: Path) -> None:
    """A journal copied while it was written: nobody waits for ever."""
    run = ended(tmp_path, None)
    assert run.state is RunState.STOPPED
    file = journal(open_lab(tmp_path))
    file.write_bytes(file.read_bytes()[:-20])
    assert Lab(tmp_path).run("r1").wait(1) is RunState.FAILED


def test_a_run_that_died_on_a_full_disk_hides_no_other(tmp_path: Path) -> None:
    """Its end cannot be written as long as the disk is full: the list is there."""
    lab = open_lab(tmp_path)
    write_json_atomic(lab.run_dir("r1") / "run.json", SPEC.to_json())
    recorder = Recorder("r1", JournalWriter(lab, "r1"))
    recorder.enter(RunState.STARTING)
    recorder.close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        full = LabReader(lab).runs(as_="rows")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [row["state"] for row in full] == ["starting"]
    assert journal(lab).stat().st_size > 0
    assert len([*lab.live_dir("r1").glob("*.jsonl")]) == 1  # no file for each look
    assert [row["state"] for row in Lab(tmp_path).runs(as_="rows")] == ["failed"]


def test_a_follower_reads_only_what_is_new(tmp_path: Path) -> None:
    """However long the run; who asks from elsewhere gets what is there."""
    lab = open_lab(tmp_path)
    write_json_atomic(lab.run_dir("r1") / "run.json", SPEC.to_json())
    run = Run(lab, "r1")
    recorder = Recorder("r1", JournalWriter(lab, "r1"))
    recorder.enter(RunState.STARTING)
    assert [event.sequence for event in run.events()] == [0]
    with journal(lab).open("r+b") as file:
        file.write(b" " * 20)  # what was read may be gone by now
    recorder.enter(RunState.RUNNING)
    assert [event.sequence for event in run.events(after=0)] == [1]
    assert run.events(after=1) == []
    recorder.enter(RunState.STOPPED)
    recorder.close()
    assert [event.sequence for event in run.events(after=1)] == [2]
    assert [event.sequence for event in run.events()] == [1, 2]
