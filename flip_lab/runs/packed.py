"""An ended run as a list of files with their hashes: what it takes to have it elsewhere.

The files are the run's own directory under ``run/``, the files that it keeps under
``blobs/``, and all its events in ``events.jsonl.gz``. They never change once the run has
ended, so whoever fetches them may stop and go on at any time. What would run code when it
is merely read stays out: callbacks, and apps of notebook cells.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flip_lab.core.errors import (
    DamagedSourceError,
    IllegalTransitionError,
    NoResultError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.exchange.sealed import sha256_of
from flip_lab.runs.packing import parcel_of
from flip_lab.runs.run import Run
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

EVENTS = "events.jsonl.gz"
"""What the file with the events is called."""

RUN = "run/"
"""What the names of the run's own files begin with."""

BLOBS = "blobs/"
"""What the names of kept files begin with; the rest is their SHA-256."""

_LEFT_OUT = frozenset({"run.json", "run.lock", "ended"})
_CODE = ".pkl"
_OF_THIS_MACHINE = frozenset({"launched_from", "search_path"})


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """One file of a packed run.

    Attributes:
        path: Its name in the pack, parts joined by ``/``.
        sha256: The hash of what it holds, 64 hexadecimal digits.
        size_bytes: Its length.
    """

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class PackedRun:
    """A run that is ready to travel.

    Attributes:
        run_id: The run.
        spec: Its ``run.json`` without what is of one machine only; ``working_dir`` is
            relative to the run's directory, or empty.
        tags: Its tags.
        note: What somebody noted about it.
        files: What it is made of.
    """

    run_id: str
    spec: Mapping[str, Any]
    tags: tuple[str, ...]
    note: str
    files: tuple[PackedFile, ...]


def packed_run(lab: LabDir, run: Run) -> PackedRun:
    """List what an ended run is made of.

    Raises:
        IllegalTransitionError: If the run is under way.
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    if not (state := run.state).is_final:
        raise IllegalTransitionError(
            f"Run {run.run_id} is {state}; only an ended run can be fetched whole.",
            fix="Wait until it has ended: run.wait().",
        )
    parcel = parcel_of(lab, run)
    folder = lab.run_dir(run.run_id)
    events = events_bytes(parcel.events)
    listed = [
        PackedFile(
            path=EVENTS,
            sha256=hashlib.sha256(events).hexdigest(),
            size_bytes=len(events),
        ),
        *(_listed(path, name) for name, path in _own_files(folder)),
        *(
            PackedFile(path=BLOBS + sha256, sha256=sha256, size_bytes=path.stat().st_size)
            for sha256, path in sorted(parcel.files.items())
        ),
    ]
    spec = {k: v for k, v in parcel.spec.items() if k not in _OF_THIS_MACHINE}
    work = Path(str(spec.get("working_dir") or ""))
    is_own = work.is_relative_to(folder)
    spec["working_dir"] = work.relative_to(folder).as_posix() if is_own else ""
    return PackedRun(
        run_id=run.run_id,
        spec=spec,
        tags=parcel.tags,
        note=parcel.note,
        files=tuple(listed),
    )


def _own_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        is_ours = place.parts[0] != "control" and place.as_posix() not in _LEFT_OUT
        is_plain = path.is_file() and not path.is_symlink() and path.suffix != _CODE
        if is_ours and is_plain:
            yield RUN + place.as_posix(), path


def _listed(path: Path, name: str) -> PackedFile:
    return PackedFile(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def packed_file(lab: LabDir, run: Run, name: str) -> Path:
    """Say where a file of a packed run lies; the events are in none.

    Raises:
        NoResultError: If the pack has no such file.
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
    """
    if name.startswith(BLOBS):
        sha256 = name.removeprefix(BLOBS)
        if sha256 in parcel_of(lab, run).files:
            return Blobs(lab).check(sha256)
    found = dict(_own_files(lab.run_dir(run.run_id))).get(name)
    if found is None:
        raise NoResultError(
            f"Run {run.run_id} is packed without a file {name!r:.200}.",
            fix="Ask for the list first: it names every file.",
        )
    return found


# --- events ----------------------------------------------------------------------------


def events_bytes(events: Iterable[RunEvent]) -> bytes:
    """Write events as JSON lines, compressed; equal events make equal bytes."""
    lines = (
        json.dumps([e.sequence, e.time_s, e.server_round, e.kind, e.body], default=dict)
        for e in events
    )
    return gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def read_packed_events(run_id: str, path: Path) -> tuple[RunEvent, ...]:
    """Read what ``events_bytes`` wrote.

    Raises:
        DamagedSourceError: If it holds something else.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return tuple(_event(run_id, line) for line in lines)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise DamagedSourceError(
            f"The events of run {run_id} cannot be read ({error!r:.200}).",
            fix="Fetch the run again, with the same version of FLIP Lab on both sides.",
        ) from error


def _event(run_id: str, line: str) -> RunEvent:
    sequence, time_s, server_round, kind, body = json.loads(line)
    return RunEvent(
        run_id=run_id,
        sequence=sequence,
        time_s=time_s,
        server_round=server_round,
        kind=EventKind(kind),
        body=body,
    )


def as_json(packed: PackedRun) -> dict[str, Any]:
    """Give a packed run as plain data, fit for JSON."""
    return asdict(packed)
