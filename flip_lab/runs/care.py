"""Care of a lab: backups, sealing, collecting unused files, and what takes the room."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flip_lab.core.errors import FlipLabError
from flip_lab.runs import life_sign
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.run import Run
from flip_lab.runs.sealing import ended_runs
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir, write_json_atomic

if TYPE_CHECKING:  # most of it loads DuckDB
    from flip_lab.store.backup import BackupSnapshot
    from flip_lab.store.backup_restoring import Restored
    from flip_lab.store.backup_taking import Backup
    from flip_lab.store.collecting import Collected
    from flip_lab.store.compaction import Compacted


def backup_lab(lab: LabDir, destination: str | Path, *, verify: bool = False) -> Backup:
    """Take a consistent snapshot of a lab while its runs go on.

    Everything that runs had recorded when the backup began is in it, and of each run what
    follows up to some moment, without a gap. What the backup holds already is not copied
    again.

    Args:
        lab: The lab.
        destination: A directory for the backups of this lab, made if it is missing.
        verify: Whether to compare with its hash what the backup holds already; what is
            damaged there is copied anew.

    Returns:
        What was done.

    Raises:
        BackupError: If the directory belongs to another lab, or is in use.
        StoreNotWritableError: If it cannot be written or is full; older snapshots stay.
        StoreBusyError: If another process rearranges the lab for too long.
    """
    from flip_lab.store.backup_taking import take_backup

    return take_backup(lab, destination, _checkpoints, verify=verify)


def _checkpoints(run_dir: Path) -> Iterator[Sequence[Path]]:
    """Give the files of each checkpoint of a run, newest first."""
    folder = CheckpointFolder(run_dir)
    for manifest in reversed(folder.manifests()):
        with suppress(OSError):  # the run removed it meanwhile
            own = sorted(folder.folder(manifest.server_round).iterdir())
            yield [*own, *(folder.journal / piece.name for piece in manifest.journal)]


def restore_lab(
    destination: str | Path, path: str | Path, *, snapshot: str | None = None
) -> Restored:
    """Make a lab of a snapshot; every file is compared with its hash.

    Runs that were under way in the snapshot have died as far as the new lab knows: they
    can be resumed there from their checkpoints.

    Args:
        destination: The directory of backups.
        path: Where the lab shall be: nothing yet, or an empty directory.
        snapshot: Name of the snapshot; None for the newest.

    Returns:
        What was done.

    Raises:
        RestoreTargetError: If something is there already.
        BackupError: If there is no such snapshot, or no backup at all.
        DamagedBackupError: If a file is gone or no longer matches its hash; it is named.
        StoreFormatError: If a newer version of FLIP Lab took it.
        StoreNotWritableError: If the disk is full or may not be written.
    """
    from flip_lab.store.backup_restoring import restore_backup

    home = Path(path).expanduser().absolute()

    def finish(lab: LabDir, taken: BackupSnapshot) -> None:
        for file in lab.runs.glob("[!.]*/run.json"):
            _move(file, Path(taken.root), home)
        told = {"from": str(destination), "snapshot": taken.name, "was_at": taken.root}
        append_audit(lab, "restore", body=told)

    return restore_backup(destination, path, finish, name=snapshot)


def _move(file: Path, old: Path, new: Path) -> None:
    """Let a run's working directory follow its lab; a damaged file stays as it is."""
    with suppress(ValueError, TypeError, AttributeError):
        spec: dict[str, Any] = json.loads(file.read_bytes())
        place = Path(str(spec.get("working_dir") or "/"))
        if place.is_relative_to(old):
            spec["working_dir"] = str(new / place.relative_to(old))
            write_json_atomic(file, spec)


def compact_lab(lab: LabDir, *, now: bool = False) -> Compacted:
    """Seal the runs that have ended, merge small segments, remove what no longer counts.

    Done by itself after every sixteenth run or so; safe beside any reader and writer.

    Args:
        lab: The lab.
        now: Whether to also remove at once what others may still be reading. They then
            read again, which takes them longer.

    Returns:
        What was done.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the disk is full or may not be written.
    """
    from flip_lab.store.compaction import GRACE_S, compact

    look_at_all(lab)
    return compact(lab, _ended(lab), grace_s=0.0 if now else GRACE_S)


def _ended(lab: LabDir) -> Iterator[str]:
    """Say which runs have ended when it is asked, not when it is called."""
    yield from ended_runs(lab)


def look_at_all(lab: LabDir) -> None:
    """Look at every run of which nobody knows yet that it has ended.

    Looking at a run whose process died writes its end.
    """
    for run_dir in lab.runs.glob("[!.]*"):
        if life_sign.needs_a_look(run_dir):
            with suppress(FlipLabError):  # a damaged run must not keep others
                _ = Run(lab, run_dir.name).state


def collect_unused(lab: LabDir, *, dry_run: bool = False) -> Collected:
    """Remove kept files that no run speaks of: of runs that were removed, or never began.

    Files that were put within the last hour stay, and so do those that were put since the
    oldest run under way began: it may yet speak of them.

    Args:
        lab: The lab.
        dry_run: Whether to only say what would be removed.

    Returns:
        What was removed.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If a run's facts cannot be read: then nothing is removed.
    """
    from flip_lab.store.collecting import collect

    return collect(lab, before_s=_oldest_s(lab), dry_run=dry_run)


def _oldest_s(lab: LabDir) -> float | None:
    """Say when the oldest of those began that may yet speak of a file; None for none."""
    locks = [
        file for file in lab.runs.glob("[!.]*/run.lock") if life_sign.is_alive(file.parent)
    ]
    began: list[float] = []
    for path in (*locks, *lab.runs.glob(".*"), *lab.root.glob(".import-*")):
        with suppress(OSError):  # it is done
            began.append(path.stat().st_mtime)
    return min(began, default=None)
