"""What can be wrong with a lab's files, and where what is damaged is set aside."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from flip_lab.store.layout import LabDir, explained, write_atomic


class Ailment(StrEnum):
    """The kinds of finding."""

    TORN_LINE = "torn_line"
    CHANGED_LINE = "changed_line"
    MISSING_EVENTS = "missing_events"
    REPEATED_EVENTS = "repeated_events"
    RUN_UNREADABLE = "run_unreadable"
    JOURNAL_ALONE = "journal_alone"
    NEWER_FORMAT = "newer_format"
    MANIFEST_DAMAGED = "manifest_damaged"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_DAMAGED = "segment_damaged"
    SEGMENT_UNDESCRIBED = "segment_undescribed"
    LEFTOVER = "leftover"
    DRAFT = "draft"
    BLOB_DAMAGED = "blob_damaged"
    BLOB_MISSING = "blob_missing"
    BLOBS_UNUSED = "blobs_unused"
    RUN_LOST = "run_lost"
    END_UNTRUE = "end_untrue"
    COMMAND_STALE = "command_stale"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    CLOCK = "clock"
    LOG_FLAW = "log_flaw"


REPAIRS = MappingProxyType(
    {
        Ailment.TORN_LINE: "sets the rest of the line aside; it was never acknowledged",
        Ailment.CHANGED_LINE: "sets the line aside; warnings take its events' place",
        Ailment.MISSING_EVENTS: "puts a warning in the place of each",
        Ailment.REPEATED_EVENTS: "sets the second telling aside",
        Ailment.MANIFEST_DAMAGED: "makes the manifest anew from the segments",
        Ailment.SEGMENT_MISSING: "takes the segment out of the manifest",
        Ailment.SEGMENT_DAMAGED: "sets the file aside; makes a table anew from its facts",
        Ailment.SEGMENT_UNDESCRIBED: "writes its description anew",
        Ailment.LEFTOVER: "removes it; what it held is kept elsewhere",
        Ailment.DRAFT: "removes it; it was never finished",
        Ailment.BLOB_DAMAGED: "sets the file aside",
        Ailment.BLOBS_UNUSED: "removes those that are older than an hour",
        Ailment.RUN_LOST: "writes that the run failed (FLIP-305)",
        Ailment.END_UNTRUE: "removes the mark",
        Ailment.COMMAND_STALE: "removes it; the lab's log has it",
        Ailment.CHECKPOINT_DAMAGED: "sets it aside; an older one is taken in its place",
    }
)
"""What a repair does; what is not here only a backup helps against, or nothing need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: What kind of thing.
        path: The file or directory.
        what: What is wrong, in one sentence.
        run_id: The run that it belongs to; None when it is none's.
    """

    kind: Ailment
    path: Path
    what: str
    run_id: str | None = None

    @property
    def repair(self) -> str:
        """What a repair does about it; empty when there is nothing to do."""
        return REPAIRS.get(self.kind, "")

    @property
    def is_note(self) -> bool:
        """Whether it is only told: nothing is damaged."""
        return self.kind in {Ailment.CLOCK, Ailment.COMMAND_STALE}


def aside(lab: LabDir, *parts: str) -> Path:
    """Give a new place for something damaged, below ``damaged``.

    Args:
        lab: The lab.
        parts: Where it was, from the lab down.
    """
    place = lab.root.joinpath("damaged", *parts)
    return place.with_name(f"{place.name}.{secrets.token_hex(3)}")


def move_aside(lab: LabDir, path: Path) -> None:
    """Move a damaged file or directory of a lab below ``damaged``.

    Raises:
        StoreNotWritableError: If it cannot be moved.
    """
    place = aside(lab, *path.relative_to(lab.root).parts)
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)


def set_aside(lab: LabDir, lines: Iterable[bytes], *parts: str) -> Path:
    """Keep damaged lines of a file.

    Args:
        lab: The lab.
        lines: The lines, without their newlines.
        parts: Where the file is, from the lab down.

    Returns:
        Where they are now.

    Raises:
        StoreNotWritableError: If they cannot be written.
    """
    place = aside(lab, *parts)
    write_atomic(place, b"".join(line + b"\n" for line in lines))
    return place
