"""The run's only writer: sequences without a gap, and nothing lost on the way."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from flip_lab.core.errors import (
    ClientsFailedError,
    IllegalTransitionError,
    SecondWriterError,
    StoreError,
)
from flip_lab.core.events import EventKind, MetricSeries, RunEvent
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs.recorder import Recorder
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab


class Sink:
    """Keeps batches in memory; refuses them while ``is_full``."""

    def __init__(self) -> None:
        self.batches: list[list[RunEvent]] = []
        self.is_full = False
        self.is_closed = False

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep a batch.

        Raises:
            StoreError: While the disk is full.
        """
        if self.is_full:
            raise StoreError("The disk is full.", fix="Free some space.")
        self.batches.append(list(events))

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Keep a series as a batch of its own.

        Raises:
            StoreError: While the disk is full.
        """
        first = len(self.sequences())
        self.append(
            RunEvent(
                run_id="r1",
                sequence=first + at,
                time_s=time_s,
                server_round=server_round,
                kind=EventKind.METRIC,
                body={"name": name, "value": value},
            )
            for at, (server_round, name, value) in enumerate(
                zip(series.server_rounds, series.names, series.values, strict=True)
            )
        )

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    def sequences(self) -> list[int]:
        """Give what was kept."""
        return [event.sequence for event in chain(*self.batches)]


@pytest.fixture
def lab(lab_path: object) -> LabDir:
    """Give an empty lab."""
    return open_lab(str(lab_path))


def note(recorder: Recorder, value: int = 0) -> None:
    """Record a fact that is in no hurry."""
    body = {"phase": "train", "scope": "central", "name": "x", "value": value}
    recorder.emit(EventKind.METRIC, body, server_round=1)


def test_sequences_have_no_gap_however_many_threads_write(lab: LabDir) -> None:
    """Flower's older server records from many threads; the journal takes no gap."""
    recorder = Recorder("r1", JournalWriter(lab, "r1"))

    def many(value: int) -> None:
        for _ in range(200):
            note(recorder, value)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many, range(8)))
    recorder.close()
    events = read_events(lab, "r1")
    assert [event.sequence for event in events] == list(range(1600))
    times = [event.time_s for event in events]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "kind", [EventKind.STATE, EventKind.ROUND_ENDED, EventKind.ARTIFACT]
)
def test_what_matters_is_kept_at_once_with_all_before_it(kind: EventKind) -> None:
    """When a state is seen, so is everything that led to it."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    note(recorder)
    recorder.emit(kind, {"state": "starting"}, server_round=0)
    assert sink.sequences() == [0, 1]
    recorder.close()


def test_nothing_waits_for_long() -> None:
    """A thread keeps what no hurried event took along."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    note(recorder)
    for _ in range(1000):
        if sink.batches:
            break
        time.sleep(0.02)
    assert sink.sequences() == [0]
    recorder.close()


def test_a_full_disk_loses_nothing() -> None:
    """Events go on waiting, in order, until they can be kept."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    sink.is_full = True
    note(recorder)
    with pytest.raises(StoreError, match="disk is full"):
        recorder.enter(RunState.STARTING)
    sink.is_full = False
    recorder.close()
    assert sink.sequences() == [0, 1]
    assert sink.is_closed


def test_closing_lets_go_even_when_nothing_can_be_kept() -> None:
    """The journal's lock must not stay with a process that could not write."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    sink.is_full = True
    note(recorder)
    with pytest.raises(StoreError):
        recorder.close()
    assert sink.is_closed


def test_a_failure_is_recorded_with_all_it_says() -> None:
    """What a handle later raises again."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    error = ClientsFailedError("All failed.", fix="Mend it.", detail="Traceback")
    recorder.enter(RunState.FAILED, error)
    assert sink.batches[0][0].body == {
        "state": "failed",
        "code": "FLIP-303",
        "what": "All failed.",
        "fix": "Mend it.",
        "detail": "Traceback",
    }
    recorder.close()


def test_an_illegal_step_is_not_recorded() -> None:
    """A run that has ended stays ended."""
    sink = Sink()
    recorder = Recorder("r1", sink, life=RunLife((RunState.FAILED,)))
    with pytest.raises(IllegalTransitionError):
        recorder.enter(RunState.RUNNING)
    recorder.close()
    assert sink.sequences() == []


def test_a_run_has_one_writer(lab: LabDir) -> None:
    """A second one is refused while the first lives, and goes on after it."""
    first = Recorder("r1", JournalWriter(lab, "r1"))
    first.enter(RunState.STARTING)
    with pytest.raises(SecondWriterError):
        JournalWriter(lab, "r1")
    first.close()
    second = Recorder("r1", JournalWriter(lab, "r1"), first=1, life=first.life)
    second.enter(RunState.RUNNING)
    second.close()
    assert [event.sequence for event in read_events(lab, "r1")] == [0, 1]


def test_a_series_comes_after_what_was_waiting() -> None:
    """Sequences follow each other, and a disk that is full costs nothing."""
    sink = Sink()
    recorder = Recorder("r1", sink)
    series = MetricSeries(
        phase="train",
        scope="central",
        server_rounds=[1, 1],
        names=["a", "b"],
        values=[0.5, 0.25],
    )
    recorder.emit(EventKind.WARNING, {}, server_round=0)
    sink.is_full = True
    with pytest.raises(StoreError):
        recorder.log(series)
    sink.is_full = False
    recorder.log(series)
    recorder.emit(EventKind.WARNING, {}, server_round=0)
    recorder.close()
    assert [len(batch) for batch in sink.batches] == [1, 2, 1]
    assert sink.sequences() == [0, 1, 2, 3]
