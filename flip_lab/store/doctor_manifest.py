"""Make a lab's manifest anew from what its segments and journals say of themselves.

Of an ended run several copies may lie on the disk: in a segment, in the one that it was
merged into, in journals that a kill left behind. The copy that tells the most counts; of
copies that tell the same, the one in the largest merged segment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import orjson

from flip_lab.core.errors import StoreError
from flip_lab.store.audit import labels, read_audit
from flip_lab.store.database import open_database
from flip_lab.store.frames import TABLES as PARTS
from flip_lab.store.frames import parse
from flip_lab.store.journal import journals
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import SELF, Manifest, Segment, segment_from
from flip_lab.store.rows import quoted, sealed_path
from flip_lab.store.schema_parts import SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """What one segment tells of one run.

    Attributes:
        segment: The segment.
        first: Sequence of its first fact.
        last: Sequence of its last one.
    """

    segment: Segment
    first: int
    last: int


def described(folder: Path) -> Segment | None:
    """Read what a segment says of itself; None when it says nothing, or is not whole."""
    try:
        segment = segment_from(orjson.loads((folder / SELF).read_bytes()))
        sizes = {
            name: (folder / f"{name}.parquet").stat().st_size for name in segment.files
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_whole = all(sizes[name] == file.size_bytes for name, file in segment.files.items())
    return segment if is_whole and segment.schema <= SCHEMA else None


def only_in(lab: LabDir, manifest: Manifest, path: Path) -> bool:
    """Say whether a segment that the manifest does not know alone has facts of a run.

    Args:
        lab: The lab.
        manifest: What counts.
        path: Something that no longer counts, see ``leftovers``.
    """
    segment = described(path) if path.parent == lab.segments else None
    if segment is None:
        return False
    said = labels(read_audit(lab))
    removed = {run_id for run_id, label in said.items() if label.is_removed}
    return any(
        not (manifest.parts(run_id) or journals(lab, run_id))
        for run_id in {*segment.run_ids} - manifest.closed_runs - removed
    )


def made_anew(lab: LabDir) -> tuple[Manifest, list[Path]]:
    """Find out which segments count; ask while holding ``compacting``.

    Args:
        lab: The lab.

    Returns:
        The manifest, and the directories of which nobody can tell what they are.

    Raises:
        StoreError: If a segment cannot be read.
    """
    folders = [path for path in _listed(lab.segments) if not path.name.startswith(".")]
    told = {path: described(path) for path in folders}
    segments = [segment for segment in told.values() if segment is not None]
    said = labels(read_audit(lab))
    removed = {run_id for run_id, label in said.items() if label.is_removed}
    chosen: defaultdict[str, set[str]] = defaultdict(set)
    for run_id, copies in _copies(lab, segments).items():
        if run_id not in removed:
            for segment in _best(lab, run_id, copies):
                chosen[segment.name].add(run_id)
    counting = [
        replace(each, without=tuple(sorted({*each.run_ids} - chosen[each.name])))
        for each in segments
        if chosen[each.name]
    ]
    unknown = [path for path, segment in told.items() if segment is None]
    return Manifest(generation=_generation(lab), segments=tuple(counting)), unknown


def _generation(lab: LabDir) -> int:
    """Give a generation that no reader has seen; followers compare it with theirs."""
    try:
        found = orjson.loads((lab.root / "MANIFEST.json").read_bytes())
        return int(found["generation"]) + 1
    except (OSError, ValueError, KeyError, TypeError):
        return 2**20


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _copies(lab: LabDir, segments: Iterable[Segment]) -> Mapping[str, list[_Copy]]:
    """Say what each segment tells of each run; one without any fact tells nothing.

    Raises:
        StoreError: If a segment cannot be read.
    """
    found: defaultdict[str, list[_Copy]] = defaultdict(list)
    with closing(open_database()) as connection:
        for segment in segments:
            rows = " UNION ALL ".join(
                f"SELECT run_id, sequence FROM read_parquet("  # noqa: S608  # our own names
                f"{quoted(_pattern(sealed_path(lab, segment, part)))})"
                for part in PARTS
            )
            try:
                told = connection.execute(
                    "SELECT run_id, min(sequence), max(sequence) "  # noqa: S608  # as above
                    f"FROM ({rows}) GROUP BY run_id"
                ).fetchall()
            except duckdb.Error as error:
                raise StoreError(
                    f"The segment {segment.name} cannot be read.",
                    fix="Restore the lab from a backup.",
                    detail=str(error),
                ) from error
            spans = {run_id: (first, last) for run_id, first, last in told}
            for run_id in segment.run_ids:
                first, last = spans.get(run_id, (0, -1))
                found[run_id].append(_Copy(segment=segment, first=first, last=last))
    return found


def _pattern(path: Path) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def _best(lab: LabDir, run_id: str, copies: Sequence[_Copy]) -> list[Segment]:
    """Choose what counts of a run; empty when its journals tell all of it."""
    closed = [copy for copy in copies if not copy.segment.is_open]
    home = max(closed, key=lambda each: (each.last, each.segment.level), default=None)
    journal = _journal_spans(lab, run_id)
    parts, reached = _chained([c for c in copies if c.segment.is_open], journal)
    if home is not None and home.last >= reached:
        return [home.segment]
    return parts


def _journal_spans(lab: LabDir, run_id: str) -> list[tuple[int, int]]:
    frames = [
        parse(line)
        for path in journals(lab, run_id)
        for line in path.read_bytes().split(b"\n")
    ]
    return sorted((frame.first, frame.last) for frame in frames if frame is not None)


def _chained(
    parts: Sequence[_Copy], journal: Sequence[tuple[int, int]]
) -> tuple[list[Segment], int]:
    """Chain parts of a run that goes on, and its journals, from its first fact.

    Returns:
        The parts, and the last sequence that is reached without a gap.
    """
    chain: list[Segment] = []
    reached, at = -1, 0
    while True:
        nexts = [copy for copy in parts if copy.first == reached + 1 <= copy.last]
        if nexts:
            best = max(nexts, key=lambda each: each.last)
            chain.append(best.segment)
            reached = best.last
            continue
        while at < len(journal) and journal[at][1] <= reached:
            at += 1
        if at == len(journal) or journal[at][0] > reached + 1:
            return chain, reached
        reached = journal[at][1]
