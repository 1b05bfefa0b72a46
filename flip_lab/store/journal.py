"""The journal: append-only files that survive the death of whoever writes them.

Each writer process has a file of its own, so nobody relies on two processes appending to
one file. A run has one living writer at a time: the flock on ``writer.lock`` goes with the
process, whichever way it ends. Nothing here imports pandas, pyarrow or DuckDB.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import FileIO
from operator import attrgetter
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import SecondWriterError, StoreError, StoreNotWritableError
from flip_lab.core.events import MetricSeries, RunEvent
from flip_lab.store.frames import LIMIT_BYTES, Frame, encode, encode_metrics, parse
from flip_lab.store.layout import LabDir, explained
from flip_lab.store.manifest import read_manifest

RESUMER = "resumer"
"""Role of who resumes an ended run: its journals tell which facts are superseded."""

_SYNC_EVERY_S = 1.0  # a sync costs milliseconds, a write microseconds
_ROLL_BYTES = (
    8 * 2**20
)  # what a reader of the live rows parses in some tens of milliseconds
_living: WeakSet[JournalWriter] = WeakSet()


class JournalWriter:
    """Keeps the events of one run; implements ``EventSink``, safe to share by threads.

    What ``append`` returned for survives a kill of the process; a power cut costs at most
    about the last second. A forked child cannot write: it lets go of the journal at birth.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        role: Who writes, the first word of the file's name; letters, digits and ``_``.
        rolled: Called with a file that has grown large and is written no more, so that
            it can be sealed; from the thread that appends, so it should only take note.

    Raises:
        SecondWriterError: If a living process writes the run's journal already.
        StoreError: If the run's facts are sealed; ``reopen`` the run first.
        StoreNotWritableError: If the journal cannot be made.
    """

    def __init__(
        self,
        lab: LabDir,
        run_id: str,
        *,
        role: str = "run",
        rolled: Callable[[Path], None] | None = None,
    ) -> None:
        """Take the run's lock and go on after the last event of an earlier writer."""
        self._run_id = run_id
        self._role = role
        self._rolled = rolled
        self._guard = Lock()
        self._is_torn = False
        self._is_refused = False
        self._synced_s = tick_s()
        self._path = lab.live_dir(run_id) / self._name()
        with explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self._path.with_name("writer.lock"), run_id)
            try:
                self._next = last_sequence(lab, run_id) + 1
                self._file = FileIO(self._path, "ab")
            except BaseException:
                self._lock.close()
                raise
        _living.add(self)

    def _name(self) -> str:
        host = re.sub(r"[^A-Za-z0-9.]+", "_", platform.node()) or "host"
        return f"{self._role}-{host}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"

    @property
    def next_sequence(self) -> int:
        """Sequence that the next event must have."""
        return self._next

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep the events, all or none, in order; one write for the whole batch.

        Args:
            events: Events of this run; the first follows the last one kept.

        Raises:
            StoreError: If the journal is closed, the batch leaves a gap or repeats an
                event, or the disk is full. Nothing of the batch is kept then, and it may
                be appended again.
        """
        batch = list(events)
        if not batch:
            return
        with self._guard:
            self._check(batch)
            self._keep(encode(batch), len(batch))

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Keep many metrics of one moment, all or none; one write.

        Args:
            series: The values; without any nothing happens.
            time_s: When they happened, seconds since the Unix epoch.

        Raises:
            StoreError: As ``append``; or if the columns differ in length.
        """
        if not series.values:
            return
        with self._guard:
            self._check([])
            line = encode_metrics(
                series, run_id=self._run_id, first=self._next, time_s=time_s
            )
            self._keep(line, len(series.values))

    def _keep(self, line: bytes, count: int) -> None:
        if self._is_refused:
            self._sync()
        self._write(line)
        self._next += count
        if tick_s() - self._synced_s >= _SYNC_EVERY_S:
            self._try_to_sync()
        if self._rolled is not None and self._file.tell() >= _ROLL_BYTES:
            self._roll(self._rolled)

    def _try_to_sync(self) -> None:
        """Sync; where the disk refuses, the next append says so: this one is kept."""
        try:
            self._sync()
        except StoreNotWritableError:
            self._is_refused = True

    def _roll(self, rolled: Callable[[Path], None]) -> None:
        """Go on in a new file; where there can be none, in the old one."""
        self._try_to_sync()
        if self._is_refused:
            return
        path = self._path.with_name(self._name())
        try:
            file = FileIO(path, "ab")
        except OSError:
            return
        self._file.close()
        done, self._path, self._file, self._is_torn = self._path, path, file, False
        rolled(done)

    def close(self) -> None:
        """Bring everything to the disk and let the next writer in; again does nothing."""
        with self._guard:
            if self._file.closed:
                return
            try:
                self._sync()
            finally:
                self._drop_if_empty()
                self._let_go()

    def abandon(self) -> None:
        """Give up the parent's files in a forked child, which would keep the lock alive."""
        self._guard = Lock()  # a thread that is not here may have held the old one
        self._let_go()

    def _check(self, batch: Sequence[RunEvent]) -> None:
        if self._file.closed:
            raise StoreError(
                f"The journal of run {self._run_id} is closed in this process.",
                fix="Open a new JournalWriter in the process that writes.",
            )
        for sequence, event in enumerate(batch, self._next):
            if event.sequence != sequence or event.run_id != self._run_id:
                raise StoreError(
                    f"The journal of run {self._run_id} got event {event.sequence} of run "
                    f"{event.run_id} where event {sequence} belongs.",
                    fix="Number the events of a run from 0 without gap or repeat.",
                )

    def _write(self, line: bytes) -> None:
        if len(line) > LIMIT_BYTES:
            raise StoreError(
                f"A batch of {len(line)} bytes is too long: the limit is {LIMIT_BYTES}.",
                fix="Append fewer events at once.",
            )
        # A line that was cut short must not swallow the one after it.
        data = memoryview(b"\n" + line if self._is_torn else line)
        done = 0
        try:
            while done < len(data):  # a nearly full disk takes a part
                done += self._file.write(data[done:])
        except OSError as error:
            self._is_torn = self._is_torn or done > 0
            if done < len(data) - 1:  # only the newline missing: the line counts as whole
                raise StoreError(
                    f"{self._path} takes no more ({error.strerror}); "
                    f"events from {self._next} on are not kept.",
                    fix="Free some space or raise the quota; the run can then go on.",
                ) from error
        else:
            self._is_torn = False

    def _sync(self) -> None:
        with explained(self._path):
            os.fdatasync(self._file.fileno())
        self._synced_s = tick_s()
        self._is_refused = False

    def _drop_if_empty(self) -> None:
        """Leave no file for each attempt to write where the disk is full."""
        with suppress(OSError):
            if not os.fstat(self._file.fileno()).st_size:
                self._path.unlink()

    def _let_go(self) -> None:
        self._file.close()
        self._lock.close()  # frees the lock, unless another process shares it


