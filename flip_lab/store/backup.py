"""A directory of backups: what it holds, read and checked.

```
backup.json                    format, and the lab that it belongs to
snapshots/000001-….json        which files a lab had, and the hash of each
objects/<aa>/<sha256>          their content, the same bytes once for all snapshots
drafts/                        what is being copied
```

Objects are there, and on the disk, before a snapshot names them; a snapshot appears whole
and proves itself by its last line. So a kill at any moment leaves all older snapshots as
they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256 as hash_of
from pathlib import Path, PurePosixPath
from typing import Any

from flip_lab.core.errors import (
    BackupError,
    DamagedBackupError,
    StoreFormatError,
    nearest,
)
from flip_lab.store.blobs import sha256_of
from flip_lab.store.layout import write_atomic

FORMAT = 1
"""The layout that this code writes; a higher one is refused."""

_AGAIN = (
    "Take another snapshot; while the lab is whole, flip-lab backup DEST --verify heals "
    "the backup."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """One file of a lab, as a snapshot remembers it.

    Attributes:
        path: Where it was, relative to the lab, with slashes.
        sha256: Hash of its content.
        size_bytes: Length of its content.
        is_executable: Whether its owner could run it.
        stamp: Length, time of change in nanoseconds and number of the original: a file
            that has all three still is the same. A time of 0 proves nothing.
    """

    path: str
    sha256: str
    size_bytes: int
    is_executable: bool
    stamp: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSnapshot:
    """A lab at one moment.

    Attributes:
        name: What it is called; later ones have later names.
        lab_id: The lab.
        root: Where the lab was.
        taken_s: When it was taken, seconds since the Unix epoch.
        num_runs: Runs in it.
        files: Its files.
        links: Its symbolic links: where each was, and where it points to.
    """

    name: str
    lab_id: str
    root: str
    taken_s: float
    num_runs: int
    files: tuple[BackupFile, ...]
    links: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class BackupDir:
    """A directory of backups; opens nothing.

    Attributes:
        root: Its path.
    """

    root: Path

    @property
    def snapshots(self) -> Path:
        """Where the snapshots lie."""
        return self.root / "snapshots"

    @property
    def drafts(self) -> Path:
        """Where files are copied to before they count."""
        return self.root / "drafts"

    def object(self, sha256: str) -> Path:
        """Say where content lies."""
        return self.root / "objects" / sha256[:2] / sha256

    def lab_id(self) -> str | None:
        """Give the lab that it belongs to; None where there is no backup yet.

        Raises:
            BackupError: If it holds something else.
            StoreFormatError: If a newer version of FLIP Lab made it.
        """
        path = self.root / "backup.json"
        try:
            found = json.loads(path.read_bytes())
            _require_known(self.root, found["format"])
            return str(found["lab_id"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"{path} cannot be read ({error}).",
                fix="Give a directory that flip-lab backup made, or a new one.",
            ) from error

    def names(self) -> list[str]:
        """List the snapshots, oldest first."""
        return sorted(path.stem for path in self.snapshots.glob("[!.]*.json"))

    def read(self, name: str | None = None) -> BackupSnapshot:
        """Read a snapshot.

        Args:
            name: Which one; None for the newest.

        Raises:
            BackupError: If there is no such snapshot, or no backup at all.
            DamagedBackupError: If it is not what was written.
            StoreFormatError: If a newer version of FLIP Lab took it.
        """
        names = self.names()
        if not names or self.lab_id() is None:
            raise BackupError(
                f"{self.root} holds no backup.",
                fix="Give the directory that flip-lab backup wrote to.",
            )
        if name is not None and name not in names:
            raise BackupError(
                f"{self.root} holds no snapshot {name!r}.", fix=nearest(name, names)
            )
        path = self.snapshots / f"{name or names[-1]}.json"
        try:
            body, proof, _ = path.read_bytes().split(b"\n")
            is_whole = hash_of(body).hexdigest().encode() == proof
        except (OSError, ValueError):
            is_whole, body = False, b""
        if not is_whole:
            fix = "Take an older snapshot: flip-lab backup DEST --list names them."
            raise DamagedBackupError(f"{path} is not what was written.", fix=fix)
        found = json.loads(body)
        _require_known(self.root, found.pop("format"))
        return _snapshot(found)

    def write(self, snapshot: BackupSnapshot) -> None:
        """Let a snapshot appear.

        Raises:
            StoreNotWritableError: If it cannot be written; nothing is left behind.
        """
        body = json.dumps({"format": FORMAT, **asdict(snapshot)}).encode()
        proof = hash_of(body).hexdigest().encode()
        write_atomic(self.snapshots / f"{snapshot.name}.json", body + b"\n" + proof + b"\n")


def _require_known(root: Path, version: int) -> None:
    if version > FORMAT:
        raise StoreFormatError(
            f"{root} has backups of format {version}; this version reads up to {FORMAT}.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        )


def _snapshot(found: dict[str, Any]) -> BackupSnapshot:
    for file in found["files"]:
        file["stamp"] = tuple(file["stamp"])
    found["files"] = tuple(BackupFile(**file) for file in found["files"])
    return BackupSnapshot(**found)


def verify_backup(destination: str | Path, name: str | None = None) -> list[str]:
    """Compare every object of a snapshot with its hash.

    Args:
        destination: The directory of backups.
        name: The snapshot; None for the newest.

    Returns:
        What is wrong, a sentence for each file; empty when the snapshot is whole.

    Raises:
        BackupError: If there is no such snapshot, or no backup at all.
        DamagedBackupError: If the snapshot itself is not what was written.
        StoreFormatError: If a newer version of FLIP Lab took it.
    """
    backup = BackupDir(Path(destination).expanduser().absolute())
    snapshot = backup.read(name)
    good: dict[str, bool] = {}
    flaws: list[str] = []
    for file in snapshot.files:
        if file.sha256 not in good:
            good[file.sha256] = is_good(backup, file.sha256)
        if not good[file.sha256]:
            flaws.append(damaged(backup, snapshot, file)["what"])
    return flaws


def is_good(backup: BackupDir, sha256: str) -> bool:
    """Say whether an object is there and is what was copied."""
    try:
        return sha256_of(backup.object(sha256)) == sha256
    except OSError:
        return False


def damaged(
    backup: BackupDir, snapshot: BackupSnapshot, file: BackupFile
) -> dict[str, str]:
    """Say which file of a snapshot cannot be given back.

    Args:
        backup: The directory of backups.
        snapshot: The snapshot.
        file: The file.

    Returns:
        The arguments of a ``DamagedBackupError``.
    """
    place = backup.object(file.sha256).relative_to(backup.root)
    what = (
        f"In snapshot {snapshot.name} of {backup.root}, {file.path} is gone or no longer "
        f"matches its hash ({place})."
    )
    return {"what": what, "fix": _AGAIN}


def require_inside(path: str) -> PurePosixPath:
    """Refuse a path that leads out of the lab.

    Raises:
        DamagedBackupError: If it does.
    """
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise DamagedBackupError(
            f"A snapshot names {path!r}, which lies outside of a lab.",
            fix="Do not restore it: FLIP Lab writes no such snapshot.",
        )
    return inside
