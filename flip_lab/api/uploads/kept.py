"""Uploads on the disk: one directory each, whose data is as long as what arrived.

```
uploads/<id>/upload.json   what it shall be, written before the first byte
             data          what has arrived; its length is the offset
             whole.json    there once all of it arrived, and is what it says
             app/          of a Flower App: its files
```

Pieces are only ever appended, under a lock on the data that the kernel frees at any death;
so a kill leaves an upload that goes on where its data ends. Nobody uses one before
``whole.json`` is there; whoever asks first after a kill has it checked.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from flip_lab.api.uploads.arriving import Piece, alone, appending, proven
from flip_lab.api.uploads.kinds import Kind, check_name, kind_of
from flip_lab.api.uploads.record import (
    DATA,
    LIFETIME_S,
    TOLD,
    UPLOAD_ID,
    WHOLE,
    Upload,
    read_upload,
)
from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    FlipLabError,
    NoSuchPlaceError,
    StoreNotWritableError,
    TooLargeError,
    TooManyError,
    UploadError,
)
from flip_lab.store.blobs import SHA256
from flip_lab.store.layout import LabDir, explained, names_in, write_json_atomic

LARGEST_BYTES = 2**30
"""The largest upload, unless a server says otherwise."""

MOST = 100
"""Uploads that a lab keeps at a time."""

_ROOM_LEFT_BYTES = 2**26  # runs write to the same disk
_DRAFT, _GONE = ".draft-", ".gone-"


class Uploads:
    """The uploads of a lab; any number of servers may share them.

    Args:
        lab: The lab.
        largest_bytes: The largest one that is taken.
    """

    def __init__(self, lab: LabDir, *, largest_bytes: int = LARGEST_BYTES) -> None:
        """Make nothing yet."""
        self._root = lab.root / "uploads"
        self.largest_bytes = largest_bytes

    def create(
        self,
        name: str,
        size_bytes: int,
        *,
        kind: str | None = None,
        sha256: str | None = None,
    ) -> Upload:
        """Begin an upload.

        Args:
            name: What its sender calls it.
            size_bytes: Its length.
            kind: ``"app"``, ``"scenario"``, ``"model"`` or ``"data"``; ``None`` goes by
                the name's ending.
            sha256: Hash of all of it, to be checked in the end.

        Raises:
            UploadTypeError: If files of this kind are not taken.
            UploadError: If the hash is none.
            TooLargeError: If it is too large.
            TooManyError: If too many are kept already.
            StoreNotWritableError: If the disk has no room for it.
        """
        check_name(name)
        known = kind_of(name, kind)
        if sha256 is not None and not SHA256.fullmatch(sha256):
            raise UploadError(
                f"{sha256!r:.100} is not a SHA-256 hash.",
                fix="Give 64 hexadecimal digits in lower case, or none.",
            )
        if size_bytes > self.largest_bytes:
            raise TooLargeError(
                f"{name} has {size_bytes:,} bytes: more than {self.largest_bytes:,}.",
                fix="Send less, or start the server with a higher --max-upload.",
            )
        self.sweep()
        if sum(bool(UPLOAD_ID.fullmatch(each)) for each in names_in(self._root)) >= MOST:
            raise TooManyError(
                f"{MOST} uploads are kept already.",
                fix="Use or delete some: DELETE /uploads/{id}. Old ones go after a day.",
            )
        return self._make(name, known, size_bytes, sha256)

    def _make(self, name: str, kind: Kind, size_bytes: int, sha256: str | None) -> Upload:
        upload_id = secrets.token_hex(16)
        draft = self._root / f"{_DRAFT}{upload_id}"
        told = {"name": name, "kind": kind, "size_bytes": size_bytes, "sha256": sha256}
        try:
            with explained(draft):
                draft.mkdir(parents=True)
                free = shutil.disk_usage(draft).free
                (draft / DATA).touch()
            _require_room(size_bytes, free)
            write_json_atomic(draft / TOLD, {**told, "created_s": now_s()})
            with explained(draft):
                draft.rename(self._root / upload_id)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return self.find(upload_id)

    def find(self, upload_id: str) -> Upload:
        """Say how far an upload is.

        Raises:
            NoSuchPlaceError: If there is none, or it was swept.
        """
        is_id = UPLOAD_ID.fullmatch(upload_id)
        found = read_upload(self._root / upload_id) if is_id else None
        if found is None or found.expires_s < now_s():
            raise NoSuchPlaceError(
                f"There is no upload {upload_id[:80]!r}.",
                fix="Begin anew: POST /uploads. An upload that rests for a day is removed.",
            )
        return found

    @contextmanager
    def appending(self, upload_id: str, offset: int) -> Generator[Piece]:
        """Be the only one who appends to an upload, at this offset.

        Raises:
            NoSuchPlaceError: If there is no such upload.
            UploadError: If it goes on elsewhere, or somebody else appends to it.
            StoreNotWritableError: If it cannot be written; what was written stays.
        """
        with appending(self.find(upload_id), offset) as piece:
            yield piece

    def checked(self, upload_id: str) -> Upload:
        """Let an upload count if all of it has arrived; one that does not fit is removed.

        Returns:
            The upload; of one that goes on, as it is.

        Raises:
            NoSuchPlaceError: If there is no such upload.
            UploadError: If it does not match its hash, or is being written.
            UploadTypeError: If it is not what it says it is.
            StoreNotWritableError: If it cannot be unpacked; then it can be tried again.
            FlipLabError: If it is an app or a scenario with a fault of its own.
        """
        upload = self.find(upload_id)
        if upload.is_whole or upload.offset < upload.size_bytes:
            return upload
        with alone(upload):
            upload = self.find(upload_id)
            if upload.is_whole:
                return upload
            try:
                sha256 = proven(upload)
            except StoreNotWritableError:
                raise  # the disk is full, and the file may be good
            except FlipLabError:
                self.remove(upload_id)
                raise
            write_json_atomic(upload.folder / WHOLE, {"sha256": sha256})
        return replace(upload, sha256=sha256)

    def remove(self, upload_id: str) -> None:
        """Remove an upload, at once for everybody.

        Raises:
            NoSuchPlaceError: If there is none.
            StoreNotWritableError: If it cannot be removed.
        """
        upload = self.find(upload_id)
        gone = self._root / f"{_GONE}{upload.id}"
        with explained(gone), suppress(FileNotFoundError):  # somebody else did it
            upload.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads that rested for a day, and what kills left behind."""
        for name in names_in(self._root):
            path = self._root / name
            if name.startswith(_GONE) or (
                name.startswith(_DRAFT) and _age_s(path) > LIFETIME_S
            ):
                shutil.rmtree(path, ignore_errors=True)
            elif UPLOAD_ID.fullmatch(name) and _age_s(path / DATA) > LIFETIME_S:
                gone = self._root / f"{_GONE}{name}"
                with suppress(OSError):  # somebody else did it
                    path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def _age_s(path: Path) -> float:
    """Say how long ago something was changed; one that is gone is young."""
    try:
        return now_s() - path.stat().st_mtime
    except OSError:
        return 0.0


def _require_room(size_bytes: int, free_bytes: int) -> None:
    if free_bytes < size_bytes + _ROOM_LEFT_BYTES:
        raise StoreNotWritableError(
            f"The disk has no room for {size_bytes:,} bytes: {free_bytes:,} are free.",
            fix="Free some space: flip-lab store info says what the lab takes.",
        )
