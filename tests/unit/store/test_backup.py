"""Backups: all of a lab, once, whole, and never damaged without anybody knowing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import (
    BackupError,
    CorruptArtifactError,
    DamagedBackupError,
    FlipLabError,
    RestoreTargetError,
    StoreFormatError,
    StoreNotWritableError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.audit_chain import verify_audit
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.backup import BackupDir, BackupSnapshot, verify_backup
from flip_lab.store.backup_restoring import Restored, restore_backup
from flip_lab.store.backup_taking import Backup, take_backup
from flip_lab.store.blobs import Blobs
from flip_lab.store.compaction import compact
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter, journals
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic
from flip_lab.store.query import table
from flip_lab.store.schema import TABLES


def told(run_id: str, first: int, count: int) -> list[RunEvent]:
    """Give so many metric events of a run, from a sequence on."""
    body = {"phase": "train", "scope": "federated", "name": "train_loss"}
    return [
        RunEvent(
            run_id=run_id,
            sequence=sequence,
            time_s=1_700_000_000.0 + sequence,
            server_round=sequence,
            kind=EventKind.METRIC,
            body={**body, "value": sequence / 8},
        )
        for sequence in range(first, first + count)
    ]


def keep(lab: LabDir, run_id: str, count: int = 6) -> None:
    """Write a run of a few events, and put it on record."""
    with closing(JournalWriter(lab, run_id)) as writer:
        writer.append(told(run_id, 0, count))
    spec = {"run_id": run_id, "name": run_id, "seed": 1, "created_s": 1.0}
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec)
    append_audit(lab, "launch", run_ids=[run_id], body={"tags": ["new"]})


def no_groups(run_dir: Path) -> Iterable[Sequence[Path]]:
    """Give no checkpoints."""
    del run_dir
    return []


def back_up(lab: LabDir, destination: Path, *, verify: bool = False) -> Backup:
    """Take a backup of a lab whose runs have no checkpoints."""
    return take_backup(lab, destination, no_groups, verify=verify)


def give_back(destination: Path, path: Path, name: str | None = None) -> Restored:
    """Restore a backup as it is."""

    def finish(lab: LabDir, snapshot: BackupSnapshot) -> None:
        assert lab.root.name.startswith(f".{path.name}.restoring-")
        assert snapshot.num_runs == len(list(lab.runs.iterdir()))

    return restore_backup(destination, path, finish, name=name)


def contents(lab: LabDir) -> dict[str, list[dict[str, Any]]]:
    """Give all tables."""
    return {name: table(lab, name, as_="rows") for name in TABLES}


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Give a place for backups, with an awkward name."""
    return tmp_path / "bäck [up]"


@pytest.fixture
def mixed(lab: LabDir) -> LabDir:
    """Give a lab with sealed and unsealed runs, files of all kinds, and a log."""
    for run_id in ("a", "b", "c"):
        keep(lab, run_id)
    compact(lab, ["a", "b"], grace_s=0.0)
    Blobs(lab).put(b"model")
    work = lab.run_dir("c") / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "empty").touch()
    (work / "deep" / "notes ü\n.txt").write_text("ü")
    (work / "tool.sh").write_text("#!/bin/sh\n")
    (work / "tool.sh").chmod(0o755)
    (work / "link").symlink_to("tool.sh")
    (work / "away").symlink_to("/nowhere")
    (lab.run_dir("c") / "control").mkdir()
    (lab.run_dir("c") / "control" / "stop.json").write_text("{}")
    (lab.run_dir("c") / ".run.json.1-2.tmp").write_text("half")
    (lab.runs / ".draft").mkdir()
    write_json_atomic(lab.root / "durations" / "x.json", {"0": 1.0})
    return lab


