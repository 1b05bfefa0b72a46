"""What a run process does for the store: full journals, ended runs, samples of its use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flip_lab.core.events import EventKind, MetricSeries, RunEvent
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign, resources
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.resources import ResourceSampler
from flip_lab.runs.sealing import FullJournals, ended_runs, seal_ended
from flip_lab.store import journal
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter, journals
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic
from flip_lab.store.manifest import compacting, read_manifest
from flip_lab.store.query import table

SERIES = MetricSeries(
    phase="train", scope="central", server_rounds=[1], names=["loss"], values=[0.5]
)


@pytest.fixture
def lab(lab_path: Path) -> LabDir:
    """Give a new lab."""
    return open_lab(lab_path)


def test_full_journals_are_sealed_behind_the_run(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is busy now is sealed with the next one; nothing is lost or doubled."""
    monkeypatch.setattr(journal, "_ROLL_BYTES", 1)
    full = FullJournals(lab, "r")
    with closing(JournalWriter(lab, "r", rolled=full)) as writer:
        recorder = Recorder("r", writer)
        with compacting(lab):
            recorder.log(SERIES)
            recorder.log(SERIES)
            assert not read_manifest(lab).segments
        recorder.log(SERIES)
        full.close()
        parts = read_manifest(lab).parts("r")
        assert sum(len(part.sources) for part in parts) == 3
        assert parts[-1].last == 2
        recorder.log(SERIES)
    assert len(journals(lab, "r")) == 1, "the one that filled up since, and no empty one"
    assert [event.sequence for event in read_events(lab, "r")] == [0, 1, 2, 3]
    assert len(table(lab, "metrics")) == 4


def end_run(lab: LabDir, run_id: str) -> None:
    """Leave what a run leaves that has completed."""
    with closing(JournalWriter(lab, run_id)) as writer:
        recorder = Recorder(run_id, writer)
        for state in (RunState.STARTING, RunState.RUNNING, RunState.COMPLETED):
            recorder.enter(state)
        recorder.close()
    spec = {"run_id": run_id, "name": "x", "seed": 0, "created_s": 1.0}
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec)
    life_sign.mark_ended(lab.run_dir(run_id))


def test_ended_runs_are_sealed_once_there_are_enough(lab: LabDir) -> None:
    """Not the one that still lives, and not before it pays."""
    names = [f"r{number:02}" for number in range(17)]
    for name in names:
        end_run(lab, name)
    with life_sign.held_lock(lab.run_dir("r03")):
        assert ended_runs(lab) == [name for name in sorted(names) if name != "r03"]
        seal_ended(lab)
    assert read_manifest(lab).closed_runs == set(names) - {"r03"}
    assert ended_runs(lab) == ["r03"]
    seal_ended(lab)
    assert read_manifest(lab).generation == 1, "one run alone does not pay"
    assert table(lab, "runs")["state"].tolist() == ["completed"] * 17


def test_a_lab_that_cannot_be_sealed_does_not_fail_the_run(
    lab: LabDir, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the run's log."""
    lab.root.joinpath("MANIFEST.json").write_text("{")
    with caplog.at_level("INFO", logger="flip_lab.run"):
        seal_ended(lab)
    assert "left as it is" in caplog.text


def test_samples_tell_what_a_run_uses(lab: LabDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some while it runs, the last at its end, in the round that it was in."""
    monkeypatch.setattr(resources, "_EVERY_S", 0.01)
    with closing(JournalWriter(lab, "r")) as writer:
        recorder = Recorder("r", writer)
        sampler = ResourceSampler(recorder, lab.root)
        sampler.start()
        recorder.emit(EventKind.ROUND_STARTED, {"num_rounds": 4}, server_round=3)
        wait_for(lambda: recorder.last >= 2)
        sampler.close()
        sampler.close()
        recorder.close()
    samples = [event for event in read_events(lab, "r") if is_sample(event)]
    assert samples[-1].server_round == 3
    assert set(samples[-1].body) == {
        "cpu_percent",
        "rss_mib",
        "num_processes",
        "disk_free_mib",
    }
    assert float(str(samples[-1].body["rss_mib"])) > 10
    frame = table(lab, "resources")
    assert set(frame["name"]) == set(samples[-1].body)
    assert len(frame) == 4 * len(samples)


def is_sample(event: RunEvent) -> bool:
    """Say whether an event is a sample."""
    return event.kind is EventKind.RESOURCE


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait for something that comes."""
    while not is_so():
        pass
