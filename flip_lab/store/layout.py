"""Where a lab keeps its things, and how a file gets there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from flip_lab.core.clock import now_s
from flip_lab.core.errors import StoreError, StoreFormatError, StoreNotWritableError

FORMAT = 1
"""The layout that this code writes; a lab of a higher format is refused."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class LabDir:
    """A lab's directory; picklable, opens nothing.

    Attributes:
        root: Absolute path of the directory that holds ``lab.json``.
    """

    root: Path

    @property
    def runs(self) -> Path:
        """What each run was asked to do, and what its process printed."""
        return self.root / "runs"

    @property
    def live(self) -> Path:
        """The journals."""
        return self.root / "live"

    @property
    def segments(self) -> Path:
        """Sealed facts, see ``flip_lab.store.manifest``."""
        return self.root / "segments"

    @property
    def blobs(self) -> Path:
        """Files kept by their content."""
        return self.root / "blobs"

    def run_dir(self, run_id: str) -> Path:
        """Give the directory with one run's ``run.json``."""
        return self.runs / run_id

    def live_dir(self, run_id: str) -> Path:
        """Give the directory with one run's journals."""
        return self.live / run_id


def open_lab(path: str | Path, *, create: bool = True) -> LabDir:
    """Open a lab, and make it first where there is none.

    Args:
        path: The lab's directory; ``~`` stands for the home directory.
        create: Whether to make a missing lab and to insist on being able to write. With
            False an existing lab is opened as it is, so that it can be read from a
            read-only disk.

    Returns:
        The lab, with an absolute path.

    Raises:
        StoreNotWritableError: If ``create`` is set and the directory cannot be made or
            written.
        StoreFormatError: If the lab's format is newer than this code, or ``lab.json``
            cannot be read.
        StoreError: If ``create`` is not set and there is no lab.
    """
    lab = LabDir(Path(path).expanduser().absolute())
    if create:
        _make(lab.root)
    _check_format(lab.root / "lab.json")
    return lab


def _make(root: Path) -> None:
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
        # Only writing shows whether one may: root passes every check of permissions.
        with tempfile.TemporaryFile(dir=root):
            pass
        is_lab = (root / "lab.json").exists()
    if not is_lab:
        # Of two processes that make the same lab at once the later id stays; both are good.
        lab = {"format": FORMAT, "id": secrets.token_hex(8), "created_s": now_s()}
        write_json_atomic(root / "lab.json", lab)


def _check_format(path: Path) -> None:
    try:
        lab_format = int(orjson.loads(path.read_bytes())["format"])
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{path.parent} is not a lab: it has no lab.json.",
            fix=f"Make one with flip_lab.Lab({str(path.parent)!r}), or correct the path.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(
            f"{path} cannot be read as the description of a lab ({error}).",
            fix="Restore the file from a copy, or choose another directory for the lab.",
        ) from error
    if lab_format > FORMAT:
        raise StoreFormatError(
            f"{path.parent} has format {lab_format}; this version reads up to {FORMAT}.",
            fix="Update FLIP Lab (pip install -U flip-lab), or choose another directory.",
        )


def names_in(folder: Path) -> list[str]:
    """Give the names of what a directory holds, in no order; none where it is missing."""
    try:
        with os.scandir(folder) as entries:  # a thousand runs: a tenth of what Path takes
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_json_atomic(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the whole file or none, even after a power cut.

    Args:
        path: The file; missing directories are made, an old file is replaced.
        value: Anything that JSON can hold. NaN and the infinities become null.

    Raises:
        StoreNotWritableError: If the file cannot be written; nothing is left behind.
    """
    write_atomic(path, orjson.dumps(value, option=orjson.OPT_INDENT_2, default=dict))


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees it whole or not at all.

    Args:
        path: The file; missing directories are made, an old file is replaced.
        content: What it shall hold.

    Raises:
        StoreNotWritableError: If the file cannot be written; nothing is left behind.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename survive a power cut: the name lives in the directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what the operating system says about a path into an error with a fix.

    Args:
        path: What was about to be made or written.

    Raises:
        StoreNotWritableError: In place of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        fix = (
            "Free some space or raise the quota, then try again."
            if error.errno in _FULL
            else "Choose a directory that you may write, e.g. flip_lab.Lab('my-lab')."
        )
        raise StoreNotWritableError(
            f"{path} cannot be written ({error.strerror or error}).", fix=fix
        ) from error
