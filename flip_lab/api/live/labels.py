"""The lab's log, read as it grows: whose labels changed, and which runs were taken up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flip_lab.core.clock import now_s
from flip_lab.store.audit import AuditRecord, Labels, audit_path, labels, parse
from flip_lab.store.layout import LabDir

_JUST_NOW_S = 60.0
_NO_LABELS = Labels()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was added to the log.

    Attributes:
        labelled: Runs whose labels may have changed.
        resumed: Runs that somebody took up again.
    """

    labelled: frozenset[str] = frozenset()
    resumed: frozenset[str] = frozenset()


class LabelTail:
    """Follows the lab's log; for one thread.

    Args:
        lab: The lab.
    """

    def __init__(self, lab: LabDir) -> None:
        """Read nothing yet."""
        self._path = audit_path(lab)
        self._start()

    def _start(self) -> None:
        self._mark: tuple[int, int] | None = None
        self._offset = 0
        self._records: list[AuditRecord] = []
        self._labels: dict[str, Labels] = {}

    def of(self, run_id: str) -> Labels:
        """Give a run's labels as they were at the last poll."""
        return self._labels.get(run_id, _NO_LABELS)

    def poll(self) -> Said:
        """Read what was added since the last poll; a log that was replaced is read anew.

        Raises:
            StoreFormatError: If a newer version of FLIP Lab wrote the log.
        """
        try:
            found = self._path.stat()
        except OSError:
            return Said()
        mark = (found.st_ino, found.st_size)
        if mark == self._mark:
            return Said()
        before = frozenset[str]()
        if self._mark is not None and (
            mark[0] != self._mark[0] or found.st_size < self._offset
        ):
            before = frozenset(self._labels)
            self._start()
        new = self._new()
        self._mark = mark  # not before: what cannot be read now is next time
        said = self._take(new)
        return Said(labelled=said.labelled | before, resumed=said.resumed)

    def _new(self) -> list[AuditRecord]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")  # a torn end is left for later
        self._offset += len(whole) + len(newline)
        return [record for line in whole.split(b"\n") if (record := parse(line))]

    def _take(self, new: list[AuditRecord]) -> Said:
        self._records += new
        touched = frozenset(run_id for record in new for run_id in record.run_ids)
        if len(self._records) == len(new):
            self._labels = labels(self._records)
        elif touched:
            # What was undone names the same runs as its undoing.
            about = (r for r in self._records if not touched.isdisjoint(r.run_ids))
            found = labels(about)
            for run_id in touched:
                self._labels[run_id] = found.get(run_id, _NO_LABELS)
        return Said(labelled=touched, resumed=_resumed(new))


def _resumed(records: Iterable[AuditRecord]) -> frozenset[str]:
    """Give the runs that were just taken up; what was long ago is over."""
    since_s = now_s() - _JUST_NOW_S
    return frozenset(
        run_id
        for record in records
        if record.action == "resume" and record.time_s >= since_s
        for run_id in record.run_ids
    )
