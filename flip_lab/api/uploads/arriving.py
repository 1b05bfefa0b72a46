"""The bytes of an upload as they come, one writer at a time, and the check at their end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager

from flip_lab.api.uploads.kinds import examine
from flip_lab.api.uploads.record import Upload
from flip_lab.core.errors import (
    CorruptArtifactError,
    NoSuchPlaceError,
    TooLargeError,
    UploadError,
)
from flip_lab.store.blobs import sha256_of
from flip_lab.store.layout import explained


class Piece:
    """The end of an upload's data, for the one who may append to it.

    Args:
        descriptor: The data, open for appending and locked.
        left: Bytes that are missing.
    """

    def __init__(self, descriptor: int, left: int) -> None:
        """Write nothing yet."""
        self._file = descriptor
        self._left = left

    def write(self, content: bytes | bytearray) -> None:
        """Append bytes; those that a full disk took stay.

        Raises:
            TooLargeError: If they are more than are missing; then none is written.
            OSError: If they cannot be written.
        """
        if len(content) > self._left:
            raise TooLargeError(
                f"{len(content) - self._left:,} bytes more came than were announced.",
                fix="Announce the file's length, and send no more than that.",
            )
        view = memoryview(content)
        while view:
            done = os.write(self._file, view)
            self._left -= done
            view = view[done:]


@contextmanager
def appending(upload: Upload, offset: int) -> Generator[Piece]:
    """Be the only one who appends to an upload.

    Args:
        upload: The upload.
        offset: Where its sender believes that it goes on.

    Raises:
        NoSuchPlaceError: If it was removed.
        UploadError: If it goes on elsewhere, or somebody else appends to it.
        StoreNotWritableError: If it cannot be written; what was written stays.
    """
    with alone(upload) as descriptor:
        size = os.fstat(descriptor).st_size
        if offset != size:
            raise UploadError(
                f"{upload.name} goes on at {size}, not at {offset}.",
                fix=f"HEAD /uploads/{upload.id} says where; send what follows.",
            )
        with explained(upload.data):
            try:
                yield Piece(descriptor, upload.size_bytes - size)
            finally:  # also what came before the line broke
                os.fsync(descriptor)


@contextmanager
def alone(upload: Upload) -> Generator[int]:
    """Keep others from appending to an upload, or from checking it.

    Yields:
        Its data, open for appending.

    Raises:
        NoSuchPlaceError: If it was removed.
        UploadError: If somebody else is at it.
    """
    try:
        descriptor = os.open(upload.data, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        raise NoSuchPlaceError(
            f"Upload {upload.id} was removed.", fix="Begin anew: POST /uploads."
        ) from None
    try:
        _lock(descriptor, upload)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, upload: Upload) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UploadError(
            f"Somebody else is writing {upload.name}.",
            fix="Wait until that piece is through, then ask with HEAD where to go on.",
        ) from None


def proven(upload: Upload) -> str:
    """Make sure that what arrived is what was sent and what it says it is.

    Returns:
        Its hash.

    Raises:
        CorruptArtifactError: If it cannot be read.
        UploadError: If its hash is another one.
        UploadTypeError: If it is of another kind, or an archive that is not safe.
        FlipLabError: If it is an app or a scenario with a fault of its own.
        StoreNotWritableError: If an app cannot be unpacked.
    """
    try:
        sha256 = sha256_of(upload.data)
    except OSError as error:
        raise CorruptArtifactError(
            f"{upload.name} cannot be read ({error.strerror}).", fix="Send it again."
        ) from error
    if upload.told_sha256 not in {None, sha256}:
        raise UploadError(
            f"{upload.name} arrived with the hash {sha256}, not {upload.told_sha256}.",
            fix="Send it again: it was changed on the way, or while it was read.",
        )
    examine(upload.kind, upload.name, upload.data, upload.app)
    return sha256
