"""Files kept by their content: models, patches, notebooks. The same bytes once.

What is put again is touched, under a lock that whoever collects unused files takes alone
(``flip_lab.store.collecting``): so a file that was put a moment ago, and that no run speaks
of yet, is never collected.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256 as hash_of
from io import FileIO
from pathlib import Path
from typing import Protocol

from flip_lab.core.errors import CorruptArtifactError, StoreError
from flip_lab.core.ports import Artifact
from flip_lab.store.layout import LabDir, explained, sync_directory, write_atomic

SHA256 = re.compile(r"[0-9a-f]{64}")
"""What a hash looks like, and a kept file is called."""

_PART_BYTES = 2**20
_FIX = "Restore the file from a copy of the lab, or run the run again."
_CHANGED = "The kept file {} no longer matches its hash."


class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes; none at the end."""
        ...


class Blobs:
    """The lab's kept files; implements ``ArtifactStore``.

    Any number of processes may put and get at once: a name says its content, so two
    writers of one name write the same.

    Args:
        lab: The lab that keeps them.
    """

    def __init__(self, lab: LabDir) -> None:
        """Open nothing yet."""
        self._lab = lab
        self._root = lab.blobs

    def put(self, content: bytes) -> Artifact:
        """Keep the bytes, whole or not at all.

        Args:
            content: The bytes; they are written only if no file holds them yet.

        Returns:
            Their hash and length.

        Raises:
            StoreNotWritableError: If they cannot be written.
        """
        artifact = Artifact(sha256=hash_of(content).hexdigest(), size_bytes=len(content))
        self._keep(artifact, lambda path: write_atomic(path, content))
        return artifact

    def put_file(self, source: Path) -> Artifact:
        """Keep a copy of a file of any size, without reading it into memory.

        Args:
            source: The file; what it holds while it is read is what is kept.

        Returns:
            The copy's hash and length.

        Raises:
            StoreError: If the file cannot be read.
            StoreNotWritableError: If the copy cannot be written; nothing is left behind.
        """
        draft = self._root / f".{os.getpid()}-{secrets.token_hex(6)}.tmp"
        with explained(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
        with _opened(source) as file:
            try:
                with explained(draft):
                    artifact = copied(file, draft)
                self._keep(artifact, lambda path: _moved(draft, path))
            finally:
                draft.unlink(missing_ok=True)
        return artifact

    def _keep(self, artifact: Artifact, write: Callable[[Path], None]) -> None:
        path = self.place(artifact.sha256)
        with collecting(self._lab, alone=False):
            try:
                # A file of another length was cut short on the disk: write it anew.
                if path.stat().st_size == artifact.size_bytes:
                    os.utime(path)  # who collects spares what is young
                    return
            except OSError:
                pass  # not there yet, or not ours to touch
            write(path)

    def spare(self, sha256: str) -> None:
        """Keep a file from the next collection, as if it were put again.

        Args:
            sha256: The hash.

        Raises:
            CorruptArtifactError: If the file is gone.
            StoreError: If ``sha256`` is not a hash.
        """
        path = self.place(sha256)
        with collecting(self._lab, alone=False):
            try:
                os.utime(path)
            except PermissionError:
                pass  # not ours to touch, and not ours to collect
            except OSError as error:
                raise CorruptArtifactError(_unreadable(path, error), fix=_FIX) from error

    def get(self, sha256: str) -> bytes:
        """Give the bytes back, checked against their hash.

        Args:
            sha256: The hash that ``put`` gave, 64 lower-case hexadecimal digits.

        Raises:
            CorruptArtifactError: If the file is gone, or no longer matches its hash.
            StoreError: If ``sha256`` is not a hash.
        """
        path = self.place(sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CorruptArtifactError(_unreadable(path, error), fix=_FIX) from error
        if hash_of(content).hexdigest() != sha256:
            raise CorruptArtifactError(_CHANGED.format(path), fix=_FIX)
        return content

    def check(self, sha256: str) -> Path:
        """Compare a file with its hash, without reading it into memory.

        Args:
            sha256: The hash.

        Returns:
            Where the file lies; nobody may write to it.

        Raises:
            CorruptArtifactError: If the file is gone, or no longer matches its hash.
            StoreError: If ``sha256`` is not a hash.
        """
        path = self.place(sha256)
        try:
            found = sha256_of(path)
        except OSError as error:
            raise CorruptArtifactError(_unreadable(path, error), fix=_FIX) from error
        if found != sha256:
            raise CorruptArtifactError(_CHANGED.format(path), fix=_FIX)
        return path

    def place(self, sha256: str) -> Path:
        """Say where a file lies or would lie.

        Raises:
            StoreError: If ``sha256`` is not a hash.
        """
        if not SHA256.fullmatch(sha256):
            raise StoreError(
                f"{sha256!r} is not a SHA-256 hash.",
                fix="Take the hash from the sha256 column of the artifacts table.",
            )
        return self._root / sha256[:2] / sha256


@contextmanager
def collecting(lab: LabDir, *, alone: bool) -> Generator[None]:
    """Keep files from being collected while one is put, or all from being put.

    Args:
        lab: The lab.
        alone: Whether to be the one who collects; else one of many who put.

    Raises:
        StoreNotWritableError: If the lab cannot be written.
    """
    path = lab.root / "blobs.lock"
    with explained(path):
        lock = FileIO(path, "a")
    with lock:
        with explained(path):
            fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            # Unlocked, not only closed: a child forked meanwhile would hold the lock.
            fcntl.flock(lock, fcntl.LOCK_UN)


def copied(source: Readable, target: Path, *, limit_bytes: int | None = None) -> Artifact:
    """Copy an open file to a new one and hash it on the way; it is on the disk then.

    Args:
        source: The file, read from where it stands.
        target: The new file.
        limit_bytes: At most so many bytes; None copies to the end.

    Returns:
        Hash and length of the copy.

    Raises:
        OSError: If one cannot be read or written; a part of the copy may be left.
    """
    hashed, left = hash_of(), limit_bytes
    with target.open("xb") as file:
        while part := source.read(_PART_BYTES if left is None else min(left, _PART_BYTES)):
            hashed.update(part)
            file.write(part)
            left = None if left is None else left - len(part)
        file.flush()
        os.fsync(file.fileno())
        size_bytes = file.tell()
    return Artifact(sha256=hashed.hexdigest(), size_bytes=size_bytes)


def sha256_of(path: Path) -> str:
    """Hash a file without reading it into memory.

    Raises:
        OSError: If it cannot be read.
    """
    hashed = hash_of()
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            hashed.update(part)
    return hashed.hexdigest()


@contextmanager
def _opened(source: Path) -> Generator[Readable]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise StoreError(
            f"{source} cannot be read ({error.strerror}).",
            fix="Give a file that you may read.",
        ) from error
    with file:
        yield file


def _moved(draft: Path, path: Path) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(path)
        sync_directory(path.parent)


def _unreadable(path: Path, error: OSError) -> str:
    return f"The kept file {path} cannot be read ({error.strerror})."
