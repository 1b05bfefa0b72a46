"""A run of a lab elsewhere, brought into a lab here: all of it, under its own id.

Files arrive in a hidden directory of the lab, each compared with its hash; whoever is
interrupted goes on there. Then the run appears in the lab whole, as an import does.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flip_lab.client.answers import PackedFile, PackedRun
from flip_lab.client.files import PART, fetch_part
from flip_lab.client.wire import Wire
from flip_lab.core.errors import (
    CorruptArtifactError,
    DamagedSourceError,
    StoreBusyError,
)

if TYPE_CHECKING:
    from flip_lab.store.layout import LabDir

_HIDDEN = ".fetch-"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3  # a lab that is tidied up meanwhile may list other files


def fetch_run(
    wire: Wire, place: str, lab: LabDir, *, found_as: Mapping[str, Any] | None = None
) -> str:
    """Bring an ended run into a lab; what is there already stays as it is.

    Args:
        wire: Whom to ask.
        place: Where the run is: the path after ``/v1``.
        lab: The lab that shall keep it.
        found_as: What its ``run.json`` shall say here in place of what it says there.

    Returns:
        The run's id.

    Raises:
        IllegalTransitionError: If the run is under way.
        RunExistsError: If the lab here keeps another run of this id.
        CorruptArtifactError: If a file does not arrive as it is there.
        DamagedSourceError: If what is sent is no run.
        StoreBusyError: If somebody else is fetching it into this lab.
        LabUnreachableError: If the other lab is away for too long; asked again, it goes on.
        StoreNotWritableError: If this lab cannot be written.
    """
    from flip_lab.exchange.parcels import Parcel, checked_id
    from flip_lab.runs.packed import BLOBS, EVENTS, RUN, read_packed_events
    from flip_lab.runs.unpacking import keep
    from flip_lab.store.layout import explained

    packed = wire.get(f"{place}/pack", PackedRun)
    run_id = checked_id(packed.run_id)
    is_here = (lab.run_dir(run_id) / "run.json").exists()
    with explained(lab.root), _arriving(lab, run_id) as folder:
        # Its events tell whether a run that is here already is the same.
        packed = _bring(wire, place, packed, folder, only=EVENTS if is_here else "")
        own = folder / RUN
        own.mkdir(exist_ok=True)
        blobs = [file for file in packed.files if file.path.startswith(BLOBS)]
        parcel = Parcel(
            run_id=run_id,
            spec=_spec(packed, own, found_as or {}),
            events=read_packed_events(run_id, folder / EVENTS),
            tags=tuple(packed.tags),
            note=packed.note,
            folder=own,
            files={file.sha256: folder / file.path for file in blobs},
        )
        keep(lab, [parcel], source=wire.line.address.url)
        shutil.rmtree(folder)
    return run_id


def _spec(packed: PackedRun, own: Path, found_as: Mapping[str, Any]) -> dict[str, Any]:
    work = str(packed.spec.get("working_dir") or "")
    spec: dict[str, Any] = {**packed.spec, "launched_from": "", "search_path": []}
    there = str(own / _inside(work)) if work else ""
    return {**spec, **found_as, "working_dir": there}


def _bring(
    wire: Wire, place: str, packed: PackedRun, folder: Path, *, only: str
) -> PackedRun:
    """Bring the files; where they change meanwhile, as they are then.

    Args:
        wire: Whom to ask.
        place: Where the run is.
        packed: What it was made of when it was asked last.
        folder: Where its files go.
        only: The one that is wanted; empty for all.

    Returns:
        What it is made of.

    Raises:
        CorruptArtifactError: If a file does not arrive as it was listed.
        DamagedSourceError: If a name would lead out of the directory.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            _bring_files(wire, place, packed, folder, only=only)
        except CorruptArtifactError:
            packed = wire.get(f"{place}/pack", PackedRun)
        else:
            return packed
    _bring_files(wire, place, packed, folder, only=only)
    return packed


def _bring_files(
    wire: Wire, place: str, packed: PackedRun, folder: Path, *, only: str
) -> None:
    wanted = {folder / _inside(file.path): _checked(file) for file in packed.files}
    for there in [path for path in folder.rglob("*") if path.is_file()]:
        if there.with_name(there.name.removeprefix(PART)) not in wanted:
            there.unlink()
    for target, file in wanted.items():
        if only and file.path != only:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and not _is(target, file):
            target.unlink()
        fetch_part(wire, f"{place}/pack/{quote(file.path)}", target, sha256=file.sha256)
        if not _is(target, file):
            target.unlink()
            raise CorruptArtifactError(
                f"{file.path} of run {packed.run_id} is not what was listed.",
                fix="Fetch the run again; if it stays so, the lab there is damaged.",
            )


def _is(path: Path, file: PackedFile) -> bool:
    from flip_lab.exchange.sealed import sha256_of

    return path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256


def _checked(file: PackedFile) -> PackedFile:
    """Refuse what would be code to run, and hashes that are none.

    Raises:
        DamagedSourceError: If the lab lists such a file.
    """
    if _SHA256.fullmatch(file.sha256) and not file.path.endswith(".pkl"):
        return file
    raise DamagedSourceError(
        f"The lab lists {file.path!r:.200} with the hash {file.sha256!r:.100}.",
        fix="Ask whoever runs that lab: runs travel without such files.",
    )


def _inside(name: str) -> PurePosixPath:
    """Give a relative path that stays in its directory.

    Raises:
        DamagedSourceError: If it would lead out.
    """
    path = PurePosixPath(name)
    if name and not path.is_absolute() and ".." not in path.parts and "\0" not in name:
        return path
    raise DamagedSourceError(
        f"The lab lists {name!r:.200}, which is outside of the run.",
        fix="Ask whoever runs that lab; nothing was written.",
    )


@contextmanager
def _arriving(lab: LabDir, run_id: str) -> Generator[Path]:
    """Give the directory that a run arrives in, to one process at a time.

    Raises:
        StoreBusyError: If another process has it.
    """
    folder = lab.root / f"{_HIDDEN}{run_id}"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(
                f"Run {run_id} is being fetched into this lab already.",
                fix="Wait until that is done.",
            ) from None
        yield folder
    finally:
        os.close(descriptor)
