"""``flip-lab doctor``: look a lab over, and mend what can be mended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from flip_lab.core.errors import (
    CorruptArtifactError,
    FlipLabError,
    RunNotFoundError,
    StoreError,
    StoreFormatError,
)
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign
from flip_lab.runs.care import collect_unused
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.trash import empty_trash
from flip_lab.store import query
from flip_lab.store.audit import labels, read_audit
from flip_lab.store.doctor import Ailment, Finding, move_aside
from flip_lab.store.doctor_files import examine_files, missing_files, repair_file
from flip_lab.store.doctor_journals import examine_journals, repair_journals
from flip_lab.store.doctor_segments import (
    examine_segments,
    repair_leftovers,
    repair_manifest,
    repair_segments,
)
from flip_lab.store.events import read_events
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest

_log = logging.getLogger("flip_lab.care")
_ROUNDS = 3
_FINAL = frozenset(state.value for state in RunState if state.is_final)


def examine(lab: LabDir, *, is_quick: bool = False) -> list[Finding]:
    """Look a lab over; nothing is changed, and runs may go on meanwhile.

    Args:
        lab: The lab.
        is_quick: Whether to compare lengths only, and not the hash of each file.

    Returns:
        What is not as it should be; empty for a lab in good order.

    Raises:
        StoreError: If the lab's files may not be read at all.
    """
    findings = [*examine_segments(lab, is_quick=is_quick)]
    broken = {Ailment.MANIFEST_DAMAGED, Ailment.NEWER_FORMAT}
    if not any(finding.kind in broken for finding in findings):
        findings += _runs(lab, is_quick=is_quick)
    findings += examine_files(lab, is_quick=is_quick)
    with suppress(StoreError):  # damage that has findings of its own
        findings += missing_files(lab, _artifacts(lab))
    return findings


def _artifacts(lab: LabDir) -> dict[str, str | None]:
    rows = query.sql(
        lab,
        "SELECT sha256, NULL AS run_id FROM models UNION ALL "
        "SELECT sha256, run_id FROM artifacts UNION ALL "
        "SELECT sha256, run_id FROM logged WHERE sha256 IS NOT NULL",
        as_="rows",
    )
    return {row["sha256"]: row["run_id"] for row in rows}


def _runs(lab: LabDir, *, is_quick: bool) -> Iterator[Finding]:
    said = labels(read_audit(lab))
    removed = {run_id for run_id, label in said.items() if label.is_removed}
    for path in (*map(lab.run_dir, removed), *map(lab.live_dir, removed)):
        if path.exists():
            what = "The run was removed for good."
            yield Finding(kind=Ailment.LEFTOVER, path=path, what=what)
    states = _states(lab)
    journals = _names(lab.live)
    for run_id in sorted({*_names(lab.runs), *journals} - removed):
        if run_id in journals:
            yield from examine_journals(lab, run_id)
        yield from _run(lab, run_id, states.get(run_id))
        if not is_quick and (lab.run_dir(run_id) / "checkpoints").is_dir():
            yield from _checkpoints(lab, run_id)


def _states(lab: LabDir) -> dict[str, str]:
    """Give the states of all runs at once; of sealed ones that are in the trash, too."""
    sealed = dict.fromkeys(read_manifest(lab).closed_runs, RunState.COMPLETED.value)
    try:
        rows = query.sql(lab, "SELECT run_id, state FROM runs", as_="rows")
    except StoreError:  # damage that has findings of its own
        rows = []
    return sealed | {row["run_id"]: row["state"] for row in rows}


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def _run(lab: LabDir, run_id: str, state: str | None) -> Iterator[Finding]:
    folder = lab.run_dir(run_id)
    if not folder.exists():
        if state is None:
            what = "There are events, but no run.json that says what was launched."
            path = lab.live_dir(run_id)
            yield Finding(kind=Ailment.JOURNAL_ALONE, path=path, what=what, run_id=run_id)
        return
    try:
        RunSpec.load(folder)
    except RunNotFoundError as error:
        path = folder / "run.json"
        yield Finding(
            kind=Ailment.RUN_UNREADABLE, path=path, what=error.what, run_id=run_id
        )
        return
    yield from _life(lab, run_id, state)


def _life(lab: LabDir, run_id: str, state: str | None) -> Iterator[Finding]:
    """Compare what a run's directory says of its life with what its events say."""
    folder = lab.run_dir(run_id)
    if life_sign.is_alive(folder):
        return
    has_ended = state in _FINAL
    if not has_ended:
        try:
            has_ended = _has_ended(lab, run_id)  # it may have ended meanwhile
        except StoreError:  # it has findings of its own
            return
        if life_sign.is_alive(folder):  # resumed meanwhile
            return
    marked = not life_sign.needs_a_look(folder)
    if marked and not has_ended:
        what = "The run is marked as ended, but its events do not say so."
        yield Finding(kind=Ailment.END_UNTRUE, path=folder, what=what, run_id=run_id)
    if not has_ended:
        what = "The run's process is gone without having said how the run ended."
        yield Finding(kind=Ailment.RUN_LOST, path=folder, what=what, run_id=run_id)
    for path in sorted((folder / "control").glob("*.json")):
        what = "A command to a run that has ended."
        yield Finding(kind=Ailment.COMMAND_STALE, path=path, what=what, run_id=run_id)


