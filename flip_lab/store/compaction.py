"""When journals are sealed and segments merged, and what is removed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from flip_lab.core.clock import now_s
from flip_lab.core.errors import CorruptArtifactError, StoreBusyError
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import (
    Manifest,
    Retired,
    Segment,
    compacting,
    publish,
    read_manifest,
)
from flip_lab.store.sealing import merge, seal_part, seal_runs, take_out
from flip_lab.store.snapshot import Snapshot

GRACE_S = 600.0
"""How long a replaced segment stays for readers that still look into it."""

_FAN = 8  # segments of one level that become one of the next
_MOST_ROWS = 20_000_000  # a segment as large as that is merged no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a compaction did.

    Attributes:
        num_sealed: Runs sealed.
        num_merged: Segments that were merged into others.
        num_removed: Directories and journals removed.
        damaged: Why runs could not be sealed, by run.
    """

    num_sealed: int = 0
    num_merged: int = 0
    num_removed: int = 0
    damaged: dict[str, str] = field(default_factory=dict[str, str])


def compact(
    lab: LabDir, ended: Iterable[str], *, grace_s: float = GRACE_S, patience_s: float = 30.0
) -> Compacted:
    """Seal runs, merge small segments, and remove what no longer counts.

    Safe beside any reader and writer, and safe to kill at any moment.

    Args:
        lab: The lab.
        ended: Runs that have ended and that nobody writes; sealed ones are passed over.
            Read once no one else rearranges the lab: a run may go on while we wait, so
            a generator should look again.
        grace_s: How long replaced segments stay for those who still read them, seconds.
        patience_s: How long to wait for another process that is at it, seconds.

    Returns:
        What was done. A run with a damaged journal stays as it is and is named.

    Raises:
        StoreBusyError: If another process is at it for longer than that.
        StoreNotWritableError: If the disk is full or may not be written.
    """
    with compacting(lab, patience_s=patience_s):
        manifest = read_manifest(lab)
        wanted = sorted(set(ended) - manifest.closed_runs)
        sealed, damaged = _seal(lab, wanted)
        merged = _merge_levels(lab)
        removed = sweep(lab, grace_s=grace_s)
    return Compacted(
        num_sealed=sealed, num_merged=merged, num_removed=removed, damaged=damaged
    )


def _seal(lab: LabDir, run_ids: Sequence[str]) -> tuple[int, dict[str, str]]:
    damaged: dict[str, str] = {}
    while run_ids:
        snapshot = Snapshot.take(lab, run_ids, with_trash=True)
        if not snapshot.journals:
            break
        try:
            segment = seal_runs(snapshot)
        except CorruptArtifactError as error:
            worst = _named(error, run_ids)
            damaged[worst] = error.what
            run_ids = [run_id for run_id in run_ids if run_id != worst]
            continue
        replaced = snapshot.parts
        kept = [each for each in snapshot.manifest.segments if each not in replaced]
        _replace(lab, snapshot.manifest, [*kept, segment], replaced)
        return len(segment.run_ids), damaged
    return 0, damaged


def _named(error: CorruptArtifactError, run_ids: Sequence[str]) -> str:
    return next(run_id for run_id in run_ids if f"run {run_id}." in error.what)


def _merge_levels(lab: LabDir) -> int:
    merged = 0
    while some := _mergeable(read_manifest(lab)):
        snapshot = Snapshot.take(lab, with_trash=True)
        run_ids = [run_id for each in some for run_id in snapshot.counting(each)]
        kept = [each for each in snapshot.manifest.segments if each not in some]
        if run_ids:
            kept.append(merge(snapshot, some, run_ids))
        _replace(lab, snapshot.manifest, kept, some)
        merged += len(some)
    return merged


def _mergeable(manifest: Manifest) -> list[Segment]:
    small = [each for each in manifest.closed if each.num_rows < _MOST_ROWS]
    for level in sorted({each.level for each in small}):
        some = [each for each in small if each.level == level]
        if len(some) >= _FAN:
            return some[:_FAN]
    return []


