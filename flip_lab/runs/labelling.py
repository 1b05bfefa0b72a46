"""Tags, notes and archiving, each an action in the lab's log, and taking one back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flip_lab.core.errors import InvalidValueError, NothingToUndoError
from flip_lab.runs.groups import note_of, tags_of
from flip_lab.store.audit import UNDOABLE, AuditRecord, Labels, in_force, labels
from flip_lab.store.audit_writer import append_audit, author, writing
from flip_lab.store.layout import LabDir

_SHOWN = 3


def tag_runs(lab: LabDir, run_ids: Sequence[str], tags: Sequence[str]) -> None:
    """Give all these runs all these tags.

    Raises:
        InvalidValueError: If there is no tag, or one will not do.
        StoreNotWritableError: If the lab cannot be written; then no run has them.
    """
    _label(lab, "tag", run_ids, {"tags": _some(tags)})


def untag_runs(lab: LabDir, run_ids: Sequence[str], tags: Sequence[str]) -> None:
    """Take tags off runs; a run that lacks one stays without it.

    Raises:
        InvalidValueError: If there is no tag, or one will not do.
        StoreNotWritableError: If the lab cannot be written.
    """
    _label(lab, "untag", run_ids, {"tags": _some(tags)})


def note_runs(lab: LabDir, run_ids: Sequence[str], text: str) -> None:
    """Give runs a note in place of the one they had; an empty one takes it away.

    Raises:
        InvalidValueError: If the note will not do.
        StoreNotWritableError: If the lab cannot be written.
    """
    _label(lab, "note", run_ids, {"text": note_of(text)})


def archive_runs(
    lab: LabDir, run_ids: Sequence[str], action: Literal["archive", "unarchive"]
) -> None:
    """Put runs away from the usual lists, or take them back.

    Raises:
        StoreNotWritableError: If the lab cannot be written.
    """
    _label(lab, action, run_ids, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelling:
    """What is said about one run from now on; ``None`` leaves it as it is.

    Attributes:
        tags: All its tags.
        note: Its note; an empty one takes it away.
        is_archived: Whether it is put away.
    """

    tags: Sequence[str] | None = None
    note: str | None = None
    is_archived: bool | None = None


def relabel_run(
    lab: LabDir, run_id: str, wanted: Relabelling, *, check: Callable[[], None]
) -> None:
    """Say several things about a run, unless somebody was faster.

    Args:
        lab: The lab.
        run_id: The run.
        wanted: What to say; what is so already is not said again.
        check: Raises if the run is not as it was seen; nobody labels it meanwhile.

    Raises:
        InvalidValueError: If a tag or the note will not do; then nothing was said.
        StoreNotWritableError: If the lab cannot be written.
    """
    tags = None if wanted.tags is None else set(tags_of(wanted.tags))
    note = None if wanted.note is None else note_of(wanted.note)
    with writing(lab) as log:
        check()
        now = labels(log.records()).get(run_id, Labels())
        if tags is not None and (new := sorted(tags - {*now.tags})):
            log.append("tag", run_ids=[run_id], body={"tags": new})
        if tags is not None and (gone := sorted({*now.tags} - tags)):
            log.append("untag", run_ids=[run_id], body={"tags": gone})
        if note is not None and note != now.note:
            log.append("note", run_ids=[run_id], body={"text": note})
        if wanted.is_archived not in {None, now.is_archived}:
            log.append("archive" if wanted.is_archived else "unarchive", run_ids=[run_id])


def _label(
    lab: LabDir, action: str, run_ids: Sequence[str], body: Mapping[str, Any]
) -> None:
    if run_ids:
        append_audit(lab, action, run_ids=run_ids, body=body)


def _some(tags: Sequence[str]) -> list[str]:
    if not tags:
        raise InvalidValueError("No tag was given.", fix='Name one: lab.tag(run, "good").')
    return list(tags_of(tags))


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """An action that was taken back.

    Attributes:
        action: What it was: ``"tag"``, ``"note"``, ``"delete"`` …
        run_ids: The runs that it was done to.
        time_s: When it was done, seconds since the Unix epoch.
        body: What belonged to it, such as ``tags``.
    """

    action: str
    run_ids: tuple[str, ...]
    time_s: float
    body: Mapping[str, Any]

    def __str__(self) -> str:
        runs = ", ".join(self.run_ids[:_SHOWN])
        more = len(self.run_ids) - _SHOWN
        runs += f" and {more} more" if more > 0 else ""
        tags = ", ".join(map(repr, self.body.get("tags", ())))
        what = f" {tags}" if tags else ""
        return f"undone: {self.action}{what} of {runs}"


def undo_last(lab: LabDir) -> Undone:
    """Take back the last action of this author that is still in force.

    What others did since stays: a tag that somebody else gave, too, is still there.

    Args:
        lab: The lab.

    Returns:
        What was taken back. Another call takes back the one before it.

    Raises:
        NothingToUndoError: If there is none.
        StoreNotWritableError: If the lab cannot be written.
    """
    me = author()
    with writing(lab) as log:
        last = _last_of(log.records(), me)
        if last is None:
            raise NothingToUndoError(
                f"{me} has no action left to undo in {lab.root}.",
                fix="lab.undo() takes back tags, notes, archiving and deleting, each "
                "author's own; lab.deleted() lists the trash.",
            )
        body = {"sequence": last.sequence, "action": last.action}
        log.append("undo", run_ids=last.run_ids, body=body)
    return Undone(
        action=last.action, run_ids=last.run_ids, time_s=last.time_s, body=last.body
    )


def _last_of(records: Sequence[AuditRecord], who: str) -> AuditRecord | None:
    """Find an author's last action that can be taken back: not on runs that are gone."""
    said = labels(records)
    for record in reversed(in_force(records)):
        left = [run_id for run_id in record.run_ids if not said[run_id].is_removed]
        if record.author == who and record.action in UNDOABLE and left:
            return record
    return None
