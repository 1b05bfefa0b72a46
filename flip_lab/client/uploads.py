"""Files on their way to a lab: the tus protocol, version 1.0 (https://tus.io/protocols).

What breaks off goes on where it stopped, and the lab compares the whole with its hash.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from flip_lab.client.answers_lab import UploadState
from flip_lab.client.packing import pack_app
from flip_lab.client.patience import pause_s
from flip_lab.client.wire import Wire
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    LabUnreachableError,
    StoreError,
    TooSlowError,
    UploadError,
)

_TUS = {"Tus-Resumable": "1.0.0"}
_LARGEST_PIECE_BYTES = 2**23  # the API takes 16 MiB at a time
_SMALLEST_PIECE_BYTES = 2**16


def send_path(wire: Wire, path: Path, *, kind: str | None = None) -> str:
    """Send a file, or a Flower App directory as a zip archive.

    Args:
        wire: To whom.
        path: The file or the directory.
        kind: ``"app"``, ``"scenario"``, ``"model"`` or ``"data"``; ``None`` goes by the
            name's ending.

    Returns:
        The upload's id.

    Raises:
        StoreError: If it cannot be read.
        FlipLabError: As ``RemoteLab.upload``.
    """
    if path.is_dir():
        with tempfile.TemporaryFile() as packed:
            pack_app(path, packed)
            return _send(wire, packed, f"{path.resolve().name}.zip", "app")
    try:
        with path.open("rb") as file:
            return _send(wire, file, path.name, kind)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror}.", fix="Check the path."
        ) from error


def _send(wire: Wire, file: BinaryIO, name: str, kind: str | None) -> str:
    size_bytes = file.seek(0, 2)
    file.seek(0)
    sha256 = hashlib.file_digest(cast("Any", file), "sha256").hexdigest()
    told = {"filename": name, "kind": kind, "sha256": sha256}
    headers = {
        **_TUS,
        "Upload-Length": str(size_bytes),
        "Upload-Metadata": _metadata({k: v for k, v in told.items() if v is not None}),
    }
    begun = wire.ask("POST", "/uploads", headers=headers, is_safe=True)
    upload_id = str(begun.headers["location"]).rpartition("/")[2]
    _Sending(wire, file, upload_id, size_bytes).send()
    return upload_id


class _Sending:
    """One file on its way; pieces get smaller when the line is bad."""

    def __init__(self, wire: Wire, file: BinaryIO, upload_id: str, size_bytes: int) -> None:
        self._wire = wire
        self._file = file
        self._place = f"/uploads/{upload_id}"
        self._size_bytes = size_bytes
        self._piece_bytes = _LARGEST_PIECE_BYTES
        self._attempt = 0
        self._heard_s = tick_s()

    def send(self) -> None:
        """Send all of it; the answer to the last piece says whether it is good."""
        offset = 0
        while offset < self._size_bytes:
            try:
                offset = self._piece(offset)
            except (LabUnreachableError, TooSlowError, UploadError) as error:
                offset = self._offset_after(error)
        if self._attempt:  # the last answer may have been lost
            self._wire.get(self._place, UploadState)

    def _piece(self, offset: int) -> int:
        self._file.seek(offset)
        content = self._file.read(self._piece_bytes)
        kind = "application/offset+octet-stream"
        self._wire.line.good(
            "PATCH",
            self._wire.url(self._place),
            headers={**_TUS, "Content-Type": kind, "Upload-Offset": str(offset)},
            content=content,
        )
        self._attempt, self._heard_s = 0, tick_s()
        return offset + len(content)

    def _offset_after(self, error: Exception) -> int:
        """Ask how much has arrived; if that goes on for too long, give up."""
        if tick_s() - self._heard_s > self._wire.line.timeout_s:
            raise error
        self._attempt += 1
        self._piece_bytes = max(_SMALLEST_PIECE_BYTES, self._piece_bytes // 2)
        time.sleep(pause_s(self._attempt))
        told = self._wire.ask("HEAD", self._place, headers=_TUS)
        return int(told.headers["upload-offset"])


def _metadata(values: Mapping[str, str]) -> str:
    pairs = {name: b64encode(value.encode()).decode() for name, value in values.items()}
    return ",".join(f"{name} {value}" for name, value in pairs.items())
