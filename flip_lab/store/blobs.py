"""Files kept by their content: models, patches, notebooks. The same bytes once."""

from __future__ import annotations

import re
from hashlib import sha256 as hash_of
from pathlib import Path

from flip_lab.core.errors import CorruptArtifactError, StoreError
from flip_lab.core.ports import Artifact
from flip_lab.store.layout import LabDir, write_atomic

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The lab's kept files; implements ``ArtifactStore``.

    Any number of processes may put and get at once, without a lock: a name says its
    content, so two writers of one name write the same.

    Args:
        lab: The lab that keeps them.
    """

    def __init__(self, lab: LabDir) -> None:
        """Open nothing yet."""
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
        path = self._path(artifact.sha256)
        # A file of another length was cut short on the disk: write it anew.
        if not path.is_file() or path.stat().st_size != artifact.size_bytes:
            write_atomic(path, content)
        return artifact

    def get(self, sha256: str) -> bytes:
        """Give the bytes back, checked against their hash.

        Args:
            sha256: The hash that ``put`` gave, 64 lower-case hexadecimal digits.

        Raises:
            CorruptArtifactError: If the file is gone, or no longer matches its hash.
            StoreError: If ``sha256`` is not a hash.
        """
        if not _SHA256.fullmatch(sha256):
            raise StoreError(
                f"{sha256!r} is not a SHA-256 hash.",
                fix="Take the hash from the sha256 column of the artifacts table.",
            )
        path = self._path(sha256)
        fix = "Restore the file from a copy of the lab, or run the run again."
        try:
            content = path.read_bytes()
        except OSError as error:
            what = f"The kept file {path} cannot be read ({error.strerror})."
            raise CorruptArtifactError(what, fix=fix) from error
        if hash_of(content).hexdigest() != sha256:
            what = f"The kept file {path} no longer matches its hash."
            raise CorruptArtifactError(what, fix=fix)
        return content

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256
