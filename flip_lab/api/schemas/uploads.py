"""Uploads, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from flip_lab.api.uploads.kinds import Kind


class UploadState(BaseModel):
    """A file that is being sent, or has arrived.

    Attributes:
        id: Its id.
        name: What its sender calls it.
        kind: What it says it is.
        size_bytes: Its length.
        offset: How much has arrived, bytes.
        is_whole: Whether it has arrived and is what it says: it can be used.
        sha256: Hash of it, once it is whole; null before.
        created_at: When it began.
        expires_at: When it is removed, unless more of it comes.
    """

    id: str
    name: str
    kind: Kind
    size_bytes: int
    offset: int
    is_whole: bool
    sha256: str | None
    created_at: datetime
    expires_at: datetime
