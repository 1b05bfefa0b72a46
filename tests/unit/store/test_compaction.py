"""Sealing and merging move facts without changing what the tables say."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import (
    CorruptArtifactError,
    StoreBusyError,
    StoreError,
    StoreFormatError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store import journal as journal_module
from flip_lab.store.compaction import (
    compact,
    drop_runs,
    leftovers,
    reopen,
    seal_full,
    try_compact,
)
from flip_lab.store.events import EventTail, read_events
from flip_lab.store.journal import RESUMER, JournalWriter, journals, last_sequence
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.store.manifest import compacting, manifest_path, read_manifest
from flip_lab.store.query import sql, table
from flip_lab.store.schema import TABLES
from flip_lab.store.sealing_due import is_due

T0 = 1_700_000_000.0
Story = Callable[[str, int, int], list[RunEvent]]


def told(run_id: str, first: int, count: int) -> list[RunEvent]:
    """Give so many metric events of a run, from a sequence on."""
    body = {"phase": "train", "scope": "federated", "name": "train_loss"}
    return [
        RunEvent(
            run_id=run_id,
            sequence=sequence,
            time_s=T0 + sequence,
            server_round=sequence,
            kind=EventKind.METRIC,
            body={**body, "value": sequence / 8},
        )
        for sequence in range(first, first + count)
    ]


def keep(lab: LabDir, run_id: str, count: int = 6) -> None:
    """Write a run of a few events."""
    with closing(JournalWriter(lab, run_id)) as writer:
        writer.append(told(run_id, 0, count))
    spec = {"run_id": run_id, "name": run_id, "seed": 1, "created_s": T0}
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec)


def contents(lab: LabDir) -> dict[str, list[dict[str, Any]]]:
    """Give all tables."""
    return {name: table(lab, name, as_="rows") for name in TABLES}


def test_merged_segments_say_the_same(lab: LabDir) -> None:
    """Eight small segments become one, without the run that was dropped."""
    names = [f"r{number}" for number in range(9)]
    for name in names:
        keep(lab, name)
    before = contents(lab)
    events = {name: read_events(lab, name) for name in names}
    for name in names[:7]:
        compact(lab, [name], grace_s=0.0)
    assert contents(lab) == before
    drop_runs(lab, ["r3"])
    compact(lab, ["r7"], grace_s=0.0)
    assert [each.level for each in read_manifest(lab).segments] == [0] * 7
    done = compact(lab, ["r8"], grace_s=0.0)
    assert (done.num_sealed, done.num_merged) == (1, 8)
    [segment] = read_manifest(lab).segments
    assert (segment.level, len(segment.run_ids)) == (1, 8)
    del before["experiments"]
    for name, rows in before.items():
        left = [row for row in rows if row.get("run_id") != "r3"]
        assert [
            row for row in table(lab, name, as_="rows") if row.get("run_id") != "r3"
        ] == left
    assert sql(lab, "SELECT * FROM metrics WHERE run_id = 'r3'").empty
    assert {name: read_events(lab, name) for name in names if name != "r3"} == {
        name: found for name, found in events.items() if name != "r3"
    }
    assert [path.name for path in leftovers(lab)] == []


def test_a_full_journal_is_sealed_while_the_run_goes_on(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that follows the run misses nothing, whenever it looks."""
    monkeypatch.setattr(journal_module, "_ROLL_BYTES", 300)
    full: list[Path] = []
    tail = EventTail(lab, "run")
    seen: list[RunEvent] = []
    with closing(JournalWriter(lab, "run", rolled=full.append)) as writer:
        for first in range(0, 12, 2):
            writer.append(told("run", first, 2))
            seen += tail.poll() if first % 4 else []
            if first in {4, 8}:
                seal_full(lab, "run", full)
                assert not any(path.exists() for path in full)
                full.clear()
        seen += tail.poll()
        assert [event.sequence for event in seen] == list(range(12))
        assert read_events(lab, "run") == told("run", 0, 12)
        assert read_events(lab, "run", after=4) == told("run", 5, 7)
        assert table(lab, "metrics")["sequence"].tolist() == list(range(12))
    assert len(read_manifest(lab).parts("run")) == 2
    assert last_sequence(lab, "run") == 11
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(told("run", 12, 1))
    assert compact(lab, ["run"], grace_s=0.0).num_sealed == 1
    assert read_events(lab, "run") == told("run", 0, 13)
    assert not read_manifest(lab).parts("run")


def test_a_sealed_run_can_go_on(lab: LabDir) -> None:
    """It is taken out of its segment; what it superseded is told apart afterwards, too."""
    keep(lab, "a")
    keep(lab, "b")
    compact(lab, ["a", "b"])
    with pytest.raises(StoreError, match="sealed"):
        JournalWriter(lab, "a")
    reopen(lab, "a")
    reopen(lab, "a")
    state = RunEvent(
        run_id="a",
        sequence=6,
        time_s=T0,
        server_round=0,
        kind=EventKind.STATE,
        body={"state": "pending", "resumed_after": 3},
    )
    with closing(JournalWriter(lab, "a", role=RESUMER)) as writer:
        writer.append([state])
    for _ in range(2):
        assert table(lab, "metrics", run_ids=["a"])["sequence"].tolist() == [0, 1, 2, 3]
        assert table(lab, "events", run_ids=["a"])["sequence"].tolist() == [*range(7)]
        compact(lab, ["a"])
    reopen(lab, "a")
    assert table(lab, "metrics", run_ids=["a"])["sequence"].tolist() == [0, 1, 2, 3]
    assert last_sequence(lab, "a") == 6
    assert table(lab, "metrics", run_ids=["b"])["sequence"].tolist() == [*range(6)]


