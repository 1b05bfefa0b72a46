"""Kept files: the same bytes once, and never other bytes than were put."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import CorruptArtifactError, StoreError
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir


@given(st.binary(max_size=2000))
def test_what_is_put_can_be_got(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Any bytes come back, under the hash that anybody can compute."""
    blobs = Blobs(LabDir(tmp_path_factory.mktemp("lab")))
    artifact = blobs.put(content)
    assert artifact.sha256 == sha256(content).hexdigest()
    assert artifact.size_bytes == len(content)
    assert blobs.get(artifact.sha256) == content


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_the_same_bytes_are_kept_once(lab: LabDir) -> None:
    """Putting again writes nothing, and no draft stays behind."""
    first = Blobs(lab).put(b"model")
    [path] = _files(lab.blobs)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert Blobs(lab).put(b"model") == first
    assert _files(lab.blobs) == [lab.blobs / first.sha256[:2] / first.sha256]
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("damaged", [b"modem", b"mod", b""])
def test_a_damaged_file_is_never_handed_out(lab: LabDir, damaged: bytes) -> None:
    """Other bytes under a hash are an error that names the file."""
    artifact = Blobs(lab).put(b"model")
    [path] = _files(lab.blobs)
    path.write_bytes(damaged)
    with pytest.raises(CorruptArtifactError, match=artifact.sha256):
        Blobs(lab).get(artifact.sha256)


def test_a_file_that_was_cut_short_heals_when_put_again(lab: LabDir) -> None:
    """A torn copy does not stand in the way of the whole one."""
    artifact = Blobs(lab).put(b"model")
    _files(lab.blobs)[0].write_bytes(b"mo")
    Blobs(lab).put(b"model")
    assert Blobs(lab).get(artifact.sha256) == b"model"


def test_a_missing_file_says_so(lab: LabDir) -> None:
    """A hash that nobody put is an error with a fix."""
    with pytest.raises(CorruptArtifactError, match=r"cannot be read.*Fix: Restore"):
        Blobs(lab).get("0" * 64)


@pytest.mark.parametrize("name", ["", "abc", "../lab.json", "G" * 64, "0" * 65])
def test_what_is_no_hash_is_refused(lab: LabDir, name: str) -> None:
    """Only a hash names a kept file; a path does not."""
    with pytest.raises(StoreError, match="is not a SHA-256 hash"):
        Blobs(lab).get(name)
