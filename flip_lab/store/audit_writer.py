"""Who adds to the lab's log: one at a time, each line whole and on the disk, or not at all.

A lock on the file itself keeps processes and threads apart; the kernel frees it at any
death. What an earlier writer left of a line when it was killed is cleared away first.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import StoreError, StoreNotWritableError
from flip_lab.store.audit import VERSION, AuditRecord, audit_path, parse, read_audit
from flip_lab.store.audit_chain import GENESIS, head_path, link, read_head
from flip_lab.store.layout import LabDir, explained

_PATIENCE_S = 30.0  # an action takes milliseconds: who holds the lock longer hangs
_PAUSE_S = 0.01
_LOOK_BACK_BYTES = 2**16
_acting: ContextVar[str] = ContextVar("acting", default="")
_line_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=dict
).encode


def append_audit(
    lab: LabDir,
    action: str,
    *,
    run_ids: Sequence[str] = (),
    body: Mapping[str, Any] | None = None,
) -> AuditRecord:
    """Add one action to the lab's log.

    Args:
        lab: The lab.
        action: What was done, see ``AuditRecord``.
        run_ids: The runs it was done to, all in one line: all or none.
        body: What belongs to it, fit for JSON, without NaN and infinities.

    Returns:
        What was kept; it is on the disk.

    Raises:
        StoreNotWritableError: If the log cannot be written; then it is as it was.
        StoreError: If another process holds on to the log.
        StoreFormatError: If a newer version of FLIP Lab wrote the log.
    """
    with writing(lab) as writer:
        return writer.append(action, run_ids=run_ids, body=body)


@contextmanager
def writing(lab: LabDir) -> Generator[AuditWriter]:
    """Keep all others from adding to the log, to decide by what it says.

    Args:
        lab: The lab.

    Raises:
        StoreNotWritableError: If the log cannot be written.
        StoreError: If another process holds on to the log.
        StoreFormatError: If a newer version of FLIP Lab wrote the log.
    """
    path = audit_path(lab)
    with explained(path):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        descriptor = os.open(path, flags, 0o644)
    try:
        _take_lock(descriptor, path)
        yield AuditWriter(lab, descriptor)
    finally:
        # Unlocked, not only closed: a child forked meanwhile would hold the lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def acting_as(name: str) -> Generator[None]:
    """Let what is done inside be somebody's deed, in this thread or task alone.

    Args:
        name: Whose, as the lab's log shall show it.
    """
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def author() -> str:
    """Say who acts: ``acting_as``, ``FLIP_LAB_AUTHOR``, or the operating system's user."""
    if name := _acting.get():
        return name
    if name := os.environ.get("FLIP_LAB_AUTHOR", "").strip():
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        return f"user {os.getuid()}"


class AuditWriter:
    """The only one who may add to the log now; made by ``writing``.

    Args:
        lab: The lab.
        descriptor: Its log, open for reading and appending, and locked.

    Raises:
        StoreNotWritableError: If a torn last line cannot be cleared away.
        StoreFormatError: If a newer version of FLIP Lab wrote the log.
    """

    def __init__(self, lab: LabDir, descriptor: int) -> None:
        """Heal the end of the log, and find what the next line is chained to."""
        self._lab = lab
        self._path = audit_path(lab)
        self._file = descriptor
        with explained(self._path):
            last = self._heal()
        self._last, self._chain = (
            (-1, GENESIS) if last is None else (last.sequence, last.chain)
        )
        head = read_head(lab)
        if head is not None and head[0] > self._last:  # lines are gone: let it be seen
            self._last, self._chain = head

    def records(self) -> list[AuditRecord]:
        """Give every action; nobody adds one meanwhile."""
        return read_audit(self._lab)

    def append(
        self,
        action: str,
        *,
        run_ids: Sequence[str] = (),
        body: Mapping[str, Any] | None = None,
    ) -> AuditRecord:
        """Add one action; arguments, result and errors as of ``append_audit``."""
        several = {} if len(run_ids) <= 1 else {"run_ids": list(run_ids)}
        fields: dict[str, Any] = {
            "sequence": self._last + 1,
            "time_s": now_s(),
            "author": author(),
            "action": action,
            "run_id": run_ids[0] if len(run_ids) == 1 else None,
            "body": {**(body or {}), **several},
        }
        # Characters without a form in UTF-8, as in names of files, become "?".
        content = _line_json({"v": VERSION, **fields})[:-1].encode(errors="replace")
        chain = link(self._chain, content)
        self._write(content + f',"chain":"{chain}"}}\n'.encode())
        self._last, self._chain = self._last + 1, chain
        self._write_head()
        return AuditRecord(**fields, chain=chain)

    def _heal(self) -> AuditRecord | None:
        """Clear away a line that was cut short; give the last one that was not."""
        size = os.fstat(self._file).st_size
        span = _LOOK_BACK_BYTES
        while True:
            start = max(0, size - span)
            lines = os.pread(self._file, size - start, start).split(b"\n")
            if start:
                del lines[0]  # it may have begun earlier
            last = next((r for line in reversed(lines) if (r := parse(line))), None)
            if last is not None or not start:
                break
            span *= 4
        if lines and lines[-1]:
            if parse(lines[-1]) is not None:  # all of it but the newline
                os.write(self._file, b"\n")
            else:
                os.ftruncate(self._file, size - len(lines[-1]))
        return last

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            with explained(self._path):
                done = 0
                while done < len(line):  # a nearly full disk takes a part
                    done += os.write(self._file, line[done:])
                os.fsync(self._file)
                if not before:
                    _sync_directory(self._path.parent)
        except StoreNotWritableError:
            with suppress(OSError):  # else the next writer does it
                os.ftruncate(self._file, before)
            raise

    def _write_head(self) -> None:
        """Note how far the log reaches; of one length, so that one write replaces it."""
        text = f"{self._last:020d} {self._chain}\n"
        with suppress(OSError):  # the action is kept; only its loss would go unnoticed
            head = os.open(head_path(self._lab), os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(head, text.encode(), 0)
            finally:
                os.close(head)


def _take_lock(descriptor: int, path: Path) -> None:
    end_s = tick_s() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tick_s() > end_s:
                raise StoreError(
                    f"Another process has held on to {path} for {_PATIENCE_S:.0f} s.",
                    fix="End the process that hangs (fuser names it), and try again.",
                ) from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            raise StoreNotWritableError(
                f"{path} cannot be locked ({error.strerror}).",
                fix="Keep the lab on a disk that knows locks, such as a local one.",
            ) from error
        else:
            return


def _sync_directory(path: Path) -> None:
    """Make the name of a new file survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
