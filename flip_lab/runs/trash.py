"""The trash: runs that were deleted, until somebody empties it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import rmtree

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import IllegalTransitionError, RunNotFoundError
from flip_lab.runs import life_sign
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.audit import AuditRecord, in_force, labels, read_audit
from flip_lab.store.audit_writer import writing
from flip_lab.store.compaction import drop_runs
from flip_lab.store.layout import LabDir, explained


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A run in the trash.

    Attributes:
        run_id: The run.
        name: What it was called; empty if its ``run.json`` cannot be read.
        experiment: What it belonged to; empty likewise.
        deleted_at: When it was deleted, UTC.
        deleted_by: Who did it.
    """

    run_id: str
    name: str
    experiment: str
    deleted_at: datetime
    deleted_by: str


def delete_runs(lab: LabDir, run_ids: Sequence[str]) -> None:
    """Put runs into the trash: from now on nobody sees them.

    Args:
        lab: The lab.
        run_ids: The runs; all of them, or none if one of them is under way.

    Raises:
        IllegalTransitionError: If one of them is under way.
        StoreNotWritableError: If the lab cannot be written.
    """
    if not run_ids:
        return
    with writing(lab) as log:  # a run that is resumed asks for the same lock
        if busy := [run_id for run_id in run_ids if _is_under_way(lab, run_id)]:
            raise IllegalTransitionError(
                f"{', '.join(busy)} is still under way and cannot be deleted.",
                fix="Wait until it has ended, or end it with run.stop().",
            )
        log.append("delete", run_ids=run_ids)


def undelete_runs(lab: LabDir, run_ids: Sequence[str]) -> None:
    """Take runs out of the trash, whoever put them there.

    Args:
        lab: The lab.
        run_ids: Their whole ids.

    Raises:
        RunNotFoundError: If one is not in the trash.
        StoreNotWritableError: If the lab cannot be written.
    """
    if not run_ids:
        return
    with writing(lab) as log:
        there = {each.run_id for each in _in_trash(lab, log.records())}
        if missing := [run_id for run_id in run_ids if run_id not in there]:
            raise RunNotFoundError(
                f"{', '.join(missing)} is not in the trash of {lab.root}.",
                fix="lab.deleted() lists what is there.",
            )
        log.append("undelete", run_ids=run_ids)


def deleted_runs(lab: LabDir) -> list[Deleted]:
    """List the trash, what was deleted last first."""
    return list(reversed([*_in_trash(lab, read_audit(lab))]))


def empty_trash(lab: LabDir, *, older_than_s: float = 0.0) -> list[str]:
    """Remove deleted runs for good: their facts, checkpoints, logs and apps.

    First they are noted as removed, then their files go: killed in between, the next call
    removes the rest. Files that runs share, such as models, go with the next collection
    of unused blobs.

    Args:
        lab: The lab.
        older_than_s: Only those that were deleted at least so long ago, seconds.

    Returns:
        The runs that were removed.

    Raises:
        StoreNotWritableError: If a file cannot be removed; the call can be repeated.
    """
    with writing(lab) as log:
        records = log.records()
        doomed = [
            each.run_id
            for each in _in_trash(lab, records)
            if now_s() - each.deleted_at.timestamp() >= older_than_s or not older_than_s
        ]
        doomed = [run_id for run_id in doomed if not _is_alive(lab, run_id)]
        if doomed:
            log.append("empty_trash", body={"run_ids": doomed})
    removed = [run_id for run_id, said in labels(records).items() if said.is_removed]
    _remove(lab, [*doomed, *(run_id for run_id in removed if _left(lab, run_id))])
    return doomed


def _remove(lab: LabDir, run_ids: Sequence[str]) -> None:
    if not run_ids:
        return
    drop_runs(lab, run_ids)
    for run_id in run_ids:
        for folder in _left(lab, run_id):
            with explained(folder):
                rmtree(folder)


def _left(lab: LabDir, run_id: str) -> list[Path]:
    """Give the directories that a run still has."""
    folders = (lab.run_dir(run_id), lab.live_dir(run_id))
    return [folder for folder in folders if folder.exists()]


def _in_trash(lab: LabDir, records: Sequence[AuditRecord]) -> Iterator[Deleted]:
    """Give the runs in the trash, in the order in which they were deleted."""
    said = labels(records)
    last: dict[str, AuditRecord] = {}
    for record in in_force(records):
        if record.action == "delete":
            for run_id in record.run_ids:
                last.pop(run_id, None)  # deleted again: last now
                last[run_id] = record
    for run_id, record in last.items():
        if said[run_id].deleted_s is None or said[run_id].is_removed:
            continue
        spec = None
        with suppress(RunNotFoundError):
            spec = RunSpec.load(lab.run_dir(run_id))
        yield Deleted(
            run_id=run_id,
            name="" if spec is None else spec.name,
            experiment="" if spec is None else spec.experiment or spec.name,
            deleted_at=at_utc(record.time_s),
            deleted_by=record.author,
        )


def _is_under_way(lab: LabDir, run_id: str) -> bool:
    if not _is_alive(lab, run_id):
        return False
    try:
        return not Run(lab, run_id).state.is_final  # its process may still be tidying up
    except RunNotFoundError:
        return True


def _is_alive(lab: LabDir, run_id: str) -> bool:
    return life_sign.is_alive(lab.run_dir(run_id))
