"""Segments and their manifest: what is missing, what has changed, what nobody needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    StoreBusyError,
    StoreFormatError,
    StoreNotWritableError,
)
from flip_lab.store.compaction import GRACE_S, leftovers, sweep
from flip_lab.store.doctor import Ailment, Finding, aside, move_aside
from flip_lab.store.doctor_manifest import described, made_anew, only_in
from flip_lab.store.layout import LabDir, explained, write_json_atomic
from flip_lab.store.manifest import (
    SELF,
    Retired,
    Segment,
    compacting,
    manifest_path,
    publish,
    read_manifest,
)
from flip_lab.store.rows import sealed_path
from flip_lab.store.sealing import digest_of, make_anew, rewrite
from flip_lab.store.snapshot import Snapshot


def examine_segments(lab: LabDir, *, is_quick: bool = False) -> list[Finding]:
    """Look at the manifest, at each segment's files, and at what no one needs.

    Args:
        lab: The lab.
        is_quick: Whether to compare lengths only, and not hashes.

    Returns:
        What is wrong.
    """
    path = manifest_path(lab)
    try:
        manifest = read_manifest(lab)
    except StoreFormatError as error:
        return [Finding(kind=Ailment.NEWER_FORMAT, path=path, what=error.what)]
    except CorruptArtifactError as error:
        return [Finding(kind=Ailment.MANIFEST_DAMAGED, path=path, what=error.what)]
    findings = [
        finding
        for segment in manifest.segments
        for finding in _examine(lab, segment, is_quick=is_quick)
    ]
    return [*findings, *_unneeded(lab)]


def _examine(lab: LabDir, segment: Segment, *, is_quick: bool) -> Iterator[Finding]:
    folder = lab.segments / segment.name
    if not folder.is_dir():
        what = f"The segment with {len(segment.counting)} runs is gone."
        yield Finding(kind=Ailment.SEGMENT_MISSING, path=folder, what=what)
        return
    for name in segment.files:
        if flaw := _flaw(lab, segment, name, is_quick=is_quick):
            place = sealed_path(lab, segment, name)
            yield Finding(kind=Ailment.SEGMENT_DAMAGED, path=place, what=flaw)
    if described(folder) is None:
        what = "The segment does not say what it is."
        yield Finding(kind=Ailment.SEGMENT_UNDESCRIBED, path=folder / SELF, what=what)


def _flaw(lab: LabDir, segment: Segment, name: str, *, is_quick: bool) -> str:
    """Say what is wrong with one file of a segment; nothing when it is as it was."""
    path, told = sealed_path(lab, segment, name), segment.files[name]
    try:
        if path.stat().st_size != told.size_bytes:
            return f"It has {path.stat().st_size} bytes, not {told.size_bytes}."
        if not is_quick and digest_of(path) != told.digest:
            return "It no longer matches its hash."
    except OSError as error:
        return f"It cannot be read ({error.strerror})."
    return ""


def _unneeded(lab: LabDir) -> list[Finding]:
    """Look for what a kill left; not while somebody may be at work there."""
    try:
        with compacting(lab, patience_s=0.0):
            manifest = read_manifest(lab)
            left = leftovers(lab)
            lonely = [path for path in left if only_in(lab, manifest, path)]
    except (StoreBusyError, StoreNotWritableError):
        return []
    if lonely:
        return [
            Finding(
                kind=Ailment.MANIFEST_DAMAGED,
                path=manifest_path(lab),
                what=f"It does not know the segment {path.name}, which alone has facts of "
                "runs: it is too old.",
            )
            for path in lonely
        ]
    return [
        Finding(kind=Ailment.LEFTOVER, path=path, what="Nobody needs it any more.")
        for path in left
    ]


def repair_manifest(lab: LabDir) -> None:
    """Make a damaged, lost or too old manifest anew; the old one is set aside.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If segments cannot be read.
    """
    path = manifest_path(lab)
    with compacting(lab):
        new, unknown = made_anew(lab)
        with explained(path):
            if path.exists():
                _copy_aside(lab, path)
            for folder in unknown:  # a sweep would remove what the manifest does not know
                move_aside(lab, folder)
        publish(lab, new)


def repair_segments(lab: LabDir) -> None:
    """Let segments that are gone count no more, and make anew what can be.

    A table that is kept ready-made is made anew from the segment's facts. Facts that are
    damaged are set aside: they are in no other place.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If segments cannot be read.
    """
    with compacting(lab):
        manifest = read_manifest(lab)
        there = [each for each in manifest.segments if (lab.segments / each.name).is_dir()]
        if len(there) < len(manifest.segments):
            publish(lab, manifest.next(there, manifest.retired))
        for segment in there:
            bad = [
                name for name in segment.files if _flaw(lab, segment, name, is_quick=False)
            ]
            if bad:
                _replace(lab, segment, bad)
            elif described(lab.segments / segment.name) is None:
                blank = replace(segment, without=())
                write_json_atomic(lab.segments / segment.name / SELF, asdict(blank))


def _replace(lab: LabDir, segment: Segment, bad: list[str]) -> None:
    snapshot = Snapshot.take(lab, with_trash=True)
    manifest = snapshot.manifest
    for name in bad:
        path = sealed_path(lab, segment, name)
        if path.exists():
            _copy_aside(lab, path)
    rest = [each for each in manifest.segments if each.name != segment.name]
    if snapshot.counting(segment):
        rest.append(rewrite(snapshot, segment, {name: make_anew(name) for name in bad}))
    old = Retired(name=segment.name, since_s=now_s())
    publish(lab, manifest.next(rest, [*manifest.retired, old]))


def repair_leftovers(lab: LabDir) -> None:
    """Remove what a kill or a compaction left.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
    """
    with compacting(lab):
        manifest = read_manifest(lab)
        if not any(only_in(lab, manifest, path) for path in leftovers(lab)):
            sweep(lab, grace_s=GRACE_S)


def _copy_aside(lab: LabDir, path: Path) -> None:
    place = aside(lab, *path.relative_to(lab.root).parts)
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
