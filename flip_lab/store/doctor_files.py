"""Kept files, drafts that were never finished, and the lab's log."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from flip_lab.core.clock import now_s
from flip_lab.core.errors import StoreError, StoreFormatError
from flip_lab.store.audit import audit_path, read_audit
from flip_lab.store.audit_chain import verify_audit
from flip_lab.store.blobs import collecting, sha256_of
from flip_lab.store.collecting import GRACE_S, kept_files, spoken_of
from flip_lab.store.doctor import Ailment, Finding, move_aside
from flip_lab.store.layout import LabDir, explained

_DRAFTS = (
    ".*.tmp",
    ".import-*",
    ".fetch-*",
    "away/.*.tmp",
    "runs/.*",
    "runs/*/.*.tmp",
    "runs/*/control/.*.tmp",
    "live/*/.*.tmp",
    "blobs/.*.tmp",
    "blobs/*/.*.tmp",
    "durations/.*.tmp",
)


def examine_files(lab: LabDir, *, is_quick: bool = False) -> list[Finding]:
    """Look at kept files, drafts and the log.

    Args:
        lab: The lab.
        is_quick: Whether to leave out comparing kept files with their hashes.

    Returns:
        What is wrong.
    """
    findings = [*_drafts(lab), *_log(lab), *_unspoken(lab)]
    return findings if is_quick else [*findings, *_damaged(lab)]


def _drafts(lab: LabDir) -> Iterator[Finding]:
    """Find what was begun long ago under another name."""
    limit_s = now_s() - GRACE_S
    what = "It was begun under another name and never finished."
    for path in (path for form in _DRAFTS for path in sorted(lab.root.glob(form))):
        if _is_old(path, limit_s) and not _is_held(path):
            yield Finding(kind=Ailment.DRAFT, path=path, what=what)


def _is_held(path: Path) -> bool:
    """Say whether a living process holds the lock on a directory that it builds."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # finished meanwhile
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _log(lab: LabDir) -> Iterator[Finding]:
    path = audit_path(lab)
    try:
        for flaw in verify_audit(lab):
            what = f"Line {flaw.line}: {flaw.what}"
            yield Finding(kind=Ailment.LOG_FLAW, path=path, what=what)
        times = [record.time_s for record in read_audit(lab)]
    except StoreFormatError as error:
        yield Finding(kind=Ailment.NEWER_FORMAT, path=path, what=error.what)
        return
    if times and max(times) > now_s() + 86400.0:
        what = "It has actions of the future: a clock was wrong."
        yield Finding(kind=Ailment.CLOCK, path=path, what=what)


def _unspoken(lab: LabDir) -> Iterator[Finding]:
    """Compare the kept files with those that runs speak of."""
    try:
        there = kept_files(lab)
        known = spoken_of(lab)
    except StoreError:  # whatever cannot be read has a finding of its own
        return
    limit_s = now_s() - GRACE_S
    unused = [path for path in there if path.name not in known and _is_old(path, limit_s)]
    if unused:
        what = f"{len(unused)} kept files are spoken of by no run."
        yield Finding(kind=Ailment.BLOBS_UNUSED, path=lab.blobs, what=what)


def _is_old(path: Path, limit_s: float) -> bool:
    try:
        return path.stat().st_mtime < limit_s
    except OSError:
        return False


def missing_files(lab: LabDir, artifacts: dict[str, str | None]) -> Iterator[Finding]:
    """Find files that runs keep by name, or models are, and that are not there.

    Args:
        lab: The lab.
        artifacts: By the hash of each file the run that keeps it; ``None`` for one that
            only a registered model is.
    """
    there = {path.name for path in kept_files(lab)}
    for sha256, run_id in artifacts.items():
        if sha256 not in there:
            who = f"Run {run_id} keeps" if run_id else "A registered model is"
            yield Finding(
                kind=Ailment.BLOB_MISSING,
                path=lab.blobs / sha256[:2] / sha256,
                what=f"{who} this file, but it is gone.",
                run_id=run_id,
            )


def _damaged(lab: LabDir) -> Iterator[Finding]:
    for path in kept_files(lab):
        try:
            is_good = sha256_of(path) == path.name
        except FileNotFoundError:  # collected meanwhile
            continue
        except OSError:
            is_good = False
        if not is_good:
            what = "It no longer matches its hash."
            yield Finding(kind=Ailment.BLOB_DAMAGED, path=path, what=what)


def repair_file(lab: LabDir, finding: Finding) -> None:
    """Set a damaged kept file aside, so that it can be kept anew; remove a draft.

    Raises:
        StoreNotWritableError: If the lab cannot be written.
    """
    if finding.kind is Ailment.DRAFT:
        if finding.path.is_dir():
            shutil.rmtree(finding.path, ignore_errors=True)
        else:
            with explained(finding.path):
                finding.path.unlink(missing_ok=True)
        return
    with collecting(lab, alone=True), explained(finding.path):
        if sha256_of(finding.path) != finding.path.name:  # nobody put it anew meanwhile
            move_aside(lab, finding.path)
