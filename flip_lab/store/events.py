"""The events of a run, wherever they are kept: in its journals, or sealed."""

from __future__ import annotations

import sys
from operator import attrgetter

from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.journal import JournalTail
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest


def read_events(lab: LabDir, run_id: str, *, after: int = -1) -> list[RunEvent]:
    """Give the events of a run that are kept now, by sequence and without a gap.

    Args:
        lab: The lab that keeps the run.
        run_id: The run; one that has no journal has no events.
        after: Leave out events up to this sequence.

    Raises:
        StoreFormatError: If a newer version of FLIP Lab wrote the events.
        StoreError: If they cannot be read.
    """
    return EventTail(lab, run_id, after=after).poll()


class EventTail:
    """Follows a run while it is written, and once it is sealed: each event once, in order.

    Args:
        lab: The lab that keeps the run.
        run_id: The run; it need not have begun.
        after: Leave out events up to this sequence.

    Attributes:
        reached: Sequence of the last event given; ``after`` before the first.
    """

    def __init__(self, lab: LabDir, run_id: str, *, after: int = -1) -> None:
        """Read nothing yet."""
        self.reached = after
        self._lab = lab
        self._run_id = run_id
        self._tail = JournalTail(lab, run_id, after=after)
        self._looked = -1

    def poll(self) -> list[RunEvent]:
        """Give the events that came since the last poll; reads only what is new.

        Raises:
            StoreFormatError: If a newer version of FLIP Lab wrote them.
            StoreError: If they cannot be read.
        """
        new = self._tail.poll()
        if not new or new[0].sequence != self.reached + 1:
            # A run seals its full files while it goes on, and all of them after its end.
            new = [*self._sealed(new[0].sequence if new else sys.maxsize), *new]
        self.reached = new[-1].sequence if new else self.reached
        return new

    def _sealed(self, until: int) -> list[RunEvent]:
        manifest = read_manifest(self._lab)
        if manifest.home(self._run_id) is None:
            last = max((part.last for part in manifest.parts(self._run_id)), default=-1)
            if last <= self.reached:
                return []
        elif manifest.generation == self._looked:
            return []
        self._looked = manifest.generation
        return sealed_events(self._lab, self._run_id, after=self.reached, until=until)


def sealed_events(
    lab: LabDir, run_id: str, *, after: int = -1, until: int = sys.maxsize
) -> list[RunEvent]:
    """Give the events of a run that are sealed, by sequence.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        after: Leave out events up to this sequence.
        until: Leave out events from this sequence on.

    Raises:
        StoreError: If they cannot be read.
    """
    # DuckDB takes longer to import than a journal to read.
    from flip_lab.store.sealed import sealed_facts

    found = [
        RunEvent(
            run_id=run_id,
            sequence=row.pop("sequence"),
            time_s=row.pop("time_s"),
            server_round=row.pop("server_round"),
            kind=EventKind(row.pop("kind")),
            body=row,
        )
        for row in sealed_facts(lab, run_id, after=after, until=until)
    ]
    return sorted(found, key=attrgetter("sequence"))
