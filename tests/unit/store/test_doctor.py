"""The doctor finds what is wrong, mends it, and throws nothing away."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.clock import now_s
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.runs import life_sign
from flip_lab.runs.artifacts import add_artifact
from flip_lab.runs.care_examining import examine, repair
from flip_lab.runs.commands import send_command
from flip_lab.runs.run import Run
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.blobs import Blobs
from flip_lab.store.compaction import compact, reopen
from flip_lab.store.doctor import Ailment
from flip_lab.store.events import read_events
from flip_lab.store.frames import encode
from flip_lab.store.journal import JournalWriter, journals
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import (
    Manifest,
    compacting,
    manifest_path,
    publish,
    read_manifest,
)
from flip_lab.store.query import table
from flip_lab.store.schema import TABLES

Make = Callable[..., Run]


@pytest.fixture
def make(make_run: Callable[..., Run]) -> Make:
    """Give a maker of runs with ids of their own."""
    numbers = count()
    return lambda: make_run(f"run-{next(numbers)}")


def kinds(lab: LabDir) -> set[Ailment]:
    """Say what is wrong with a lab."""
    return {finding.kind for finding in examine(lab)}


def contents(lab: LabDir) -> dict[str, list[dict[str, Any]]]:
    """Give all tables."""
    return {name: table(lab, name, as_="rows") for name in TABLES}


def journal(lab: LabDir, run_id: str) -> tuple[Path, list[bytes]]:
    """Give the largest journal of a run, and its lines."""
    path = max(journals(lab, run_id), key=lambda each: each.stat().st_size)
    return path, path.read_bytes().splitlines(keepends=True)


def set_aside(lab: LabDir) -> bytes:
    """Give all that was set aside."""
    files = sorted(p for p in (lab.root / "damaged").rglob("*") if p.is_file())
    return b"".join(path.read_bytes() for path in files)


def old(path: Path) -> Path:
    """Let a file be two hours old."""
    os.utime(path, (now_s() - 7200, now_s() - 7200))
    return path


def metric(run_id: str, sequence: int) -> RunEvent:
    """Give one more event of a run."""
    body = {"phase": "train", "scope": "federated", "name": "more", "value": 1.0}
    return RunEvent(
        run_id=run_id,
        sequence=sequence,
        time_s=1.0,
        server_round=1,
        kind=EventKind.METRIC,
        body=body,
    )


def test_a_sound_lab_has_no_findings(lab_dir: LabDir, make: Make) -> None:
    """Sealed, reopened and live runs, kept files, an archive and a trash."""
    ids = [make().run_id for _ in range(4)]
    compact(lab_dir, ids[:3], grace_s=0.0)
    reopen(lab_dir, ids[0])
    append_audit(lab_dir, "delete", run_ids=[ids[1]])
    append_audit(lab_dir, "archive", run_ids=[ids[2]])
    assert examine(lab_dir) == []
    assert repair(lab_dir, []) == []


DAMAGES = {
    "torn": {Ailment.TORN_LINE},
    "changed": {Ailment.CHANGED_LINE, Ailment.MISSING_EVENTS},
    "missing": {Ailment.MISSING_EVENTS},
    "twice": {Ailment.REPEATED_EVENTS},
    "garbage": {Ailment.TORN_LINE, Ailment.MISSING_EVENTS},
}


def damage(lines: list[bytes], kind: str) -> bytes:
    """Damage a journal in the middle, or at the end; give what was there."""
    where = len(lines) // 2
    middle = lines[where]
    if kind == "torn":
        lines.append(middle[:-9])
    elif kind == "changed":
        lines[where] = middle.replace(b'"time_s":[', b'"time_s":[1')
    elif kind == "missing":
        del lines[where]
    elif kind == "twice":
        lines.append(middle)
    else:
        lines[where] = b"\0" * len(middle) + b"\n"
    return lines[-1] if kind in {"torn", "twice"} else lines[where]


@pytest.mark.parametrize("kind", [*DAMAGES])
def test_lines_are_mended(lab_dir: LabDir, make: Make, kind: str) -> None:
    """The rest of the run stays, can be sealed, and says what it lost."""
    run_id = make().run_id
    before = read_events(lab_dir, run_id)
    path, lines = journal(lab_dir, run_id)
    bad = damage(lines, kind).rstrip(b"\n")
    path.write_bytes(b"".join(lines))
    assert kinds(lab_dir) == DAMAGES[kind]
    assert repair(lab_dir, examine(lab_dir)) == []
    after = read_events(lab_dir, run_id)
    assert [event.sequence for event in after] == [event.sequence for event in before]
    lost = [new for new, was in zip(after, before, strict=True) if new != was]
    assert all(event.kind is EventKind.WARNING for event in lost)
    assert bool(lost) == (kind not in {"torn", "twice"})
    assert kind == "missing" or bad in set_aside(lab_dir)
    assert compact(lab_dir, [run_id]).damaged == {}
    assert examine(lab_dir) == []


def test_a_run_that_is_written_is_left_alone(lab_dir: LabDir, make: Make) -> None:
    """A line that is being written is no torn one."""
    run = make()
    with closing(JournalWriter(lab_dir, run.run_id)) as writer:
        first = writer.next_sequence
        writer.append([metric(run.run_id, first)])
        line = encode([metric(run.run_id, first + 1)])
        path = min(journals(lab_dir, run.run_id), key=lambda each: each.stat().st_size)
        with path.open("ab") as file:
            file.write(line[:-20])
        assert kinds(lab_dir) == set()
    assert kinds(lab_dir) == {Ailment.TORN_LINE}


def test_newer_lines_are_told_and_kept(lab_dir: LabDir, make: Make) -> None:
    """Only a newer version can say what they hold."""
    run_id = make().run_id
    path, lines = journal(lab_dir, run_id)
    path.write_bytes(b"".join(lines).replace(b'{"v":1', b'{"v":9'))
    before = path.read_bytes()
    assert Ailment.NEWER_FORMAT in kinds(lab_dir)
    repair(lab_dir, examine(lab_dir))
    assert path.read_bytes() == before


@pytest.fixture
def layered(lab_dir: LabDir, make: Make) -> list[str]:
    """Give nine runs: seven sealed alone, then eight merged, one reopened, one removed.

    The segments that were merged still lie there, and so does a journal that a kill
    between publishing and sweeping left.
    """
    ids = [make().run_id for _ in range(9)]
    for run_id in ids[:7]:
        compact(lab_dir, [run_id])
    shutil.copyfile(manifest_path(lab_dir), lab_dir.root / "older")
    shutil.copytree(lab_dir.live_dir(ids[7]), lab_dir.root / "kept")
    compact(lab_dir, ids[7:8])
    assert len(list(lab_dir.segments.iterdir())) == 9
    reopen(lab_dir, ids[2])
    with closing(JournalWriter(lab_dir, ids[2])) as writer:
        writer.append([metric(ids[2], writer.next_sequence)])
    (lab_dir.root / "kept").rename(lab_dir.live_dir(ids[7]))
    append_audit(lab_dir, "empty_trash", body={"run_ids": [ids[3]]})
    shutil.rmtree(lab_dir.run_dir(ids[3]))
    return ids


@pytest.mark.parametrize("how", ["gone", "torn", "empty", "too old"])
def test_a_manifest_is_made_anew(lab_dir: LabDir, layered: list[str], how: str) -> None:
    """From what the segments say of themselves: nothing twice, nothing lost."""
    before = contents(lab_dir)
    path = manifest_path(lab_dir)
    if how == "gone":
        path.unlink()
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(b"{}" if how == "empty" else (lab_dir.root / "older").read_bytes())
        # Only when the journal is gone, too, does an older manifest lose a run.
        shutil.rmtree(lab_dir.live_dir(layered[7]))
    assert Ailment.MANIFEST_DAMAGED in kinds(lab_dir)
    assert repair(lab_dir, examine(lab_dir)) == []
    assert contents(lab_dir) == before
    counting = [r for each in read_manifest(lab_dir).segments for r in each.counting]
    assert len(counting) == len(set(counting))
    compact(lab_dir, layered, grace_s=0.0)
    assert contents(lab_dir) == before


def test_a_lost_manifest_costs_nothing(lab_dir: LabDir, make: Make) -> None:
    """As long as it is gone nothing is sealed and, above all, nothing is swept."""
    run_id = make().run_id
    compact(lab_dir, [run_id])
    manifest_path(lab_dir).unlink()
    with pytest.raises(Exception, match="doctor"):
        compact(lab_dir, [])
    assert len(list(lab_dir.segments.glob("[!.]*"))) == 1


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("runs", "cut"),
        ("rounds", "gone"),
        ("client_metrics", "changed"),
        ("client", "changed"),
        ("client", "gone"),
        ("metric", "cut"),
    ],
)
def test_a_damaged_segment_is_mended(
    lab_dir: LabDir, make: Make, name: str, how: str
) -> None:
    """Tables are made anew from the facts; facts that are lost are set aside."""
    ids = [make().run_id for _ in range(2)]
    compact(lab_dir, ids, grace_s=0.0)
    before = contents(lab_dir)
    [segment] = read_manifest(lab_dir).segments
    path = lab_dir.segments / segment.name / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // (2 if how == "cut" else 1)])
    assert kinds(lab_dir) >= {Ailment.SEGMENT_DAMAGED}
    assert repair(lab_dir, examine(lab_dir)) == []
    after = contents(lab_dir)
    if name in {"runs", "client_metrics", "rounds"}:
        assert after == before
    else:
        lost = {"client": "clients", "metric": "metrics"}[name]
        assert after[lost] == []
        assert after["runs"] == before["runs"]
        assert after["run_metrics"] == before["run_metrics"]
        assert after["client_metrics"] == before["client_metrics"]
    if how == "changed":
        assert bytes(content) in set_aside(lab_dir)


def test_a_segment_that_is_gone_counts_no_more(lab_dir: LabDir, make: Make) -> None:
    """The other runs can be read again."""
    ids = [make().run_id for _ in range(2)]
    for run_id in ids:
        compact(lab_dir, [run_id], grace_s=0.0)
    gone = read_manifest(lab_dir).home(ids[0])
    assert gone is not None
    shutil.rmtree(lab_dir.segments / gone.name)
    assert Ailment.SEGMENT_MISSING in kinds(lab_dir)
    left = repair(lab_dir, examine(lab_dir))
    assert all(finding.run_id == ids[0] for finding in left)
    assert [row["run_id"] for row in table(lab_dir, "rounds", as_="rows")] == [ids[1]] * 2


def test_a_segment_is_described_anew(lab_dir: LabDir, make: Make) -> None:
    """As the manifest knows it."""
    compact(lab_dir, [make().run_id])
    [segment] = read_manifest(lab_dir).segments
    (lab_dir.segments / segment.name / "segment.json").unlink()
    assert kinds(lab_dir) == {Ailment.SEGMENT_UNDESCRIBED}
    assert repair(lab_dir, examine(lab_dir)) == []


def test_what_was_left_behind_is_removed(lab_dir: LabDir, make: Make) -> None:
    """Drafts, segments nobody knows, journals of sealed runs, runs that were removed."""
    ids = [make().run_id for _ in range(3)]
    copy = lab_dir.root / "copy"
    shutil.copytree(lab_dir.live_dir(ids[0]), copy)
    compact(lab_dir, ids[:2], grace_s=0.0)
    copy.rename(lab_dir.live_dir(ids[0]))
    (lab_dir.segments / ".abc").mkdir()
    (lab_dir.segments / "abc").mkdir()
    append_audit(lab_dir, "empty_trash", body={"run_ids": [ids[2]]})
    (lab_dir.root / ".import-1").mkdir()
    for path in (
        lab_dir.root / ".MANIFEST.json.1-2.tmp",
        lab_dir.run_dir(ids[0]) / ".run.json.1-2.tmp",
    ):
        path.touch()
        old(path)
    young = lab_dir.root / ".lab.json.1-2.tmp"
    young.touch()
    old(lab_dir.root / ".import-1")
    unused = old(Blobs(lab_dir).place(Blobs(lab_dir).put(b"of nobody").sha256))
    before = contents(lab_dir)
    assert kinds(lab_dir) == {Ailment.LEFTOVER, Ailment.DRAFT, Ailment.BLOBS_UNUSED}
    assert repair(lab_dir, examine(lab_dir)) == []
    assert contents(lab_dir) == before
    assert not unused.exists()
    assert young.exists()
    assert not lab_dir.run_dir(ids[2]).exists()
    assert not lab_dir.live_dir(ids[0]).exists()
    names = {path.name for path in lab_dir.segments.glob("[!.]*")}
    assert names == {each.name for each in read_manifest(lab_dir).segments}


def test_nothing_is_judged_while_somebody_rearranges(lab_dir: LabDir, make: Make) -> None:
    """What looks left behind may be just made."""
    make()
    (lab_dir.segments / "just-made").mkdir(parents=True)
    publish(lab_dir, Manifest())
    with compacting(lab_dir):
        assert kinds(lab_dir) == set()
    assert kinds(lab_dir) == {Ailment.LEFTOVER}


def test_kept_files_are_compared_with_their_hashes(lab_dir: LabDir, make: Make) -> None:
    """A damaged one is set aside, so that it can be kept anew; one that is gone is told."""
    run = make()
    kept = add_artifact(lab_dir, run.run_id, "model", b"a model")
    path = Blobs(lab_dir).place(kept.sha256)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert kinds(lab_dir) == {Ailment.BLOB_DAMAGED}
    left = repair(lab_dir, examine(lab_dir))
    assert [(finding.kind, finding.run_id) for finding in left] == [
        (Ailment.BLOB_MISSING, run.run_id)
    ]
    assert content[:-1] in set_aside(lab_dir)


def test_a_dead_run_gets_its_end(lab_dir: LabDir, make: Make) -> None:
    """Also one that is wrongly marked as ended; commands to it are removed."""
    run_id = make().run_id
    path, lines = journal(lab_dir, run_id)
    path.write_bytes(b"".join(lines[:-1]))
    run_dir = lab_dir.run_dir(run_id)
    life_sign.forget_end(run_dir)
    life_sign.mark_ended(run_dir)
    send_command(run_dir, "stop")
    assert kinds(lab_dir) == {
        Ailment.END_UNTRUE,
        Ailment.RUN_LOST,
        Ailment.COMMAND_STALE,
    }
    with life_sign.held_lock(run_dir):
        assert kinds(lab_dir) == set()
    assert repair(lab_dir, examine(lab_dir)) == []
    error = Run(lab_dir, run_id).error
    assert error is not None
    assert error.code == "FLIP-305"


def test_runs_that_cannot_be_read_are_told(lab_dir: LabDir, make: Make) -> None:
    """Only a backup helps; what is there stays."""
    ids = [make().run_id for _ in range(2)]
    (lab_dir.run_dir(ids[0]) / "run.json").write_text("{")
    shutil.rmtree(lab_dir.run_dir(ids[1]))
    expected = {Ailment.RUN_UNREADABLE, Ailment.JOURNAL_ALONE}
    assert kinds(lab_dir) == expected
    assert {f.kind for f in repair(lab_dir, examine(lab_dir))} == expected
    assert journals(lab_dir, ids[1])


def test_the_log_and_the_clock_are_looked_at(lab_dir: LabDir, make: Make) -> None:
    """A changed line is told and kept as evidence; a wrong clock is no damage."""
    run_id = make().run_id
    for _ in range(3):
        append_audit(lab_dir, "archive", run_ids=[run_id])
    path = lab_dir.root / "audit.jsonl"
    path.write_text(path.read_text().replace('"archive"', '"unarchive"', 1))
    with closing(JournalWriter(lab_dir, run_id)) as writer:
        event = metric(run_id, writer.next_sequence)
        future = now_s() + 1e6
        object.__setattr__(event, "time_s", future)
        writer.append([event])
    before = path.read_bytes()
    found = repair(lab_dir, examine(lab_dir))
    assert {finding.kind for finding in found} == {Ailment.LOG_FLAW, Ailment.CLOCK}
    assert [finding.kind for finding in found if finding.is_note] == [Ailment.CLOCK]
    assert path.read_bytes() == before


REPAIRER = """
import sys
from flip_lab.runs.care_examining import examine, repair
from flip_lab.store.layout import open_lab

