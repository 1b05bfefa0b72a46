"""``flip-lab store info``: what a lab holds, and what takes the room."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flip_lab.runs.finding import visible_run_ids
from flip_lab.store.journal import journals
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest
from flip_lab.store.retention import EVERYTHING, room_taken

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRoom:
    """What one kind of sealed facts takes.

    Attributes:
        name: ``event``, ``metric`` and ``client`` are facts, the others tables.
        num_rows: Rows.
        size_bytes: Bytes on the disk.
    """

    name: str
    num_rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRoom:
    """What one run takes.

    Attributes:
        run_id: The run.
        facts_bytes: Bytes of its facts, sealed or not.
        files_bytes: Bytes of its directory: checkpoints, the app, what it printed.
    """

    run_id: str
    facts_bytes: int
    files_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What a lab holds.

    Attributes:
        num_runs: Runs, without those in the trash.
        num_sealed: Runs whose facts are sealed.
        tables: Sealed facts, the largest first.
        levels: Number of segments by how often they were merged.
        journal_bytes: Bytes of facts that are not sealed.
        blob_bytes: Bytes of kept files.
        num_blobs: Kept files.
        runs_bytes: Bytes of the runs' directories.
        biggest: The runs that take the most, the largest first.
    """

    num_runs: int
    num_sealed: int
    tables: tuple[TableRoom, ...]
    levels: dict[int, int]
    journal_bytes: int
    blob_bytes: int
    num_blobs: int
    runs_bytes: int
    biggest: tuple[RunRoom, ...]


def store_info(lab: LabDir) -> StoreInfo:
    """Say what a lab holds, and what takes the room.

    Args:
        lab: The lab.

    Raises:
        StoreError: If its facts cannot be read.
    """
    from flip_lab.store.collecting import kept_files

    manifest = read_manifest(lab)
    rows, sizes = Counter[str](), Counter[str]()
    for segment in manifest.segments:
        for name, file in segment.files.items():
            rows[name] += file.num_rows
            sizes[name] += file.size_bytes
    run_ids = visible_run_ids(lab)
    facts = room_taken(lab, run_ids, EVERYTHING)
    rooms = [
        RunRoom(
            run_id=run_id,
            facts_bytes=facts.get(run_id, 0),
            files_bytes=size_below(lab.run_dir(run_id)),
        )
        for run_id in run_ids
    ]
    blobs = kept_files(lab)
    live = [path for run_id in run_ids for path in journals(lab, run_id)]
    return StoreInfo(
        num_runs=len(run_ids),
        num_sealed=len(manifest.closed_runs & {*run_ids}),
        tables=tuple(
            TableRoom(name=name, num_rows=rows[name], size_bytes=size)
            for name, size in sizes.most_common()
        ),
        levels=dict(sorted(Counter(each.level for each in manifest.closed).items())),
        journal_bytes=_total(live),
        blob_bytes=_total(blobs),
        num_blobs=len(blobs),
        runs_bytes=sum(room.files_bytes for room in rooms),
        biggest=tuple(
            sorted(rooms, key=lambda each: each.facts_bytes + each.files_bytes)[::-1]
        )[:_SHOWN],
    )


def size_below(folder: Path) -> int:
    """Give the length of all files below a directory, links not followed."""
    return _total(
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names
    )


def _total(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(OSError):  # gone meanwhile
            total += path.lstat().st_size
    return total