def _replace(
    lab: LabDir, manifest: Manifest, segments: Iterable[Segment], old: Iterable[Segment]
) -> None:
    retired = [Retired(name=each.name, since_s=now_s()) for each in old]
    publish(lab, manifest.next(segments, [*manifest.retired, *retired]))


def seal_full(lab: LabDir, run_id: str, paths: Sequence[Path]) -> None:
    """Seal journal files of a run that goes on, so that readers stay fast.

    Args:
        lab: The lab.
        run_id: The run.
        paths: Its files that are written no more.

    Raises:
        StoreBusyError: If another process rearranges the lab; they can wait.
        CorruptArtifactError: If one is damaged.
        StoreNotWritableError: If the disk is full.
    """
    with compacting(lab, patience_s=0.0):
        snapshot = Snapshot.take(lab, [run_id], with_trash=True)
        segment = seal_part(snapshot, run_id, paths)
        manifest = snapshot.manifest
        publish(lab, manifest.next([*manifest.segments, segment], manifest.retired))
        for path in paths:
            path.unlink(missing_ok=True)


def reopen(lab: LabDir, run_id: str) -> None:
    """Make an ended run one that may go on; does nothing for one that is not sealed.

    Waits for who is sealing it now. Hold what says that the run is no ended one before.

    Args:
        lab: The lab.
        run_id: The run.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
    """
    with compacting(lab):
        snapshot = Snapshot.take(lab, [run_id], with_trash=True)
        home = snapshot.manifest.home(run_id)
        if home is None:
            return
        part = take_out(snapshot, home, run_id)
        rest = [
            replace(each, without=(*each.without, run_id)) if each == home else each
            for each in snapshot.manifest.segments
        ]
        publish(lab, snapshot.manifest.next([*rest, part], snapshot.manifest.retired))


def drop_runs(lab: LabDir, run_ids: Iterable[str]) -> None:
    """Let sealed facts of runs count no more; the space is freed by and by.

    Args:
        lab: The lab.
        run_ids: The runs; their journals are somebody else's to remove.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
    """
    gone = frozenset(run_ids)
    with compacting(lab):
        manifest = read_manifest(lab)
        kept: list[Segment] = []
        empty: list[Segment] = []
        for each in manifest.segments:
            less = replace(each, without=(*each.without, *sorted(gone & each.counting)))
            (kept if less.counting else empty).append(less)
        _replace(lab, manifest, kept, empty)


def sweep(lab: LabDir, *, grace_s: float = GRACE_S) -> int:
    """Remove what a kill or a compaction left; whoever calls holds ``compacting``.

    Args:
        lab: The lab.
        grace_s: How long replaced segments stay, seconds.

    Returns:
        How many files and directories were removed.
    """
    manifest = read_manifest(lab)
    end_s = now_s() - grace_s
    waiting = [each for each in manifest.retired if each.since_s > end_s]
    if len(waiting) < len(manifest.retired):
        publish(lab, manifest.next(manifest.segments, waiting))
    return sum(_remove(path) for path in leftovers(lab))


def leftovers(lab: LabDir) -> list[Path]:
    """List files and directories that count no more; ask while holding ``compacting``.

    Args:
        lab: The lab.
    """
    manifest = read_manifest(lab)
    known = {each.name for each in (*manifest.segments, *manifest.retired)}
    found = [path for path in _listed(lab.segments) if path.name not in known]
    found += [lab.live_dir(run_id) for run_id in manifest.closed_runs]
    for each in manifest.segments:
        if each.is_open:
            found += [lab.live_dir(each.run_ids[0]) / name for name in each.sources]
    return [path for path in found if path.exists()]


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> int:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
    return 1


def try_compact(lab: LabDir, ended: Iterable[str]) -> None:
    """Compact a lab unless another process is at it.

    Args:
        lab: The lab.
        ended: The runs to seal, see ``compact``.

    Raises:
        StoreNotWritableError: If the disk is full or may not be written.
    """
    with suppress(StoreBusyError):
        compact(lab, ended, patience_s=0.0)