lab = open_lab(sys.argv[1], create=False)
print("ready", flush=True)
repair(lab, examine(lab))
"""


def test_a_repair_that_is_killed_can_be_done_again(
    lab_dir: LabDir, make: Make, tmp_path: Path
) -> None:
    """At any instant; what can be read before can be read afterwards."""
    program = tmp_path / "repairer.py"
    program.write_text(REPAIRER)
    draw = random.Random(7)  # noqa: S311  # instants, not secrets
    ids: list[str] = []
    for _ in range(8):
        ids += [make().run_id for _ in range(2)]
        compact(lab_dir, ids[-2:-1])
        path, lines = journal(lab_dir, ids[-1])
        lines[1] = lines[1].replace(b'"time_s":[', b'"time_s":[1')
        path.write_bytes(b"".join([*lines, b'{"v":1']))
        manifest_path(lab_dir).unlink()
        with subprocess.Popen(
            [sys.executable, str(program), str(lab_dir.root)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            output = process.stdout
            assert output is not None
            assert output.readline() == "ready\n"
            time.sleep(draw.random() * 0.8)
            process.send_signal(signal.SIGKILL)
        left = repair(lab_dir, examine(lab_dir))
        assert left == []
        for run_id in ids:
            sequences = [event.sequence for event in read_events(lab_dir, run_id)]
            assert sequences == list(range(len(sequences)))
            assert sequences
        assert json.loads(manifest_path(lab_dir).read_text())["segments"]
