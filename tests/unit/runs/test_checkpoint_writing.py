"""Checkpoints reach the disk: the newest always, each of many short rounds not."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from flip_lab.core.errors import FlipLabError, StoreNotWritableError
from flip_lab.runs import checkpoint_writing
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoint_writing import Disk
from flip_lab.runs.checkpoints import Manifest
from flip_lab.store.packs import Packed

ROUNDS = 40
LONG_S = 3_600.0


class Folder:
    """Remembers what it is asked for in place of doing it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.synced: list[int] = []
        self.removed: list[Path] = []
        self.has_synced = Event()
        self.is_full = False

    def folder(self, server_round: int) -> Path:
        """Give the place of a checkpoint."""
        return self.root / str(server_round)

    def sync(self, manifest: Manifest, on_disk: set[str]) -> None:
        """Note the round, or have no room for it."""
        del on_disk
        if self.is_full:
            raise StoreNotWritableError("The disk is full.", fix="Make room.")
        self.synced.append(manifest.server_round)
        self.has_synced.set()

    def remove(self, *paths: Path) -> None:
        """Note what is to go."""
        self.removed += paths


def manifest(server_round: int) -> Manifest:
    """Give a checkpoint of a round."""
    values: dict[str, Any] = {
        "run_id": "run",
        "server_round": server_round,
        "time_s": 0.0,
        "sequence": 0,
        "model_round": server_round,
        "model_digest": "",
        "model": None,
        "state": Packed(name="state.pack", size_bytes=0, digest=""),
        "journal": [],
        "metrics": {},
    }
    return Manifest(**values)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Give a folder that remembers."""
    return Folder(tmp_path)


@pytest.fixture
def troubles() -> list[FlipLabError]:
    """Collect what went wrong."""
    return []


@pytest.fixture
def disk(folder: Folder, troubles: list[FlipLabError]) -> Disk:
    """Give a disk over that folder."""
    return Disk(cast("CheckpointFolder", folder), troubles.append)


def test_short_rounds_do_not_ask_the_disk_each_time(
    disk: Disk, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is brought, then none until it is time again, and the last at the end."""
    monkeypatch.setattr(checkpoint_writing, "_SYNC_EVERY_S", LONG_S)
    disk.bring(manifest(1), [])
    assert folder.has_synced.wait(120)
    old = [folder.root / f"old-{number}" for number in range(2, ROUNDS + 1)]
    for number, path in enumerate(old, start=2):
        disk.bring(manifest(number), [path])
    disk.close()
    assert folder.synced == [1, ROUNDS]
    assert disk.reached == ROUNDS
    assert sorted(folder.removed) == sorted(old)


def test_what_may_be_removed_does_not_wait_for_the_disk(
    disk: Disk, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rarely the disk is asked, only a few old checkpoints pile up."""
    monkeypatch.setattr(checkpoint_writing, "_SYNC_EVERY_S", LONG_S)
    for number in range(1, ROUNDS + 1):
        disk.bring(manifest(number), [folder.root / f"old-{number}"])
        assert number - len(folder.removed) <= 16  # 8 wait, 8 may be under way
    disk.close()
    assert len(folder.removed) == ROUNDS


def test_rounds_that_are_long_enough_are_all_brought(
    disk: Disk, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is skipped when the disk may be asked at any time."""
    monkeypatch.setattr(checkpoint_writing, "_SYNC_EVERY_S", 0.0)
    for number in range(1, 6):
        folder.has_synced.clear()
        disk.bring(manifest(number), [])
        assert folder.has_synced.wait(120)
    disk.close()
    assert folder.synced == [1, 2, 3, 4, 5]


def test_a_full_disk_is_told_of_unless_the_checkpoint_is_gone(
    disk: Disk, folder: Folder, troubles: list[FlipLabError]
) -> None:
    """A checkpoint that was removed meanwhile is nobody's trouble."""
    folder.is_full = True
    folder.folder(2).mkdir()
    disk.bring(manifest(1), [])
    disk.close()
    assert not troubles
    other = Disk(cast("CheckpointFolder", folder), troubles.append)
    other.bring(manifest(2), [])
    other.close()
    assert [trouble.what for trouble in troubles] == ["The disk is full."]
    assert other.reached == 0