def _abandon_all() -> None:
    for writer in list(_living):
        writer.abandon()


os.register_at_fork(after_in_child=_abandon_all)


def _take_lock(path: Path, run_id: str) -> FileIO:
    file = FileIO(path, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.readall().decode(errors="replace")
        file.close()
        raise SecondWriterError(
            f"The journal of run {run_id} is being written by {holder or 'a process'}.",
            fix="Wait until that process has ended, or stop the run.",
        ) from None
    except OSError:
        file.close()
        raise
    with suppress(OSError):  # on a full disk nobody can say who holds the lock
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}".encode())
    return file


def journals(lab: LabDir, run_id: str) -> list[Path]:
    """List the journal files of a run, sorted by name; empty when it has none."""
    return sorted(lab.live_dir(run_id).glob("*.jsonl"))


def last_sequence(lab: LabDir, run_id: str) -> int:
    """Give the sequence of the last event kept for a run, -1 when there is none.

    Raises:
        StoreError: If the run has ended and its facts are sealed.
        StoreFormatError: If a newer version of FLIP Lab wrote the journal.
    """
    live = [_last_of(path) for path in journals(lab, run_id)]
    manifest = read_manifest(lab)
    if manifest.home(run_id) is not None:
        raise StoreError(
            f"Run {run_id} has ended, and its facts are sealed.",
            fix="Resume it with run.resume_from_checkpoint(), which opens it again.",
        )
    return max([*live, *(part.last for part in manifest.parts(run_id))], default=-1)


def _last_of(path: Path) -> int:
    for line in reversed(path.read_bytes().split(b"\n")):
        if frame := parse(line):
            return frame.last
    return -1


def resumer_events(paths: Iterable[Path]) -> list[RunEvent]:
    """Give what the resumers of a run wrote: a line or two for each time.

    Args:
        paths: Journal files of the run, of resumers and others.

    Raises:
        StoreFormatError: If a newer version of FLIP Lab wrote a line.
    """
    told = [path for path in paths if path.name.startswith(RESUMER)]
    frames = [parse(line) for path in told for line in path.read_bytes().split(b"\n")]
    return [event for frame in frames if frame is not None for event in frame.events()]


class JournalTail:
    """Follows the journals of a run while they are written: each event once, in order.

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
        self._after = after
        self._offsets: dict[Path, int] = {}

    def poll(self) -> list[RunEvent]:
        """Give the events that came since the last poll; reads only what is new.

        Raises:
            StoreFormatError: If a newer version of FLIP Lab wrote the journal.
        """
        # A second file begins only after the first one's writer has gone, so listing before
        # reading never shows an event without all the events before it.
        frames = [
            frame for path in journals(self._lab, self._run_id) for frame in self._new(path)
        ]
        events = [event for frame in frames for event in frame.events()]
        new = sorted(
            (event for event in events if event.sequence > self._after),
            key=attrgetter("sequence"),
        )
        self.reached = new[-1].sequence if new else self.reached
        return new

    def _new(self, path: Path) -> list[Frame]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = file.read()
        except FileNotFoundError:  # somebody removed the run
            return []
        *lines, tail = data.split(b"\n")
        frames = [parse(line) for line in lines]
        whole = parse(tail)
        unread = 0 if whole else len(tail)
        self._offsets[path] = self._offsets.get(path, 0) + len(data) - unread
        return [frame for frame in (*frames, whole) if frame and frame.last > self._after]
