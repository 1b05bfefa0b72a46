"""Make a lab of a snapshot: built beside its place, checked, and renamed at last."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import DamagedBackupError, RestoreTargetError
from flip_lab.store.backup import (
    BackupDir,
    BackupFile,
    BackupSnapshot,
    damaged,
    require_inside,
)
from flip_lab.store.blobs import copied
from flip_lab.store.layout import LabDir, explained, open_lab, sync_directory

_LINKING = frozenset({"runs", "damaged"})
_DEPTH = 3  # runs/<run_id>/…: what a run's app linked, or made

Finish = Callable[[LabDir, BackupSnapshot], None]
"""Sets right, in the lab that is being built, what depends on where it will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did.

    Attributes:
        snapshot: Name of the snapshot.
        path: Where the lab is now.
        num_runs: Runs in it.
        num_files: Files in it; each was compared with its hash.
        size_bytes: Their length.
        duration_s: How long it took.
    """

    snapshot: str
    path: Path
    num_runs: int
    num_files: int
    size_bytes: int
    duration_s: float


def restore_backup(
    destination: str | Path, path: str | Path, finish: Finish, *, name: str | None = None
) -> Restored:
    """Make a lab of a snapshot, whole or not at all.

    Args:
        destination: The directory of backups.
        path: Where the lab shall be: nothing yet, or an empty directory.
        finish: Called with the lab while it is built under another name.
        name: The snapshot; None for the newest.

    Returns:
        What was done.

    Raises:
        RestoreTargetError: If something is there already.
        BackupError: If there is no such snapshot, or no backup at all.
        DamagedBackupError: If a file is gone or no longer matches its hash; it is named.
        StoreFormatError: If a newer version of FLIP Lab took it.
        StoreNotWritableError: If the disk is full or may not be written.
    """
    begin_s = tick_s()
    backup = BackupDir(Path(destination).expanduser().absolute())
    target = Path(path).expanduser().absolute()
    snapshot = backup.read(name)
    _require_empty(target)
    with _draft(target) as draft:
        for file in snapshot.files:
            _give_back(backup, snapshot, file, draft)
        for link, points_to in snapshot.links.items():  # last: nothing is written through
            _link_again(link, points_to, draft)
        finish(open_lab(draft, create=False), snapshot)
        _require_empty(target)  # somebody may have put something there meanwhile
        with explained(target):
            _sync_folders(draft)
            _appear(draft, target)
    return Restored(
        snapshot=snapshot.name,
        path=target,
        num_runs=snapshot.num_runs,
        num_files=len(snapshot.files),
        size_bytes=snapshot.size_bytes,
        duration_s=tick_s() - begin_s,
    )


def _require_empty(target: Path) -> None:
    """Refuse to mix a lab with anything else.

    Raises:
        RestoreTargetError: If something is there.
    """
    fix = "Give a directory that does not exist yet, and move it afterwards."
    if target.is_dir():
        if any(target.iterdir()):
            raise RestoreTargetError(f"{target} is not empty.", fix=fix)
    elif target.exists() or target.is_symlink():
        raise RestoreTargetError(f"{target} is a file.", fix=fix)


@contextmanager
def _draft(target: Path) -> Generator[Path]:
    """Give a directory beside the target; what killed restores left is removed first.

    Who builds one holds a lock on it, which goes with the process.
    """
    prefix = f".{target.name}.restoring-"
    with explained(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.glob(f"{_literal(prefix)}*"):
            _remove_left(path)
        draft = target.parent / f"{prefix}{secrets.token_hex(4)}"
        draft.mkdir()
        descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield draft
    finally:
        os.close(descriptor)
        shutil.rmtree(draft, ignore_errors=True)  # does nothing once it is renamed


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _remove_left(path: Path) -> None:
    with suppress(OSError):  # somebody builds it
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _give_back(
    backup: BackupDir, snapshot: BackupSnapshot, file: BackupFile, draft: Path
) -> None:
    """Copy one file out of the backup.

    Raises:
        DamagedBackupError: If it is gone or no longer matches its hash.
    """
    place = draft / require_inside(file.path)
    try:
        source = FileIO(backup.object(file.sha256))
    except OSError as error:
        raise DamagedBackupError(**damaged(backup, snapshot, file)) from error
    with source, explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        found = copied(_Whole(source), place)
        if file.is_executable:
            place.chmod(place.stat().st_mode | 0o100)
    if found.sha256 != file.sha256:
        raise DamagedBackupError(**damaged(backup, snapshot, file))


def _link_again(link: str, points_to: str, draft: Path) -> None:
    """Make one link again.

    Raises:
        DamagedBackupError: If it lies where FLIP Lab itself writes, or behind another one:
            what is written there later, or right now, would land elsewhere.
    """
    inside = require_inside(link)
    place = draft / inside
    before = (draft.joinpath(*inside.parts[:at]) for at in range(1, len(inside.parts)))
    is_of_a_run = inside.parts[0] in _LINKING and len(inside.parts) >= _DEPTH
    if not is_of_a_run or any(folder.is_symlink() for folder in before):
        raise DamagedBackupError(
            f"A snapshot names a link {link!r}, which leads out of a lab.",
            fix="Do not restore it: FLIP Lab writes no such snapshot.",
        )
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(points_to)


class _Whole:
    """An object of a backup: one that cannot be read ends early, and its hash tells."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size) or b""
        except OSError:
            return b""


def _sync_folders(draft: Path) -> None:
    for parent, _, _ in os.walk(draft):
        sync_directory(Path(parent))


def _appear(draft: Path, target: Path) -> None:
    """Let the lab appear; an empty directory is replaced, anything else is not."""
    with suppress(FileNotFoundError):
        target.rmdir()
    draft.rename(target)
    sync_directory(target.parent)
