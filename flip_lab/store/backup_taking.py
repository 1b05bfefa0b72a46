"""Take a snapshot of a lab while runs write: of each run, what it had acknowledged by then.

The order makes it consistent. Nobody seals, merges or sweeps meanwhile. Of each run first
the checkpoints are copied and then the journals, which therefore know all that a checkpoint
does; files that runs and the lab's log speak of come last, because they are kept before
they are spoken of.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from flip_lab.core.clock import at_utc, now_s, tick_s
from flip_lab.core.errors import BackupError, StoreFormatError
from flip_lab.store import audit, frames
from flip_lab.store.audit_chain import head_path
from flip_lab.store.backup import FORMAT, BackupDir, BackupFile, BackupSnapshot, is_good
from flip_lab.store.blobs import copied
from flip_lab.store.collecting import kept_files
from flip_lab.store.journal import journals
from flip_lab.store.layout import LabDir, explained, sync_directory, write_json_atomic
from flip_lab.store.manifest import Manifest, compacting, manifest_path, read_manifest

Groups = Callable[[Path], Iterable[Sequence[Path]]]
"""Gives, for a run's directory, groups of files that belong together: all or none."""

_ATTEMPTS = 5
_TAIL_BYTES = 2**16
_RECENT_S = 2.0  # a file may change twice within one tick of its clock
_NOT_COPIED = frozenset({"checkpoints", "control", "run.lock"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup did.

    Attributes:
        snapshot: Name of the snapshot that was taken.
        num_runs: Runs in it.
        num_files: Files in it.
        size_bytes: Their length.
        num_new: Files whose content was not in the backup yet.
        new_bytes: Length of what was copied.
        duration_s: How long it took.
        left_out: Files that could not be read, and why.
    """

    snapshot: str
    num_runs: int
    num_files: int
    size_bytes: int
    num_new: int
    new_bytes: int
    duration_s: float
    left_out: dict[str, str] = field(default_factory=dict[str, str])


def take_backup(
    lab: LabDir, destination: str | Path, groups: Groups, *, verify: bool = False
) -> Backup:
    """Take a snapshot; only what the backup does not hold yet is copied.

    Args:
        lab: The lab; runs may write meanwhile.
        destination: A directory for the backups of this lab, made if it is missing.
        groups: Gives a run's checkpoints, newest first.
        verify: Whether to compare with its hash what the backup holds already; what is
            damaged is copied anew.

    Returns:
        What was done.

    Raises:
        BackupError: If the directory belongs to another lab, or is in use.
        StoreNotWritableError: If it cannot be written or is full; older snapshots stay.
        StoreBusyError: If another process rearranges the lab for too long.
        StoreFormatError: If a newer version of FLIP Lab wrote lab or backups.
        CorruptArtifactError: If the lab's manifest cannot be read.
    """
    begin_s = tick_s()
    backup = BackupDir(Path(destination).expanduser().absolute())
    with _alone(backup):
        lab_id = _claim(backup, lab)
        copying = _Copying(lab, backup, verify=verify)
        # Most of it never changes and is copied before anybody has to wait.
        copying.unchanging(read_manifest(lab))
        with compacting(lab):
            taken_s = now_s()
            num_runs = _take(copying, lab, groups)
        copying.sync()
        names = backup.names()
        number = int(names[-1].partition("-")[0]) + 1 if names else 1
        snapshot = BackupSnapshot(
            name=f"{number:06d}-{at_utc(taken_s):%Y%m%dT%H%M%S}",
            lab_id=lab_id,
            root=str(lab.root),
            taken_s=taken_s,
            num_runs=num_runs,
            files=tuple(copying.files.values()),
            links=copying.links,
        )
        backup.write(snapshot)
    return Backup(
        snapshot=snapshot.name,
        num_runs=num_runs,
        num_files=len(snapshot.files),
        size_bytes=snapshot.size_bytes,
        num_new=copying.num_new,
        new_bytes=copying.new_bytes,
        duration_s=tick_s() - begin_s,
        left_out=copying.left_out,
    )


def _take(copying: _Copying, lab: LabDir, groups: Groups) -> int:
    """Copy everything in the order that makes it consistent; give the number of runs."""
    copying.start()
    manifest = read_manifest(lab)
    # A run's directory is there before its journal: so none comes without.
    live = {path.name for path in _folders(lab.live)}
    runs = [path.name for path in _folders(lab.runs)]
    for run_id in runs:
        copying.checkpoints(lab.run_dir(run_id), groups)
        copying.tree(lab.run_dir(run_id), but=_NOT_COPIED)
    sealed = {s for each in manifest.segments if each.is_open for s in each.sources}
    for run_id in sorted({*live, *runs} - manifest.closed_runs):
        for path in journals(lab, run_id):
            if path.name not in sealed:
                copying.file(path, end=_end_of_frames)
    copying.file(head_path(lab))
    copying.file(audit.audit_path(lab), end=_end_of_records)
    copying.unchanging(manifest)
    copying.file(manifest_path(lab))
    for name in ("durations", "damaged", "away"):
        copying.tree(lab.root / name)
    copying.file(lab.root / "lab.json")
    return len(runs)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))


@contextmanager
def _alone(backup: BackupDir) -> Generator[None]:
    """Be the only one who writes to a directory of backups.

    Raises:
        BackupError: If somebody else does.
    """
    with explained(backup.root):
        for folder in (backup.snapshots, backup.drafts):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileIO(backup.root / "backup.lock", "a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(
                f"Another backup into {backup.root} is under way.",
                fix="Wait until it is done, then try again.",
            ) from None
        try:
            shutil.rmtree(backup.drafts, ignore_errors=True)  # of one that was killed
            with explained(backup.drafts):
                backup.drafts.mkdir(exist_ok=True)
            yield
        finally:
            # Unlocked, not only closed: a child forked meanwhile would hold the lock.
            fcntl.flock(lock, fcntl.LOCK_UN)


def _claim(backup: BackupDir, lab: LabDir) -> str:
    """Give the lab's id, once it is sure that the backups are of this lab.

    Raises:
        BackupError: If they are of another one.
    """
    lab_id = str(json.loads((lab.root / "lab.json").read_bytes()).get("id"))
    owner = backup.lab_id()
    if owner is None:
        about = {"format": FORMAT, "lab_id": lab_id}
        write_json_atomic(backup.root / "backup.json", about)
    elif owner != lab_id:
        raise BackupError(
            f"{backup.root} holds backups of another lab ({owner}).",
            fix="Give each lab a directory of its own for its backups.",
        )
    return lab_id


class _UnreadableError(Exception):
    """A file of the lab cannot be read; the backup goes on without it."""


class _Source:
    """A file of the lab: its trouble must not look like trouble with the backup."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size) or b""
        except OSError as error:
            raise _UnreadableError(error.strerror) from error


class _Copying:
    """Copies files of a lab into a backup, each content once."""

    def __init__(self, lab: LabDir, backup: BackupDir, *, verify: bool) -> None:
        self._lab = lab
        self._backup = backup
        names = backup.names()
        before = backup.read(names[-1]).files if names else ()
        self._known = {file.path: file for file in before}
        self._doubted = {file.sha256 for file in before} if verify else set[str]()
        self._touched: set[Path] = set()
        self.files: dict[str, BackupFile] = {}
        self.links: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.num_new = 0
        self.new_bytes = 0

    def start(self) -> None:
        """Forget what was named so far, but not what was copied."""
        self._known |= self.files
        self.files, self.links, self.left_out = {}, {}, {}

    def unchanging(self, manifest: Manifest) -> None:
        """Copy what never changes once it is there: segments and kept files."""
        for segment in manifest.segments:
            self.tree(self._lab.segments / segment.name)
        for path in kept_files(self._lab):
            self.file(path)

    def tree(self, folder: Path, *, but: frozenset[str] = frozenset()) -> None:
        """Copy all files below a directory, besides some of its entries."""
        for parent, folders, names in os.walk(folder):
            here = Path(parent)
            skipped = but if here == folder else frozenset[str]()
            folders[:] = [name for name in folders if name not in skipped]
            for name in (*folders, *names):
                path = here / name
                if path.is_symlink():
                    self.links[self._name(path)] = os.readlink(path)  # noqa: PTH115  # as it is
                elif name in names and name not in skipped and _is_wanted(path):
                    self.file(path)

    def checkpoints(self, run_dir: Path, groups: Groups) -> None:
        """Copy a run's checkpoints, each whole or not at all.

        A run removes old ones as it goes: files that are open can be copied all the same.
        """
        for _ in range(_ATTEMPTS):
            several = [*groups(run_dir)]
            if [group for group in several if self._group(group)] or not several:
                return

    def _group(self, paths: Sequence[Path]) -> bool:
        with ExitStack() as stack:
            try:
                opened = [(path, stack.enter_context(FileIO(path))) for path in paths]
            except OSError:
                return False
            for path, file in opened:
                self._copy(path, file, file_size(file))
        return all(self._name(path) in self.files for path in paths)

    def file(self, path: Path, *, end: Callable[[FileIO], int] | None = None) -> None:
        """Copy one file, up to where it ends now or to where ``end`` says."""
        try:
            file = FileIO(path)
        except FileNotFoundError:
            return  # removed meanwhile, or never there
        except OSError as error:
            self.left_out[self._name(path)] = error.strerror or str(error)
            return
        with file:
            self._copy(path, file, (end or file_size)(file))

    def _copy(self, path: Path, file: FileIO, size_bytes: int) -> None:
        name, status = self._name(path), os.fstat(file.fileno())
        stamp = (size_bytes, _settled_ns(status), status.st_ino)
        known = self._known.get(name)
        is_executable = bool(status.st_mode & stat.S_IXUSR)
        is_same = known is not None and known.stamp == stamp and stamp[1] > 0
        if known is not None and is_same and self._has(known.sha256):
            sha256 = known.sha256
        else:
            draft = self._backup.drafts / secrets.token_hex(8)
            file.seek(0)
            try:
                with explained(draft):
                    copy = copied(_Source(file), draft, limit_bytes=size_bytes)
                    self._keep(draft, copy.sha256, copy.size_bytes)
            except _UnreadableError as error:
                self.left_out[name] = str(error)
                return
            finally:
                draft.unlink(missing_ok=True)
            sha256, size_bytes = copy.sha256, copy.size_bytes
        self.files[name] = BackupFile(
            path=name,
            sha256=sha256,
            size_bytes=size_bytes,
            is_executable=is_executable,
            stamp=stamp,
        )

    def _has(self, sha256: str) -> bool:
        if sha256 in self._doubted:
            self._doubted.discard(sha256)
            if not is_good(self._backup, sha256):
                self._backup.object(sha256).unlink(missing_ok=True)
        return self._backup.object(sha256).exists()

    def _keep(self, draft: Path, sha256: str, size_bytes: int) -> None:
        if self._has(sha256):
            return
        place = self._backup.object(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(place)
        self._touched |= {place.parent, place.parent.parent}
        self.num_new += 1
        self.new_bytes += size_bytes

    def sync(self) -> None:
        """Bring the names of all that was copied to the disk."""
        for folder in sorted(self._touched):
            with explained(folder):
                sync_directory(folder)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._lab.root).as_posix()


def _settled_ns(status: os.stat_result) -> int:
    """Give when a file was changed; 0 if that is so recent that it proves nothing."""
    is_old = now_s() - status.st_mtime > _RECENT_S
    return status.st_mtime_ns if is_old else 0


def _is_wanted(path: Path) -> bool:
    """Leave out pipes and sockets, and what somebody is writing under another name."""
    is_draft = path.name.startswith(".") and path.name.endswith(".tmp")
    return path.is_file() and not is_draft


def file_size(file: FileIO) -> int:
    """Give how long an open file is now."""
    return os.fstat(file.fileno()).st_size


def _end_of_frames(file: FileIO) -> int:
    return _end_of_lines(file, frames.parse)


def _end_of_records(file: FileIO) -> int:
    return _end_of_lines(file, audit.parse)


def _end_of_lines(file: FileIO, parse: Callable[[bytes], object]) -> int:
    """Say where the last whole line ends; one that lacks just its newline is whole."""
    size = file_size(file)
    tail = b"".join(reversed([*_tail(file, size)]))
    try:
        is_whole = parse(tail) is not None
    except StoreFormatError:  # of a newer version, and whole
        is_whole = True
    return size if is_whole else size - len(tail)


def _tail(file: FileIO, end: int) -> Iterator[bytes]:
    """Give what follows the last newline, in pieces, the last first."""
    while end > 0:
        begin = max(0, end - _TAIL_BYTES)
        part = os.pread(file.fileno(), end - begin, begin)
        _, newline, rest = part.rpartition(b"\n")
        yield rest
        if newline:
            return
        end = begin
