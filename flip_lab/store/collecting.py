"""Collect kept files that no run and no registered model speaks of any more.

A hash that stands anywhere in a run's ``run.json``, in one of its journals, or in a sealed
fact about files counts as spoken of: a deleted run's too, as long as the trash holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import duckdb

from flip_lab.core.clock import now_s
from flip_lab.core.errors import StoreError
from flip_lab.store.audit import read_audit
from flip_lab.store.blobs import SHA256, collecting
from flip_lab.store.database import open_database
from flip_lab.store.layout import LabDir, explained
from flip_lab.store.manifest import compacting
from flip_lab.store.registered import registered
from flip_lab.store.rows import sealed_rows
from flip_lab.store.snapshot import Snapshot

GRACE_S = 3600.0
"""How long a file is spared after it was put, whoever speaks of it."""

_HASH = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_BATCH = 100  # files that are removed before those who put get their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection found.

    Attributes:
        num_files: Files that nobody speaks of.
        freed_bytes: Their length.
        num_spared: Files that nobody speaks of either, but that were put too recently.
    """

    num_files: int
    freed_bytes: int
    num_spared: int


def collect(
    lab: LabDir,
    *,
    grace_s: float = GRACE_S,
    before_s: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove kept files that no run and no registered model speaks of.

    Args:
        lab: The lab.
        grace_s: Files that were put less than so long ago stay, seconds.
        before_s: Files that were put after this moment stay, too, seconds since the Unix
            epoch: when the oldest process began that may yet speak of one.
        dry_run: Whether to only say what would be removed.

    Returns:
        What was removed.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If a run's facts cannot be read: then nothing is removed.
    """
    limit_s = min(now_s() - grace_s, float("inf") if before_s is None else before_s)
    with compacting(lab):
        # Listed before it is asked who speaks of them: what is put and spoken of in
        # between is not on the list.
        files = kept_files(lab)
        known = spoken_of(lab)
        unused = [path for path in files if path.name not in known]
        old = [path for path in unused if _put_s(path) < limit_s]
        sizes = [path.stat().st_size for path in old]
        if not dry_run:
            _remove(lab, old, limit_s)
    return Collected(
        num_files=len(old), freed_bytes=sum(sizes), num_spared=len(unused) - len(old)
    )


def kept_files(lab: LabDir) -> list[Path]:
    """List the kept files of a lab, drafts left out."""
    return sorted(path for path in lab.blobs.glob("*/*") if SHA256.fullmatch(path.name))


def _put_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # somebody removed it
        return float("inf")


def _remove(lab: LabDir, paths: list[Path], limit_s: float) -> None:
    for begin in range(0, len(paths), _BATCH):
        with collecting(lab, alone=True), explained(lab.blobs):
            # What somebody put again meanwhile stays.
            old = [p for p in paths[begin : begin + _BATCH] if _put_s(p) < limit_s]
            for path in old:
                path.unlink(missing_ok=True)


def spoken_of(lab: LabDir) -> frozenset[str]:
    """Give the hashes that runs and models speak of; ask while holding ``compacting``.

    Args:
        lab: The lab.

    Raises:
        StoreError: If a run's facts cannot be read.
    """
    files = chain.from_iterable(folder.glob(form) for folder, form in _places(lab))
    texts = chain(_contents(files), _sealed(lab))
    said = {found.decode() for text in texts for found in _HASH.findall(text)}
    models = registered(read_audit(lab)).values()
    return frozenset(said | {v.sha256 for each in models for v in each.versions.values()})


def _places(lab: LabDir) -> Iterator[tuple[Path, str]]:
    """Give where runs speak, of this lab and of imports under way."""
    yield lab.runs, "*/run.json"
    yield lab.live, "*/*.jsonl"
    yield lab.root, ".import-*/runs/*/run.json"
    yield lab.root, ".import-*/live/*/*.jsonl"


def _contents(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        try:
            yield path.read_bytes()
        except FileNotFoundError:  # a run that was removed, or an import that was done
            continue
        except OSError as error:
            raise StoreError(
                f"{path} cannot be read ({error.strerror}): the files that it speaks of "
                "are not known.",
                fix="Check that you may read it; flip-lab doctor looks for damage.",
            ) from error


def _sealed(lab: LabDir) -> list[bytes]:
    # The labels are of no interest: facts count for as long as they are there.
    snapshot = Snapshot.take(lab, with_trash=True)
    segments = [*snapshot.closed, *snapshot.parts]
    if not segments:
        return []
    rows = sealed_rows(snapshot, "event", segments)
    try:
        with closing(open_database()) as connection:
            found = connection.execute(
                f"SELECT DISTINCT CAST(body AS VARCHAR) FROM ({rows}) "  # noqa: S608  # our own names
                "WHERE kind IN ('artifact', 'lineage', 'logged')"
            ).fetchall()
    except duckdb.Error as error:
        raise StoreError(
            "The sealed facts cannot be read: the files that they speak of are not known.",
            fix="flip-lab doctor looks for damage.",
            detail=str(error),
        ) from error
    return [text.encode() for [text] in found]
