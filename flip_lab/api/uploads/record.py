"""One upload, as its directory tells it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from flip_lab.api.uploads.kinds import Kind

LIFETIME_S = 24 * 3600.0
"""How long an upload stays after the last piece of it arrived, seconds."""

UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
"""What the id of an upload looks like, which nobody can guess."""

TOLD, DATA, WHOLE, APP = "upload.json", "data", "whole.json", "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that is being sent, or has arrived.

    Attributes:
        folder: Its directory.
        name: What its sender calls it; no path is made of it.
        kind: What it says it is.
        size_bytes: Its length.
        told_sha256: Hash that its sender gave; ``None`` without one.
        offset: How much has arrived, bytes.
        sha256: Hash of what arrived, once it was checked; ``None`` before.
        created_s: When it began, seconds since the Unix epoch.
        expires_s: When it may be swept.
    """

    folder: Path
    name: str
    kind: Kind
    size_bytes: int
    told_sha256: str | None
    offset: int
    sha256: str | None
    created_s: float
    expires_s: float

    @property
    def id(self) -> str:
        """Its id: 32 hexadecimal digits."""
        return self.folder.name

    @property
    def is_whole(self) -> bool:
        """Whether it has arrived and is what it says."""
        return self.sha256 is not None

    @property
    def data(self) -> Path:
        """The file with what has arrived."""
        return self.folder / DATA

    @property
    def app(self) -> Path:
        """The directory with the files of an uploaded Flower App."""
        return self.folder / APP


def read_upload(folder: Path) -> Upload | None:
    """Read an upload's directory; ``None`` where there is none, or a damaged one."""
    try:
        told = orjson.loads((folder / TOLD).read_bytes())
        data = (folder / DATA).stat()
        sha256 = None
        with suppress(FileNotFoundError):
            sha256 = str(orjson.loads((folder / WHOLE).read_bytes())["sha256"])
        return Upload(
            folder=folder,
            name=told["name"],
            kind=told["kind"],
            size_bytes=told["size_bytes"],
            told_sha256=told["sha256"],
            offset=data.st_size,
            sha256=sha256,
            created_s=told["created_s"],
            expires_s=data.st_mtime + LIFETIME_S,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