def _has_ended(lab: LabDir, run_id: str) -> bool:
    states = [
        event.body["state"]
        for event in read_events(lab, run_id)
        if event.kind is EventKind.STATE
    ]
    return bool(states) and RunState(str(states[-1])).is_final


def _checkpoints(lab: LabDir, run_id: str) -> Iterator[Finding]:
    """Read every checkpoint of a run that nobody writes."""
    if life_sign.is_alive(lab.run_dir(run_id)):
        return
    folder = CheckpointFolder(lab.run_dir(run_id))
    for server_round in folder.rounds():
        try:
            folder.check(folder.manifest(server_round))
        except CorruptArtifactError as error:
            yield Finding(
                kind=Ailment.CHECKPOINT_DAMAGED,
                path=folder.folder(server_round),
                what=error.what,
                run_id=run_id,
            )
        except StoreFormatError as error:
            yield Finding(
                kind=Ailment.NEWER_FORMAT,
                path=folder.folder(server_round),
                what=error.what,
                run_id=run_id,
            )


def repair(lab: LabDir, findings: Iterable[Finding]) -> list[Finding]:
    """Mend what can be mended; nothing is deleted that is not kept elsewhere.

    What is damaged is set aside below ``damaged``. A backup may still have it whole: then
    restoring is better.

    Args:
        lab: The lab.
        findings: What ``examine`` found.

    Returns:
        What is not in order afterwards; some of it only a backup helps against.

    Raises:
        StoreNotWritableError: If the lab cannot be written.
    """
    left = [*findings]
    for _ in range(_ROUNDS):  # what is mended first shows what else there is
        _mend(lab, left)
        before, left = left, examine(lab)
        if left == before or not any(finding.repair for finding in left):
            break
    return left


def _mend(lab: LabDir, findings: Iterable[Finding]) -> None:
    kinds = [*_REPAIRS]
    for finding in sorted(findings, key=lambda each: _place(each, kinds)):
        mend = _REPAIRS.get(finding.kind)
        if mend is None:
            continue
        try:
            mend(lab, finding)
        except FlipLabError as error:
            _log.warning("%s is left as it is: %s", finding.path, error)


def _place(finding: Finding, kinds: list[Ailment]) -> int:
    return kinds.index(finding.kind) if finding.kind in kinds else len(kinds)


def _bury(lab: LabDir, finding: Finding) -> None:
    if finding.run_id is not None:
        life_sign.forget_end(lab.run_dir(finding.run_id))
        _ = Run(lab, finding.run_id).state  # looking at it writes its end


def _mend_journals(lab: LabDir, finding: Finding) -> None:
    if finding.run_id is not None:
        repair_journals(lab, finding.run_id)


def _put_checkpoint_aside(lab: LabDir, finding: Finding) -> None:
    if finding.run_id is not None:
        with suppress(BlockingIOError), life_sign.held_lock(lab.run_dir(finding.run_id)):
            move_aside(lab, finding.path)


def _remove_leftovers(lab: LabDir, finding: Finding) -> None:
    del finding  # all of them at once
    repair_leftovers(lab)
    empty_trash(lab, older_than_s=float("inf"))  # nothing but what is removed already


_REPAIRS: Mapping[Ailment, Callable[[LabDir, Finding], None]] = {
    Ailment.MANIFEST_DAMAGED: lambda lab, _: repair_manifest(lab),
    Ailment.SEGMENT_MISSING: lambda lab, _: repair_segments(lab),
    Ailment.SEGMENT_DAMAGED: lambda lab, _: repair_segments(lab),
    Ailment.SEGMENT_UNDESCRIBED: lambda lab, _: repair_segments(lab),
    Ailment.TORN_LINE: _mend_journals,
    Ailment.CHANGED_LINE: _mend_journals,
    Ailment.MISSING_EVENTS: _mend_journals,
    Ailment.REPEATED_EVENTS: _mend_journals,
    Ailment.END_UNTRUE: _bury,
    Ailment.RUN_LOST: _bury,
    Ailment.COMMAND_STALE: lambda _, finding: finding.path.unlink(missing_ok=True),
    Ailment.CHECKPOINT_DAMAGED: _put_checkpoint_aside,
    Ailment.LEFTOVER: _remove_leftovers,
    Ailment.DRAFT: repair_file,
    Ailment.BLOB_DAMAGED: repair_file,
    Ailment.BLOBS_UNUSED: lambda lab, _: collect_unused(lab) and None,
}
