"""The list of all runs, kept in memory and up to date.

Built once from the store's tables. From then on a thread looks ten times a second whether
the lab's log grew, directories came or went, and what the runs that are under way have to
say; of a lab where nothing happens that takes two looks at the file system.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from threading import Event, Lock, Thread

from flip_lab.api.live.changes import Changes
from flip_lab.api.live.following import FollowedRun
from flip_lab.api.live.labels import LabelTail
from flip_lab.api.live.rows import RunRow, rows_in_tables
from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.store import query
from flip_lab.store.layout import LabDir, names_in
from flip_lab.store.manifest import read_manifest
from flip_lab.store.schema import TABLES

_EVERY_S = 0.1
_LONGEST_PAUSE_S = 10.0
_SETTLED_S = 0.1
_ALL_TABLES = f"SELECT 1 FROM {', '.join(TABLES)} LIMIT 0"  # noqa: S608  # our own names
"""Asked once, so that the store's database is made with all tables before people ask."""

_log = logging.getLogger(__name__)


class Roster:
    """All runs of a lab, newest first; deleted ones are left out, archived ones are not.

    Reading is safe from any thread and never waits for the disk. Rows are never changed:
    a run that changes gets a new one.

    Args:
        lab: The lab.
        every_s: Seconds between two looks at the lab.
    """

    def __init__(self, lab: Lab, *, every_s: float = _EVERY_S) -> None:
        """Read nothing yet; ``start`` does."""
        self._lab = LabDir(lab.path)
        self._every_s = every_s
        self._guard = Lock()  # of what readers see: the next four
        self._changes = Changes()
        self._rows: dict[str, RunRow] = {}
        self._order: list[str] = []
        self._listed: tuple[int, list[RunRow]] = (-1, [])
        self._membership = 0
        self._labels = LabelTail(self._lab)
        self._followed: dict[str, FollowedRun] = {}
        self._known: frozenset[str] = frozenset()
        self._unread: set[str] = set()  # directories that are to be read, now or later
        self._odd: set[str] = set()  # runs whose files make no sense; told once
        self._looked_at: int | None = None
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Read the lab, and follow it from now on, in a thread of its own.

        Raises:
            StoreError: If the lab cannot be read.
        """
        self._build()
        self._stopping.clear()
        self._thread = Thread(target=self._follow, name="flip-lab roster", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Follow no more, and wait for the thread; again does nothing."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    @property
    def is_following(self) -> bool:
        """Whether the thread is at work."""
        return self._thread is not None

    @property
    def position(self) -> int:
        """A number that grows with each change; also from one server to the next."""
        return self._changes.position

    @property
    def rows(self) -> list[RunRow]:
        """All rows, newest first; the list is shared and must not be changed."""
        with self._guard:
            position, rows = self._listed
            if position != self._changes.position:
                rows = [self._rows[run_id] for run_id in self._order]
                self._listed = (self._changes.position, rows)
            return rows

    @property
    def membership(self) -> int:
        """The position at which a row came or went last."""
        return self._membership

    @property
    def active(self) -> list[str]:
        """The runs that are followed: those under way, and those that just ended."""
        return sorted(self._followed.copy())

    @property
    def states(self) -> Mapping[str, int]:
        """How many runs are in each state; a state that no run is in is left out."""
        return Counter(row["state"] for row in self.rows)

    def row(self, run_id: str) -> RunRow | None:
        """Give one run's row; ``None`` for a run that is not there, or was deleted."""
        return self._rows.get(run_id)

    def changes(self, after: int) -> tuple[list[RunRow], list[str]] | None:
        """Say what is new since a position.

        Args:
            after: What ``position`` was when the caller read last.

        Returns:
            Rows that came or changed, and ids of runs that went; ``None`` when that is
            too long ago, or before this process: read all rows again.
        """
        with self._guard:
            found = self._changes.after(after)
            if found is None:
                return None
            return [self._rows[run_id] for run_id in found[0]], found[1]

    def _build(self) -> None:
        """Read everything once; what happens meanwhile is seen by the next look."""
        said = self._labels.poll()
        self._known = self._directories()
        rows = [row for row in rows_in_tables(self._lab) if row["run_id"] in self._known]
        under_way = {r["run_id"] for r in rows if not RunState(r["state"]).is_final}
        self._put(rows, gone=self._rows.keys() - {row["run_id"] for row in rows})
        for run_id in under_way | (said.resumed & self._known):
            self._take_up(run_id)
        self._poll()

    def _follow(self) -> None:
        with suppress(FlipLabError):  # whoever asks is told
            query.sql(self._lab, _ALL_TABLES, as_="rows")
        pause_s = self._every_s
        while not self._stopping.wait(pause_s):
            try:
                self.look()
                pause_s = self._every_s
            except Exception:  # noqa: BLE001  # told, and tried again: a thread that dies stands still in silence
                _log.exception("The list of runs cannot follow the lab; it tries again.")
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def look(self) -> None:
        """Look once what is new; the thread does that, and tests that have no thread.

        Raises:
            FlipLabError: If the lab cannot be read.
        """
        said = self._labels.poll()
        before, here = self._known, self._directories()
        came = went = frozenset[str]()
        if here is not before:
            came, went = here - before, before - here
        hidden = {r for r in said.labelled if self._labels.of(r).is_hidden}
        back = {r for r in said.labelled & here if r not in self._rows}
        self._known = here
        self._unread = (self._unread | came | back) & here - hidden
        for run_id in said.resumed & self._known:
            self._take_up(run_id)
        self._relabel(said.labelled - hidden)
        if gone := (went | hidden) & self._rows.keys():
            for run_id in gone:
                self._followed.pop(run_id, None)
            self._put([], gone=gone)
        self._add(self._unread.copy())  # last: what cannot be read now is next time
        self._poll()

    def _directories(self) -> frozenset[str]:
        """Give the runs that have a directory; it is listed only when it changed."""
        try:
            changed = self._lab.runs.stat()
        except OSError:
            return frozenset()
        if changed.st_mtime_ns == self._looked_at:
            return self._known
        # Two changes within one tick of the kernel's clock leave the same time.
        is_settled = now_s() - changed.st_mtime > _SETTLED_S
        self._looked_at = changed.st_mtime_ns if is_settled else None
        return frozenset(n for n in names_in(self._lab.runs) if not n.startswith("."))

    def _add(self, run_ids: Collection[str]) -> None:
        """Take in runs that came."""
        if not run_ids:
            return
        sealed = read_manifest(self._lab).closed_runs & {*run_ids}
        if sealed:
            self._put(rows_in_tables(self._lab, sealed))
            self._unread -= sealed
        for run_id in {*run_ids} - sealed:
            self._take_up(run_id)

    def _take_up(self, run_id: str) -> None:
        """Follow a run from now on, or once it can be read."""
        self._unread.discard(run_id)
        try:
            self._followed[run_id] = FollowedRun(self._lab, run_id)
        except FlipLabError:
            self._unread.add(run_id)

    def _relabel(self, run_ids: Iterable[str]) -> None:
        rows: list[RunRow] = []
        for run_id in run_ids:
            if (row := self._rows.get(run_id)) is not None:
                said = self._labels.of(run_id)
                new: RunRow = {
                    **row,
                    "tags": list(said.tags),
                    "note": said.note,
                    "is_archived": said.is_archived,
                }
                rows.append(new)
        self._put(rows)

    def _poll(self) -> None:
        rows: list[RunRow] = []
        for run_id, run in [*self._followed.items()]:
            try:  # a damaged run must not hide the others
                run.poll()
                rows.append(run.row(self._labels.of(run_id)))
            except (FlipLabError, OSError):
                pass  # what was not read is read next time
            except Exception:  # noqa: BLE001  # whatever stands in its files
                if run_id not in self._odd:
                    _log.exception("Run %s cannot be listed.", run_id)
                self._odd.add(run_id)
            if run.is_done:
                del self._followed[run_id]
        self._put(rows)

    def _put(self, rows: Iterable[RunRow], *, gone: Iterable[str] = ()) -> None:
        """Let readers see rows; those that are as before do not count as changes."""
        new = {r["run_id"]: r for r in rows if r != self._rows.get(r["run_id"])}
        lost = [*gone]
        if not new and not lost:
            return
        with self._guard:
            grew = not new.keys() <= self._rows.keys()
            self._rows |= new
            for run_id in lost:
                self._rows.pop(run_id, None)
            if grew or lost:
                self._order = sorted(self._rows, key=self._newest, reverse=True)
            self._changes.note(new, lost)
            if grew or lost:
                self._membership = self._changes.position

    def _newest(self, run_id: str) -> tuple[str, str]:
        return self._rows[run_id]["created_at"] or "", run_id
