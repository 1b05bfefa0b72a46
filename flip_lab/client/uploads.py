"""Files on their way to a lab: hashed, sent in pieces, gone on with where they stopped."""

from __future__ import annotations

from pathlib import Path

from flip_lab.client.wire import Wire
from flip_lab.core.errors import UploadTypeError


def send_path(wire: Wire, path: Path) -> str:
    """Send a file or a Flower App directory, see ``RemoteLab.upload``.

    Returns:
        The upload's id.
    """
    raise UploadTypeError(f"{wire} {path}", fix="")
