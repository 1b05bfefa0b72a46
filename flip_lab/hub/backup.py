"""Backups of a hub: its settings, keys and database, and its lab.

```
hub/<UTC time>/          a copy of the hub's own files, with hashes in backup.json
lab/                     backups of its lab, see flip_lab.store.backup
```

A backup holds the hub's private keys: whoever can read it can pose as the hub. Its files
are for their owner alone. It may be taken while the hub is up.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import BackupError, DamagedBackupError, HubStateError, nearest
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.place import HubPlace, open_hub, read_file, write_private
from flip_lab.node.drafts import appearing, require_nothing
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir, explained

_MANIFEST = "backup.json"
_PUBLIC = frozenset({"ca.crt", "ca.vouched.crt", "server.crt", "signing.pub", "hub.toml"})


@dataclass(frozen=True, kw_only=True)
class HubBackup:
    """What a backup did.

    Attributes:
        snapshot: Names it among the hub's backups.
        path: Where the copies of the hub's own files are.
        num_runs: Runs in the copy of its lab.
        left_out: Files of the lab that could not be read, and why.
    """

    snapshot: str
    path: Path
    num_runs: int
    left_out: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    """What ``backup.json`` says: when the hub was made, its lab's snapshot, and hashes."""

    hub: float
    lab: str
    files: dict[str, str]


def backup_hub(place: HubPlace, destination: str | Path) -> HubBackup:
    """Copy a hub, while it is up if need be.

    Args:
        place: The hub.
        destination: A directory for the backups of this hub, made if it is missing.

    Raises:
        BackupError: If the directory holds backups of another hub or lab.
        HubStateError: If the hub's files cannot be read, or the copy not be written.
        StoreNotWritableError: If the copy of the lab cannot be written.
    """
    from flip_lab.runs.care import backup_lab

    home = Path(destination).expanduser().absolute()
    _see_that_it_is_ours(home, place)
    with explained(home):
        for part in (home, home / "lab", home / "hub"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{at_utc(now_s()):%Y%m%d-%H%M%S}"
    with appearing(home / "hub" / name) as draft:
        _copy(place, draft)  # first: files that the database names are in the lab by then
        lab = backup_lab(LabDir(place.lab), home / "lab")
        told = _Manifest(
            hub=place.settings().created_s,
            lab=lab.snapshot,
            files={file.name: _hash(file) for file in sorted(draft.iterdir())},
        )
        write_private(draft / _MANIFEST, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    append_audit(LabDir(place.lab), "hub_backup", body={"to": str(home), "snapshot": name})
    return HubBackup(
        snapshot=name,
        path=home / "hub" / name,
        num_runs=lab.num_runs,
        left_out=lab.left_out,
    )


def restore_hub(
    source: str | Path, directory: str | Path, *, snapshot: str | None = None
) -> HubPlace:
    """Make a hub of a backup; every file is compared with its hash.

    What was done since counts no more: nodes that were revoked since are let in again.

    Args:
        source: The directory of backups.
        directory: Where the hub shall be: nothing yet, or an empty directory.
        snapshot: Which one; ``None``: the newest.

    Raises:
        BackupError: If there is no such backup.
        DamagedBackupError: If a file is gone, or no longer matches its hash.
        HubStateError: If something is there already, or it cannot be written.
    """
    from flip_lab.runs.care import restore_lab

    home = Path(source).expanduser().absolute()
    place = HubPlace(Path(directory).expanduser().absolute())
    require_nothing(place.path)
    copy = _found(home, snapshot)
    manifest = _checked(copy)
    try:
        with explained(place.path):
            place.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            restore_lab(home / "lab", place.lab, snapshot=manifest.lab)
            for name in _settings_last(manifest.files):
                _put(copy / name, place.path / name)
        with HubDatabase(open_hub(place.path)):
            pass  # it is whole
    except BaseException:
        shutil.rmtree(place.path, ignore_errors=True)  # it was empty
        raise
    append_audit(LabDir(place.lab), "hub_restore", body={"snapshot": copy.name})
    return place


def _copy(place: HubPlace, draft: Path) -> None:
    """Copy the hub's own files; the database through SQLite, as of one moment."""
    for file in _own_files(place):
        _put(file, draft / file.name)
    try:
        uri = f"file:{place.database_file}?mode=ro"
        target = draft / place.database_file.name
        target.touch(mode=0o600)
        with (
            closing(sqlite3.connect(uri, uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, not three
    except sqlite3.Error as error:
        raise HubStateError(
            f"{place.database_file} cannot be copied ({error}).",
            fix="Free some space; if the database is damaged, restore an older backup.",
        ) from error


def _own_files(place: HubPlace) -> Iterator[Path]:
    others = (place.active_lock.name, place.database_file.name, ".")
    for path in sorted(place.path.iterdir()):
        if path.is_file() and not path.name.startswith(others):
            yield path


def _put(source: Path, target: Path) -> None:
    content = read_file(source)
    write_private(target, content)
    if target.name in _PUBLIC:
        target.chmod(0o644)


def _settings_last(files: dict[str, str]) -> list[str]:
    """Order files so that a directory is a hub only when all else is there."""
    return sorted(files, key=lambda name: name == "hub.toml")


def _see_that_it_is_ours(home: Path, place: HubPlace) -> None:
    for copy in _copies(home):
        if _manifest(copy).hub != place.settings().created_s:
            raise BackupError(
                f"{home} holds backups of another hub.", fix="Give each hub its own."
            )


def _copies(home: Path) -> list[Path]:
    return sorted(path for path in (home / "hub").glob("[!.]*") if path.is_dir())


def _found(home: Path, snapshot: str | None) -> Path:
    copies = _copies(home)
    names = [path.name for path in copies]
    if not names or (snapshot is not None and snapshot not in names):
        raise BackupError(
            f"{home} holds no backup of a hub"
            + (f" called {snapshot!r}." if snapshot and names else "."),
            fix=nearest(snapshot or "", names),
        )
    return copies[-1] if snapshot is None else home / "hub" / snapshot


def _manifest(copy: Path) -> _Manifest:
    try:
        told = orjson.loads((copy / _MANIFEST).read_bytes())
        # Names alone: nothing is read or written beside its place.
        files = {Path(name).name: str(each) for name, each in told["files"].items()}
        return _Manifest(hub=float(told["hub"]), lab=str(told["lab"]), files=files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedBackupError(
            f"{copy / _MANIFEST} cannot be read ({error}).",
            fix="Restore another one with --snapshot.",
        ) from error


def _checked(copy: Path) -> _Manifest:
    manifest = _manifest(copy)
    for name, expected in manifest.files.items():
        file = copy / name
        if not file.is_file() or _hash(file) != expected:
            raise DamagedBackupError(
                f"{file} is gone, or is not what was copied.",
                fix="Restore another one with --snapshot.",
            )
    return manifest


def _hash(file: Path) -> str:
    return hashlib.sha256(read_file(file)).hexdigest()
