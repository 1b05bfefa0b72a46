"""Kept files: the same bytes once, and never other bytes than were put."""

from __future__ import annotations

import os
import tracemalloc
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
    """Putting again writes nothing, and no draft stays behind; the file counts as new."""
    first = Blobs(lab).put(b"model")
    [path] = _files(lab.blobs)
    os.utime(path, (1.0, 1.0))
    before = path.stat()
    assert Blobs(lab).put(b"model") == first
    assert _files(lab.blobs) == [lab.blobs / first.sha256[:2] / first.sha256]
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime > before.st_mtime


@pytest.mark.parametrize("size_bytes", [0, 5, 3 * 2**20 + 1])
def test_a_file_is_kept_as_its_bytes_are(
    lab: LabDir, tmp_path: Path, size_bytes: int
) -> None:
    """A copy of a file and the same bytes from memory are one kept file."""
    content = os.urandom(size_bytes)
    source = tmp_path / "large"
    source.write_bytes(content)
    artifact = Blobs(lab).put_file(source)
    assert Blobs(lab).put(content) == artifact
    assert Blobs(lab).put_file(source) == artifact
    assert _files(lab.blobs) == [Blobs(lab).check(artifact.sha256)]
    assert Blobs(lab).get(artifact.sha256) == content


def test_a_large_file_is_kept_with_little_memory(lab: LabDir, tmp_path: Path) -> None:
    """Copying takes a piece at a time."""
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    artifact = Blobs(lab).put_file(source)
    Blobs(lab).check(artifact.sha256)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert artifact.size_bytes == 64 * 2**20
    assert peak_bytes < 8 * 2**20


def test_a_file_that_cannot_be_read_is_not_kept(lab: LabDir, tmp_path: Path) -> None:
    """The error names it, and nothing is left behind."""
    with pytest.raises(StoreError, match="nowhere"):
        Blobs(lab).put_file(tmp_path / "nowhere")
    assert _files(lab.blobs) == []


@pytest.mark.parametrize("damaged", [b"modem", b"mod", b""])
def test_a_damaged_file_is_never_handed_out(lab: LabDir, damaged: bytes) -> None:
    """Other bytes under a hash are an error that names the file."""
    artifact = Blobs(lab).put(b"model")
    [path] = _files(lab.blobs)
    path.write_bytes(damaged)
    with pytest.raises(CorruptArtifactError, match=artifact.sha256):
        Blobs(lab).get(artifact.sha256)
    with pytest.raises(CorruptArtifactError, match=artifact.sha256):
        Blobs(lab).check(artifact.sha256)


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
    with pytest.raises(CorruptArtifactError, match=r"cannot be read.*Fix: Restore"):
        Blobs(lab).check("0" * 64)


@pytest.mark.parametrize("name", ["", "abc", "../lab.json", "G" * 64, "0" * 65])
def test_what_is_no_hash_is_refused(lab: LabDir, name: str) -> None:
    """Only a hash names a kept file; a path does not."""
    with pytest.raises(StoreError, match="is not a SHA-256 hash"):
        Blobs(lab).get(name)
