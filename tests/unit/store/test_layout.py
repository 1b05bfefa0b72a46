"""A lab opens where one can write, and says what to do where one cannot."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import orjson
import pytest

from flip_lab.core.errors import StoreError, StoreFormatError, StoreNotWritableError
from flip_lab.store.layout import LabDir, open_lab, write_atomic, write_json_atomic


def test_opening_makes_a_lab_once(tmp_path: Path) -> None:
    """The second opening finds the first one's lab, whole."""
    lab = open_lab(tmp_path / "deep" / "lab")
    first = (lab.root / "lab.json").read_bytes()
    assert open_lab(str(lab.root)) == lab
    assert (lab.root / "lab.json").read_bytes() == first
    assert orjson.loads(first).keys() == {"format", "id", "created_s"}
    assert [path.name for path in lab.root.iterdir()] == ["lab.json"]


def test_places_follow_the_layout(tmp_path: Path) -> None:
    """Each kind of thing has its directory, each run its own."""
    lab = LabDir(tmp_path)
    assert lab.run_dir("a") == tmp_path / "runs" / "a"
    assert lab.live_dir("a") == tmp_path / "live" / "a"
    assert lab.blobs == tmp_path / "blobs"


def test_a_relative_path_stays_the_same_lab_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab does not move when the process changes its directory."""
    monkeypatch.chdir(tmp_path)
    assert open_lab("lab").root == tmp_path / "lab"


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_lab("~/lab").root == tmp_path / "lab"


def test_a_file_is_no_place_for_a_lab(tmp_path: Path) -> None:
    """The error names the path, and what would work."""
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(StoreNotWritableError, match=r"notes\.txt cannot be written.*Fix: "):
        open_lab(path)
    with pytest.raises(StoreNotWritableError):
        open_lab(path / "lab")
    assert path.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_a_disk_that_even_root_cannot_write_is_refused() -> None:
    """Writability is tried, not read from the permissions."""
    with pytest.raises(StoreNotWritableError, match="/proc/lab"):
        open_lab("/proc/lab")


def test_a_lab_on_a_disk_that_became_read_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An existing lab is tried as well, since a run would fail on it later."""

    def read_only(**_options: object) -> None:
        raise OSError(30, "Read-only file system")

    open_lab(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(StoreNotWritableError, match=r"Read-only.*Fix: Choose a directory"):
        open_lab(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_lab_that_became_read_only_can_still_be_read(tmp_path: Path) -> None:
    """Without ``create`` a lab needs no writing; with it, the user is told."""
    lab = open_lab(tmp_path / "lab")
    lab.root.chmod(0o500)
    try:
        assert open_lab(lab.root, create=False) == lab
        with pytest.raises(StoreNotWritableError):
            open_lab(lab.root)
    finally:
        lab.root.chmod(0o700)


def test_a_directory_that_is_no_lab_is_not_made_one(tmp_path: Path) -> None:
    """``create=False`` only opens, and says how to make a lab."""
    with pytest.raises(StoreError, match=r"is not a lab.*Fix: Make one with flip_lab\.Lab"):
        open_lab(tmp_path, create=False)
    with pytest.raises(StoreError, match="is not a lab"):
        open_lab(tmp_path / "missing", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_format_is_refused(tmp_path: Path, *, create: bool) -> None:
    """Old code does not touch a newer lab."""
    write_json_atomic(tmp_path / "lab.json", {"format": 99, "id": "x", "created_s": 0.0})
    with pytest.raises(StoreFormatError, match=r"format 99.*Fix: Update FLIP Lab"):
        open_lab(tmp_path, create=create)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": null}'])
def test_a_broken_description_is_refused(tmp_path: Path, content: bytes) -> None:
    """A damaged ``lab.json`` is reported, never overwritten."""
    (tmp_path / "lab.json").write_bytes(content)
    with pytest.raises(StoreFormatError, match=r"lab\.json cannot be read"):
        open_lab(tmp_path)
    assert (tmp_path / "lab.json").read_bytes() == content


def test_an_atomic_write_leaves_nothing_but_the_file(tmp_path: Path) -> None:
    """The old content is replaced, no draft stays behind."""
    path = tmp_path / "run" / "run.json"
    write_json_atomic(path, {"a": 1})
    write_json_atomic(path, {"a": [1, 2]})
    assert orjson.loads(path.read_bytes()) == {"a": [1, 2]}
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]


def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new content is safe on the disk the old file stands."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreNotWritableError, match=r"No space left.*Fix: Free some space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
