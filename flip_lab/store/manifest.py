"""``MANIFEST.json``: which segments hold what; replaced whole, never edited in place.

A segment is a directory of Parquet files that never change. The manifest alone says which
of them count, so publishing it is the one moment at which sealed facts move. Nothing here
imports DuckDB: a writer asks where a run stands, too.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import CorruptArtifactError, StoreBusyError, StoreFormatError
from flip_lab.store.layout import LabDir, explained, write_json_atomic
from flip_lab.store.schema_parts import SCHEMA

SELF = "segment.json"
"""The file in a segment's directory that says what it is, as the manifest would."""

_LOOK_EVERY_S = 0.02
_LOST = "flip-lab doctor --repair makes it anew from the segments."


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """One Parquet file, as the manifest remembers it.

    Attributes:
        size_bytes: Its length.
        digest: Its xxh3 hash of 128 bits, 32 hexadecimal digits.
        num_rows: Its rows.
    """

    size_bytes: int
    digest: str
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Sealed facts: of runs that have ended, or the first part of one that goes on.

    Attributes:
        name: Its directory below ``segments``.
        schema: Version of the columns that its files have.
        level: How often its content was merged; 0 when it comes from journals.
        run_ids: The runs it was made from, sorted.
        without: Those of them that no longer count: deleted, or gone on elsewhere.
        is_open: Whether it is a part of a run that goes on; then it has just that run.
        sources: Of a run that goes on: journal files whose content it holds.
        spans: Of a run that goes on: what it superseded, see ``superseded_spans``.
        last: Of a run that goes on: sequence of the last event in it; -1 otherwise.
        files: Its files by table.
    """

    name: str
    schema: int = SCHEMA
    level: int = 0
    run_ids: tuple[str, ...]
    without: tuple[str, ...] = ()
    is_open: bool = False
    sources: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    last: int = -1
    files: Mapping[str, SealedFile]

    @property
    def counting(self) -> frozenset[str]:
        """The runs whose facts in it count."""
        return frozenset(self.run_ids) - frozenset(self.without)

    @property
    def size_bytes(self) -> int:
        """Length of all its files."""
        return sum(file.size_bytes for file in self.files.values())

    @property
    def num_rows(self) -> int:
        """Rows of all its files."""
        return sum(file.num_rows for file in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A directory that no longer counts; a reader may still look into it.

    Attributes:
        name: The segment's name.
        since_s: When it was replaced, seconds since the Unix epoch.
    """

    name: str
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What counts, at one moment.

    Attributes:
        generation: Counts the manifests of a lab, from 0.
        schema: The highest version of columns in it.
        segments: The segments that count.
        retired: Those that did until a short while ago.
    """

    generation: int = 0
    schema: int = SCHEMA
    segments: tuple[Segment, ...] = ()
    retired: tuple[Retired, ...] = field(default=())

    @property
    def closed(self) -> tuple[Segment, ...]:
        """The segments of runs that have ended."""
        return tuple(each for each in self.segments if not each.is_open)

    @property
    def closed_runs(self) -> frozenset[str]:
        """The runs whose facts are all sealed."""
        return frozenset(run_id for each in self.closed for run_id in each.counting)

    def parts(self, run_id: str) -> tuple[Segment, ...]:
        """Give the sealed parts of a run that goes on."""
        return tuple(
            each for each in self.segments if each.is_open and run_id in each.counting
        )

    def home(self, run_id: str) -> Segment | None:
        """Give the segment that holds an ended run; None when none does."""
        return next((each for each in self.closed if run_id in each.counting), None)

    def next(self, segments: Iterable[Segment], retired: Iterable[Retired]) -> Manifest:
        """Give the manifest that follows."""
        return replace(
            self,
            generation=self.generation + 1,
            schema=SCHEMA,
            segments=tuple(segments),
            retired=tuple(retired),
        )


def manifest_path(lab: LabDir) -> Path:
    """Say where a lab's manifest lies."""
    return lab.root / "MANIFEST.json"


def read_manifest(lab: LabDir) -> Manifest:
    """Read what counts now; a lab that never sealed anything has an empty manifest.

    Raises:
        StoreFormatError: If a newer version of FLIP Lab wrote it.
        CorruptArtifactError: If it cannot be read, or is gone though there are segments.
    """
    path = manifest_path(lab)
    try:
        found = orjson.loads(path.read_bytes())
        if found["schema"] > SCHEMA:
            raise StoreFormatError(
                f"{lab.root} holds tables of version {found['schema']}; this code reads "
                f"up to {SCHEMA}.",
                fix="Update FLIP Lab (pip install -U flip-lab).",
            )
        return _manifest(found)
    except FileNotFoundError:
        if not _has_segments(lab):
            return Manifest()
        if path.exists():  # the first one, made just now
            return read_manifest(lab)
        what = f"{path} is gone, though there are sealed facts."
        raise CorruptArtifactError(what, fix=_LOST) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifactError(
            f"{path} cannot be read ({error}).", fix=_LOST
        ) from error


def _has_segments(lab: LabDir) -> bool:
    try:
        return any(not path.name.startswith(".") for path in lab.segments.iterdir())
    except OSError:
        return False


def _manifest(found: Mapping[str, Any]) -> Manifest:
    return Manifest(
        generation=found["generation"],
        schema=found["schema"],
        segments=tuple(segment_from(each) for each in found["segments"]),
        retired=tuple(Retired(**each) for each in found["retired"]),
    )


def segment_from(found: Mapping[str, Any]) -> Segment:
    """Read a segment from plain data.

    Raises:
        KeyError: If a part is missing.
        TypeError: If a part is of another kind.
    """
    values: dict[str, Any] = dict(found)
    for name in ("run_ids", "without", "sources"):
        values[name] = tuple(found[name])
    values["spans"] = tuple((after, until) for after, until in found["spans"])
    values["files"] = {name: SealedFile(**file) for name, file in found["files"].items()}
    return Segment(**values)


def publish(lab: LabDir, manifest: Manifest) -> None:
    """Let a manifest count; whoever calls holds the lab's ``compacting`` lock.

    Raises:
        StoreNotWritableError: If it cannot be written; the old one still counts.
    """
    write_json_atomic(manifest_path(lab), asdict(manifest))


@contextmanager
def compacting(lab: LabDir, *, patience_s: float = 30.0) -> Generator[None]:
    """Be the only one who publishes manifests of a lab.

    Args:
        lab: The lab.
        patience_s: How long to wait for another process, seconds; 0 only tries.

    Raises:
        StoreBusyError: If another process is at it for longer than that.
        StoreNotWritableError: If the lab cannot be written.
    """
    path = lab.root / "compact.lock"
    with explained(path):
        lock = FileIO(path, "a+")
    end_s = tick_s() + patience_s
    with lock:
        while not _taken(lock):
            if tick_s() >= end_s:
                lock.seek(0)
                holder = lock.readall().decode(errors="replace") or "just now"
                raise StoreBusyError(
                    f"Another process rearranges {lab.root} ({holder}).",
                    fix="Wait until it is done, then try again.",
                )
            time.sleep(_LOOK_EVERY_S)
        try:
            with suppress(OSError):  # the disk is full, and whoever makes room comes here
                lock.truncate(0)
                lock.write(f"process {os.getpid()}".encode())
            yield
        finally:
            # Unlocked, not only closed: a child forked meanwhile would hold the lock.
            fcntl.flock(lock, fcntl.LOCK_UN)


def _taken(lock: FileIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