@pytest.mark.parametrize("kind", ["changed", "missing"])
def test_damage_is_not_sealed(lab: LabDir, kind: str) -> None:
    """A number that decayed, or a line that went: the run stays as it is, and is named."""
    keep(lab, "good")
    with closing(JournalWriter(lab, "bad")) as writer:
        writer.append(told("bad", 0, 3))
        writer.append(told("bad", 3, 3))
        writer.append(told("bad", 6, 3))
    [path] = journals(lab, "bad")
    lines = path.read_bytes().splitlines(keepends=True)
    if kind == "changed":
        lines[1] = lines[1].replace(b"0.5", b"0.6")
    else:
        del lines[1]
    path.write_bytes(b"".join(lines))
    done = compact(lab, ["good", "bad"])
    assert done.num_sealed == 1
    assert list(done.damaged) == ["bad"]
    assert path.exists()


def test_only_one_rearranges_a_lab(lab: LabDir) -> None:
    """The second waits, or says who is at it."""
    keep(lab, "a")
    with (
        compacting(lab),
        pytest.raises(StoreBusyError, match=f"process {os.getpid()}"),
    ):
        compact(lab, ["a"], patience_s=0.0)
    assert compact(lab, ["a"]).num_sealed == 1


def test_a_forked_child_does_not_keep_the_lab_to_itself(lab: LabDir) -> None:
    """A data loader's worker, forked while a journal is sealed, copies the open file."""
    with compacting(lab):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with compacting(lab, patience_s=0.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_who_makes_room_on_a_full_disk_may_begin(lab: LabDir) -> None:
    """The lock is held, though its file cannot say by whom."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with compacting(lab), pytest.raises(StoreBusyError, match="just now"):
            compact(lab, [], patience_s=0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_small_labs_are_left_alone(lab: LabDir) -> None:
    """Sealing pays from sixteen ended runs on, or when their journals are large."""
    names = [f"r{number}" for number in range(16)]
    for name in names:
        keep(lab, name, count=1)
    assert not is_due(lab, names[:15])
    assert is_due(lab, names)
    with compacting(lab):
        try_compact(lab, names)  # somebody else is at it
    assert read_manifest(lab).generation == 0
    try_compact(lab, names)
    assert read_manifest(lab).closed_runs == set(names)


def test_a_newer_or_damaged_manifest_is_refused(lab: LabDir) -> None:
    """Nothing is read that might be misunderstood."""
    keep(lab, "a")
    compact(lab, ["a"])
    path = manifest_path(lab)
    good = path.read_text()
    path.write_text(good.replace('"schema": 1', '"schema": 99'))
    with pytest.raises(StoreFormatError, match="version 99"):
        table(lab, "runs")
    path.write_text(good[: len(good) // 2])
    with pytest.raises(CorruptArtifactError, match="doctor"):
        table(lab, "runs")


def test_a_segment_that_is_cut_short_is_noticed(lab: LabDir) -> None:
    """The error says where to look."""
    keep(lab, "a")
    compact(lab, ["a"])
    [segment] = read_manifest(lab).segments
    path = lab.segments / segment.name / "metric.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match="doctor"):
        table(lab, "metrics")


WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store import compaction
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab

lab = open_lab(sys.argv[1])
for number in range(int(sys.argv[2]), 10_000):
    run_id = f"r{number:05}"
    body = {"phase": "train", "scope": "central", "name": "loss", "value": 1.5}
    with closing(JournalWriter(lab, run_id)) as writer:
        for sequence in range(20):
            writer.append([RunEvent(run_id=run_id, sequence=sequence, time_s=1.0,
                server_round=sequence, kind=EventKind.METRIC, body=body)])
            print(run_id, sequence, flush=True)
    compaction.compact(lab, [f"r{known:05}" for known in range(number + 1)], grace_s=0.0)
"""


def test_nothing_is_lost_or_doubled_by_kills(lab: LabDir, tmp_path: Path) -> None:
    """Killed while writing, sealing, merging or sweeping: every fact is there, once."""
    program = tmp_path / "writer.py"
    program.write_text(WRITER)
    acknowledged: set[tuple[str, int]] = set()
    first = 0
    for attempt in range(12):
        with subprocess.Popen(
            [sys.executable, str(program), str(lab.root), str(first)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            output = process.stdout
            assert output is not None
            acknowledged.add(tuple_of(output.readline()))
            time.sleep(0.05 + 0.13 * (attempt * 7 % 12))
            process.send_signal(signal.SIGKILL)
            acknowledged |= {tuple_of(line) for line in output if line.endswith("\n")}
        first = max(int(run_id[1:]) for run_id, _ in acknowledged) + 1
        found = sql(lab, "SELECT run_id, sequence FROM events", as_="rows")
        pairs = [(row["run_id"], row["sequence"]) for row in found]
        assert len(pairs) == len(set(pairs))
        assert acknowledged <= set(pairs)


def tuple_of(line: str) -> tuple[str, int]:
    """Read what the writer acknowledged."""
    run_id, sequence = line.split()
    return run_id, int(sequence)