def test_a_restored_lab_says_the_same(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """Every table, event, label, kept file, link and permission is as it was."""
    done = back_up(mixed, destination)
    assert done.num_runs == 3
    assert not done.left_out
    assert done.num_new <= done.num_files
    restored = give_back(destination, tmp_path / "new")
    assert restored.num_files == done.num_files
    new = open_lab(tmp_path / "new", create=False)
    assert contents(new) == contents(mixed)
    for run_id in ("a", "b", "c"):
        assert read_events(new, run_id) == read_events(mixed, run_id)
    assert verify_audit(new) == []
    assert Blobs(new).get(Blobs(mixed).put(b"model").sha256) == b"model"
    work = new.run_dir("c") / "work"
    assert (work / "deep" / "notes ü\n.txt").read_text() == "ü"
    assert (work / "deep" / "empty").exists()
    assert os.access(work / "tool.sh", os.X_OK)
    assert (work / "link").readlink() == Path("tool.sh")
    assert (work / "away").readlink() == Path("/nowhere")
    names = {path.name for path in new.run_dir("c").iterdir()}
    assert names == {"run.json", "work"}
    assert not (new.runs / ".draft").exists()
    with closing(JournalWriter(new, "c")) as writer:
        writer.append(told("c", 6, 1))
    compact(new, ["c"])
    assert len(read_events(new, "c")) == 7


def test_a_second_backup_copies_what_is_new(mixed: LabDir, destination: Path) -> None:
    """The same content is kept once, however often a lab is backed up and rearranged."""
    first = back_up(mixed, destination)
    assert back_up(mixed, destination).new_bytes == 0
    keep(mixed, "d")
    third = back_up(mixed, destination)
    assert 0 < third.new_bytes < first.new_bytes
    assert third.num_files == first.num_files + 2
    assert BackupDir(destination).names() == sorted(
        [first.snapshot, third.snapshot, BackupDir(destination).names()[1]]
    )


def test_old_snapshots_stay_as_they_were(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """Each can be restored, also after the lab went on without what it holds."""
    before = contents(mixed)
    first = back_up(mixed, destination)
    keep(mixed, "d")
    compact(mixed, ["c", "d"], grace_s=0.0)
    back_up(mixed, destination)
    give_back(destination, tmp_path / "old", first.snapshot)
    give_back(destination, tmp_path / "new")
    assert contents(open_lab(tmp_path / "old")) == before
    assert contents(open_lab(tmp_path / "new")) == contents(mixed)


def test_a_torn_line_is_left_out_and_a_whole_one_is_not(
    lab: LabDir, destination: Path, tmp_path: Path
) -> None:
    """What a kill tore was never acknowledged; what lacks just its newline was."""
    for run_id, cut in (("torn", 5), ("whole", 1)):
        keep(lab, run_id)
        with closing(JournalWriter(lab, run_id)) as writer:
            writer.append(told(run_id, 6, 1))
        [_, path] = sorted(journals(lab, run_id), key=lambda each: each.stat().st_size)[
            ::-1
        ]
        path.write_bytes(path.read_bytes()[:-cut])
    back_up(lab, destination)
    give_back(destination, tmp_path / "new")
    new = open_lab(tmp_path / "new")
    assert len(read_events(new, "torn")) == 6
    assert len(read_events(new, "whole")) == 7


def test_groups_come_whole_or_not_at_all(
    lab: LabDir, destination: Path, tmp_path: Path
) -> None:
    """A checkpoint of which a part went meanwhile is not in the backup."""
    keep(lab, "a")
    folder = lab.run_dir("a") / "checkpoints"
    folder.mkdir()
    (folder / "good").write_text("good")
    (folder / "half").write_text("half")

    def groups(run_dir: Path) -> Iterable[Sequence[Path]]:
        place = run_dir / "checkpoints"
        return [[place / "half", place / "gone"], [place / "good"]]

    take_backup(lab, destination, groups)
    give_back(destination, tmp_path / "new")
    left = (tmp_path / "new" / "runs" / "a" / "checkpoints").iterdir()
    assert [path.name for path in left] == ["good"]


def objects(destination: Path) -> list[Path]:
    """List the objects of a backup, largest first."""
    found = (destination / "objects").glob("*/*")
    return sorted(found, key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize("kind", ["changed", "cut", "gone"])
def test_damage_is_named_and_healed(
    mixed: LabDir, destination: Path, tmp_path: Path, kind: str
) -> None:
    """Nothing is restored of a damaged snapshot; a backup that verifies mends it."""
    back_up(mixed, destination)
    assert verify_backup(destination) == []
    victim = objects(destination)[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if kind == "gone":
        victim.unlink()
    else:
        victim.write_bytes(content[: len(content) - (kind == "cut")])
    assert victim.name in verify_backup(destination)[0]
    with pytest.raises(DamagedBackupError, match=victim.name):
        give_back(destination, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []
    assert back_up(mixed, destination, verify=True).new_bytes == len(content)
    assert verify_backup(destination) == []
    give_back(destination, tmp_path / "new")


def test_a_damaged_snapshot_is_refused(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """It proves itself by its last line; an older one still can be restored."""
    first = back_up(mixed, destination)
    second = back_up(mixed, destination)
    path = BackupDir(destination).snapshots / f"{second.snapshot}.json"
    path.write_bytes(path.read_bytes().replace(b'"num_runs": 3', b'"num_runs": 2'))
    with pytest.raises(DamagedBackupError, match=second.snapshot):
        give_back(destination, tmp_path / "new")
    give_back(destination, tmp_path / "new", first.snapshot)


def test_what_does_not_fit_is_refused(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """Another lab, no backup, no such snapshot, a place that is taken."""
    with pytest.raises(BackupError, match="holds no backup"):
        give_back(destination, tmp_path / "new")
    done = back_up(mixed, destination)
    other = open_lab(tmp_path / "other")
    with pytest.raises(BackupError, match="another lab"):
        back_up(other, destination)
    with pytest.raises(BackupError, match=done.snapshot):
        give_back(destination, tmp_path / "new", "0001")
    with pytest.raises(RestoreTargetError, match="not empty"):
        give_back(destination, mixed.root)
    (tmp_path / "file").touch()
    with pytest.raises(RestoreTargetError, match="is a file"):
        give_back(destination, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert give_back(destination, tmp_path / "empty").path == tmp_path / "empty"


def test_a_newer_format_is_refused(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """Nothing is restored that might be misunderstood."""
    back_up(mixed, destination)
    path = destination / "backup.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "format": 99}))
    for act in (
        lambda: give_back(destination, tmp_path / "new"),
        lambda: back_up(mixed, destination),
    ):
        with pytest.raises(StoreFormatError, match="format 99"):
            act()


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "runs/../../outside", ""])
def test_a_snapshot_cannot_write_elsewhere(
    mixed: LabDir, destination: Path, tmp_path: Path, path: str
) -> None:
    """A path that leads out of the lab is refused, whoever wrote it."""
    back_up(mixed, destination)
    backup = BackupDir(destination)
    taken = backup.read()
    object.__setattr__(taken.files[0], "path", path)
    backup.write(taken)
    with pytest.raises(DamagedBackupError, match="outside of a lab"):
        give_back(destination, tmp_path / "deep" / "new")
    assert not (tmp_path / "deep" / "outside").exists()


def test_a_snapshots_links_lead_nobody_elsewhere(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """No link where the lab writes, such as its log; and none behind another link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    back_up(mixed, destination)
    backup = BackupDir(destination)
    for links in (
        {"audit.head": f"{elsewhere}/head"},
        {"runs/new": str(elsewhere)},
        {"runs/c/a": str(elsewhere), "runs/c/a/b": "/etc"},
        {"runs/c/a": str(elsewhere), "runs/c/a/b/c": "/etc"},
    ):
        taken = backup.read()
        object.__setattr__(taken, "links", links)
        backup.write(taken)
        with pytest.raises(DamagedBackupError, match="leads out of a lab"):
            give_back(destination, tmp_path / "new")
        assert [*elsewhere.iterdir()] == []


def test_a_file_that_cannot_be_read_is_left_out_by_name(
    mixed: LabDir, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is backed up."""
    from flip_lab.store import backup_taking

    def failing(path: Path, mode: str = "r") -> FileIO:
        if Path(path).name == "tool.sh":
            raise PermissionError(13, "Permission denied", str(path))
        return FileIO(path, mode)

    monkeypatch.setattr(backup_taking, "FileIO", failing)
    done = back_up(mixed, destination)
    assert done.left_out == {"runs/c/work/tool.sh": "Permission denied"}


FULL = """
import resource, sys
from flip_lab.core.errors import StoreNotWritableError
from flip_lab.store.backup_restoring import restore_backup
from flip_lab.store.backup_taking import take_backup
from flip_lab.store.layout import open_lab

what, source, target = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    if what == "backup":
        take_backup(open_lab(source, create=False), target, lambda run_dir: [])
    else:
        restore_backup(source, target, lambda lab, snapshot: None)
except StoreNotWritableError as error:
    assert "Free some space" in error.fix, error
    print("full")
"""


def full(what: str, source: Path, target: Path) -> None:
    """Back up or restore where a file of 100 kB fills the disk."""
    arguments = [sys.executable, "-c", FULL, what, str(source), str(target)]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert told.stdout == "full\n"


def test_a_full_disk_leaves_the_older_snapshots(
    mixed: LabDir, destination: Path, tmp_path: Path
) -> None:
    """The error says what to do, and nothing half done is left."""
    first = back_up(mixed, destination)
    (mixed.run_dir("c") / "output.log").write_bytes(os.urandom(200_000))
    full("backup", mixed.root, destination)
    assert BackupDir(destination).names() == [first.snapshot]
    assert list((destination / "drafts").iterdir()) == []
    give_back(destination, tmp_path / "new")
    assert back_up(mixed, destination).num_new >= 1
    full("restore", destination, tmp_path / "other")
    assert not [path for path in tmp_path.iterdir() if "other" in path.name]
    give_back(destination, tmp_path / "other")


KILLED = """
import sys
from flip_lab.store.backup_restoring import restore_backup
from flip_lab.store.backup_taking import take_backup
from flip_lab.store.layout import open_lab

what, lab, destination, target = sys.argv[1:]
print("ready", flush=True)
for number in range(10_000):
    if what == "backup":
        take_backup(open_lab(lab, create=False), destination, lambda run_dir: [])
    else:
        restore_backup(destination, f"{target}/{number}", lambda lab, snapshot: None)
    print(number, flush=True)
"""


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_killed_at_any_instant_all_snapshots_are_good(
    mixed: LabDir, destination: Path, tmp_path: Path, what: str
) -> None:
    """Old snapshots stay, and a lab is restored whole or not at all."""
    back_up(mixed, destination)
    target = tmp_path / "targets"
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    before = contents(mixed)
    for attempt in range(12):
        keep(mixed, f"k{attempt}", count=20) if what == "backup" else None
        arguments = [str(mixed.root), str(destination), str(target / str(attempt))]
        with subprocess.Popen(
            [sys.executable, str(program), what, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            output = process.stdout
            assert output is not None
            assert output.readline() == "ready\n"
            time.sleep(0.004 * (attempt * 7 % 12))
            process.send_signal(signal.SIGKILL)
        for name in BackupDir(destination).names():
            assert verify_backup(destination, name) == []
        for path in (target / str(attempt)).glob("[!.]*"):
            assert contents(open_lab(path, create=False)) == before
    done = back_up(mixed, destination)
    give_back(destination, target / "0" / "0" if what == "backup" else target / "last")
    assert done.num_runs == (15 if what == "backup" else 3)
    assert not (destination / "drafts" / "left").exists()


def test_two_backups_do_not_mix(mixed: LabDir, destination: Path) -> None:
    """The second says that the first is under way."""
    back_up(mixed, destination)

    def groups(run_dir: Path) -> Iterable[Sequence[Path]]:
        del run_dir
        with pytest.raises(BackupError, match="under way"):
            back_up(mixed, destination)
        return []

    take_backup(mixed, destination, groups)


def test_a_lab_whose_manifest_is_damaged_is_not_backed_up(
    mixed: LabDir, destination: Path
) -> None:
    """Nobody could say what of it counts."""
    (mixed.root / "MANIFEST.json").write_text("{")
    with pytest.raises(CorruptArtifactError, match="doctor"):
        back_up(mixed, destination)


def test_a_place_that_cannot_be_made_says_so(mixed: LabDir, tmp_path: Path) -> None:
    """A file is no directory."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreNotWritableError, match="file") as raised:
        back_up(mixed, tmp_path / "file" / "backups")
    assert isinstance(raised.value, FlipLabError)
