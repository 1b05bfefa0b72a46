"""Build runs beside a lab's others, under another name, and read them back."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from flip_lab.core.clock import now_s
from flip_lab.core.errors import DamagedSourceError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.sealed import sha256_of
from flip_lab.runs import life_sign
from flip_lab.runs.run import Run
from flip_lab.store.journal import RESUMER, JournalWriter
from flip_lab.store.layout import LabDir, explained, write_json_atomic

_BATCH = 5000
_HIDDEN = ".import-"
_YOUNG_S = 60.0
_NOT_COPIED = ("run.json", "run.lock", "ended", "control")


@contextmanager
def staged(lab: LabDir) -> Generator[LabDir]:
    """Give a hidden lab inside a lab, which is gone afterwards.

    Raises:
        StoreNotWritableError: If it cannot be made, or what is done there cannot.
    """
    stage = LabDir(lab.root / f"{_HIDDEN}{secrets.token_hex(4)}")
    with explained(lab.root):
        _sweep(lab)
        stage.root.mkdir()
        try:
            with _locked(stage.root):
                yield stage
        finally:
            shutil.rmtree(stage.root, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Generator[bool]:
    """Hold a directory's lock, which goes with the process; False if another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)


def _sweep(lab: LabDir) -> None:
    """Remove what imports left that were killed."""
    for folder in lab.root.glob(f"{_HIDDEN}*"):
        with suppress(OSError), _locked(folder) as is_stale:
            age_s = now_s() - folder.stat().st_mtime
            if is_stale and age_s > _YOUNG_S:  # its maker may be about to lock it
                shutil.rmtree(folder, ignore_errors=True)


def build(stage: LabDir, parcel: Parcel, *, home: Path) -> None:
    """Write one run into the hidden lab, and read it back.

    Args:
        stage: The hidden lab.
        parcel: The run.
        home: Where the lab that shall keep the run will be.

    Raises:
        DamagedSourceError: If a kept file does not match its hash, or what was written
            does not read back.
    """
    folder, old = stage.run_dir(parcel.run_id), parcel.folder
    if old is not None:
        shutil.copytree(
            old,
            folder,
            symlinks=True,
            ignore=lambda at, _: _NOT_COPIED if Path(at) == old else (),
        )
    else:
        folder.mkdir(parents=True)
        if parcel.log is not None:
            shutil.copyfile(parcel.log, folder / "output.log")
    write_json_atomic(folder / "run.json", _moved(parcel, home))
    _write_events(stage, parcel)
    for sha256, path in parcel.files.items():
        copy = stage.blobs / sha256[:2] / sha256
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        if sha256_of(copy) != sha256:
            raise DamagedSourceError(
                f"{path} no longer matches its hash.", fix="Copy it again, or restore it."
            )
    life_sign.mark_ended(folder)


def _moved(parcel: Parcel, home: Path) -> Mapping[str, Any]:
    """Give the spec with the directories of the run where they will be."""
    spec, old = dict(parcel.spec), parcel.folder
    new, said = LabDir(home).run_dir(parcel.run_id), str(spec.get("working_dir") or "")
    if not said:
        spec["working_dir"] = str(new)
    elif old is not None and (place := Path(said)).is_relative_to(old):
        spec["working_dir"] = str(new / place.relative_to(old))
    return spec


def _write_events(stage: LabDir, parcel: Parcel) -> None:
    """Write the journal; what a resumer wrote must be in a file of a resumer's.

    Raises:
        DamagedSourceError: If it does not read back as it was.
    """
    for role, events in groupby(parcel.events, _role):
        several = list(events)
        writer = JournalWriter(stage, parcel.run_id, role=role)
        try:
            for begin in range(0, len(several), _BATCH):
                writer.append(several[begin : begin + _BATCH])
        finally:
            writer.close()
    (stage.live_dir(parcel.run_id) / "writer.lock").unlink(missing_ok=True)
    if digest(Run(stage, parcel.run_id).events()) != digest(parcel.events):
        raise DamagedSourceError(
            f"The events of run {parcel.run_id} do not read back as they were.",
            fix="Check the disk, and import the run again.",
        )


def _role(event: RunEvent) -> str:
    is_resumer = event.kind is EventKind.STATE and "resumed_after" in event.body
    return RESUMER if is_resumer else "run"


def digest(events: Iterable[RunEvent]) -> list[tuple[int, int, str, str]]:
    """Give events in a form in which NaN equals NaN and microseconds are enough."""
    return [
        (
            event.sequence,
            event.server_round,
            event.kind.value,
            json.dumps(
                [round(event.time_s * 1e6), event.body], sort_keys=True, default=dict
            ),
        )
        for event in events
    ]
