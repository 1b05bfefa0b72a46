"""Events of the runs that were asked about last, written and ready to be given."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from operator import attrgetter
from threading import Lock

from flip_lab.api.live.marks import Mark
from flip_lab.api.live.ring import Written, written
from flip_lab.store.events import EventTail
from flip_lab.store.layout import LabDir

_KEPT_BYTES = 2**25
_sequence = attrgetter("sequence")


class _Book:
    """One run's events so far."""

    def __init__(self, lab: LabDir, run_id: str) -> None:
        self.guard = Lock()
        self.size = 0
        self._tail = EventTail(lab, run_id)
        self._mark = Mark(lab, run_id)
        self._events: list[Written] = []

    def after(self, sequence: int) -> list[Written]:
        """Read what is new; give what follows a sequence."""
        if self._mark.differs():
            new = written(self._tail.poll())
            self._events += new
            self.size += sum(len(event.text) for event in new)
        return self._events[bisect_right(self._events, sequence, key=_sequence) :]


class EventShelf:
    """Gives events of runs; from any thread. What was read once is not read again.

    Args:
        lab: The lab.
        most_bytes: What the events may take together; a run that is asked about is read
            whole, however long it is.
    """

    def __init__(self, lab: LabDir, *, most_bytes: int = _KEPT_BYTES) -> None:
        """Keep nothing yet."""
        self._lab, self._most_bytes = lab, most_bytes
        self._guard = Lock()
        self._books: OrderedDict[str, _Book] = OrderedDict()

    def after(self, run_id: str, sequence: int) -> list[Written]:
        """Give the events of a run behind a sequence, in order, superseded ones, too.

        Args:
            run_id: The run's whole id.
            sequence: -1 for all.

        Raises:
            FlipLabError: If they cannot be read.
        """
        with self._guard:
            book = self._books.get(run_id)
            if book is None:
                book = self._books[run_id] = _Book(self._lab, run_id)
            self._books.move_to_end(run_id)
        try:
            with book.guard:
                found = book.after(sequence)
        except BaseException:
            self._drop(run_id, book)
            raise
        self._make_room()
        return found

    def _drop(self, run_id: str, book: _Book) -> None:
        with self._guard:
            if self._books.get(run_id) is book:
                del self._books[run_id]

    def _make_room(self) -> None:
        with self._guard:
            size = sum(book.size for book in self._books.values())
            while size > self._most_bytes and self._books:
                _, oldest = self._books.popitem(last=False)
                size -= oldest.size
