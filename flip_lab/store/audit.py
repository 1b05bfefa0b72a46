"""The lab's log: who launched, tagged, archived or deleted what.

``audit.jsonl`` holds one line an action, in the order of ``sequence``; a clock that goes
back changes nothing. What runs are labelled with now is a reading of it: the last action
wins, and an action that was undone counts as if it had never been. ``audit_writer`` adds
the lines, ``audit_chain`` finds those that were changed or taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import orjson

from flip_lab.core.errors import StoreError, StoreFormatError
from flip_lab.store.layout import LabDir

VERSION = 1
"""Format of a line; a line of a higher version is refused."""

BIRTHS = frozenset({"launch", "fork", "rerun", "import"})
"""Actions that bring a run into the lab, with the tags and the note that they give it."""

UNDOABLE = frozenset({"tag", "untag", "note", "archive", "unarchive", "delete", "undelete"})
"""Actions that can be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One action, as a line of the log tells it.

    Attributes:
        sequence: Its place in the log, from 0.
        time_s: When it was done, seconds since the Unix epoch, on the clock of its host.
        author: Who did it.
        action: What was done: ``"launch"``, ``"tag"``, ``"delete"``, ``"undo"`` …
        run_id: The run it was done to; None when it was none, or several.
        body: What belongs to the action: ``tags``, ``text``; ``run_ids`` of several runs;
            ``sequence`` of the action that an undo takes back.
        chain: Hash of this line and of all lines before it, 64 hexadecimal digits.
    """

    sequence: int
    time_s: float
    author: str
    action: str
    run_id: str | None
    body: Mapping[str, Any]
    chain: str

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that it was done to; empty when it was about none."""
        if self.run_id is not None:
            return (self.run_id,)
        return _texts(self.body.get("run_ids"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What people have said about one run.

    Attributes:
        tags: Its tags, sorted.
        note: Its note; empty when it has none.
        is_archived: Whether lists leave it out unless asked.
        deleted_s: When it was put into the trash, seconds since the Unix epoch; None when
            it was not.
        is_removed: Whether the trash was emptied while it was in it: nothing of the run
            is to be found any more.
    """

    tags: tuple[str, ...] = ()
    note: str = ""
    is_archived: bool = False
    deleted_s: float | None = None
    is_removed: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether no list, no table and no search may show the run."""
        return self.deleted_s is not None or self.is_removed


def audit_path(lab: LabDir) -> Path:
    """Give the file of the lab's log; it need not be there."""
    return lab.root / "audit.jsonl"


def read_audit(lab: LabDir) -> list[AuditRecord]:
    """Give every action, the oldest first; a lab without a log has none.

    Lines that are no records are passed over: ``flip_lab.store.audit_chain`` finds them.

    Raises:
        StoreError: If the log cannot be read.
        StoreFormatError: If a newer version of FLIP Lab wrote it.
    """
    return [record for line in read_lines(lab) if (record := parse(line)) is not None]


def audited(lab: LabDir) -> tuple[tuple[AuditRecord, ...], Mapping[str, Labels]]:
    """Give every action and the labels after them; read again only when there are more.

    Raises:
        StoreError: If the log cannot be read.
        StoreFormatError: If a newer version of FLIP Lab wrote it.
    """
    try:
        file = audit_path(lab).stat()
    except OSError:  # it is not there, or reading says what is wrong with it
        return _audited(lab)
    return _audited_before(lab, file.st_ino, file.st_size, file.st_mtime_ns)


def _audited(lab: LabDir) -> tuple[tuple[AuditRecord, ...], Mapping[str, Labels]]:
    records = tuple(read_audit(lab))
    return records, MappingProxyType(labels(records))


@lru_cache(maxsize=4)  # a line costs some microseconds, and each run has one at least
def _audited_before(
    lab: LabDir, *_: int
) -> tuple[tuple[AuditRecord, ...], Mapping[str, Labels]]:
    return _audited(lab)


def labels(records: Iterable[AuditRecord]) -> dict[str, Labels]:
    """Say what runs are labelled with after these actions.

    Args:
        records: The log, or its beginning, the oldest first.

    Returns:
        Labels by run, for every run that an action in force has named.
    """
    found: dict[str, Labels] = {}
    for record in in_force(records):
        for run_id in record.run_ids:
            found[run_id] = _labelled(found.get(run_id, Labels()), record)
    return found


def in_force(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Leave out the actions that were undone, and the undoing itself."""
    known = list(records)
    undone = {record.body.get("sequence") for record in known if record.action == "undo"}
    return [
        record
        for record in known
        if record.action != "undo"
        and (record.sequence not in undone or record.action not in UNDOABLE)
    ]


def _labelled(before: Labels, record: AuditRecord) -> Labels:
    """Give a run's labels after one more action; a damaged body says nothing."""
    effect = _EFFECTS.get(record.action)
    return before if effect is None else effect(before, record)


def _born(_: Labels, record: AuditRecord) -> Labels:
    return Labels(tags=_sorted(_tags(record)), note=str(record.body.get("note", "")))


def _tags(record: AuditRecord) -> set[str]:
    return set(_texts(record.body.get("tags")))


def _sorted(tags: set[str]) -> tuple[str, ...]:
    return tuple(sorted(tags))


_EFFECTS: Mapping[str, Callable[[Labels, AuditRecord], Labels]] = MappingProxyType(
    {
        **dict.fromkeys(BIRTHS, _born),
        "tag": lambda old, r: replace(old, tags=_sorted({*old.tags} | _tags(r))),
        "untag": lambda old, r: replace(old, tags=_sorted({*old.tags} - _tags(r))),
        "note": lambda old, r: replace(old, note=str(r.body.get("text", ""))),
        "archive": lambda old, _: replace(old, is_archived=True),
        "unarchive": lambda old, _: replace(old, is_archived=False),
        "delete": lambda old, r: replace(old, deleted_s=r.time_s),
        "undelete": lambda old, _: replace(old, deleted_s=None),
        "empty_trash": lambda old, _: replace(old, is_removed=True),
    }
)


def _texts(value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def parse(line: bytes) -> AuditRecord | None:
    """Read one line of the log.

    Args:
        line: The line, without its newline.

    Returns:
        The action; None for a line that is blank, was cut short or is no record.

    Raises:
        StoreFormatError: If a newer version of FLIP Lab wrote the line.
    """
    try:
        found = orjson.loads(line)
        if (version := int(found["v"])) > VERSION:
            raise StoreFormatError(
                f"The lab's log has lines of format {version}; this version of FLIP Lab "
                f"reads up to {VERSION}.",
                fix="Update FLIP Lab (pip install -U flip-lab).",
            )
        run_id = found["run_id"]
        return AuditRecord(
            sequence=int(found["sequence"]),
            time_s=float(found["time_s"]),
            author=str(found["author"]),
            action=str(found["action"]),
            run_id=None if run_id is None else str(run_id),
            body=dict(found["body"]),
            chain=str(found["chain"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def read_lines(lab: LabDir) -> list[bytes]:
    """Give the lines of the log as they are, records or not; the last may be torn.

    Raises:
        StoreError: If the log cannot be read.
    """
    path = audit_path(lab)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(
            f"The lab's log {path} cannot be read ({error.strerror}).",
            fix="Check that you may read the file, or restore it from a backup.",
        ) from error
    return content.split(b"\n")
