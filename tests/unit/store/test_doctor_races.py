"""A run that goes on while its lab is compacted loses nothing, whoever comes first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from flip_lab.core.events import EventKind, RunEvent
from flip_lab.runs import life_sign
from flip_lab.runs.care import compact_lab
from flip_lab.runs.run import Run
from flip_lab.store import compaction
from flip_lab.store.compaction import reopen
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import Segment, compacting, read_manifest
from flip_lab.store.snapshot import Snapshot


def go_on(lab: LabDir, run_id: str) -> int:
    """Open a run again and record one more event of it; give its sequence."""
    reopen(lab, run_id)
    with closing(JournalWriter(lab, run_id)) as writer:
        sequence = writer.next_sequence
        event = RunEvent(
            run_id=run_id,
            sequence=sequence,
            time_s=1.0,
            server_round=0,
            kind=EventKind.WARNING,
            body={"code": "FLIP-000", "message": "more"},
        )
        writer.append([event])
    return sequence


def test_a_run_that_goes_on_before_its_turn_is_not_sealed(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """Who compacts may have waited long since it looked which runs have ended."""
    run_id = make_run("r").run_id
    thread = threading.Thread(target=compact_lab, args=[lab_dir])
    with ExitStack() as stack:
        with compacting(lab_dir):
            thread.start()
            time.sleep(0.5)  # until it waits; too short only makes the test easier
            stack.enter_context(life_sign.held_lock(lab_dir.run_dir(run_id)))
        thread.join()
        assert read_manifest(lab_dir).closed_runs == frozenset()
        last = go_on(lab_dir, run_id)
    assert read_events(lab_dir, run_id)[-1].sequence == last


def test_a_run_that_is_being_sealed_goes_on_afterwards(
    lab_dir: LabDir, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written meanwhile would go with the journals that were sealed."""
    run_id = make_run("r").run_id
    is_written, go = threading.Event(), threading.Event()
    real = compaction.seal_runs

    def slow(snapshot: Snapshot) -> Segment:
        segment = real(snapshot)
        is_written.set()
        assert go.wait(120.0)
        return segment

    monkeypatch.setattr(compaction, "seal_runs", slow)
    told: list[int] = []
    sealer = threading.Thread(target=compact_lab, args=[lab_dir])
    goer = threading.Thread(target=lambda: told.append(go_on(lab_dir, run_id)))
    sealer.start()
    assert is_written.wait(120.0)
    goer.start()
    time.sleep(0.3)  # until it waits; too short only makes the test easier
    go.set()
    sealer.join()
    goer.join()
    assert read_events(lab_dir, run_id)[-1].sequence == told[0]
