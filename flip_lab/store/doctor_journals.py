"""Journals: lines that were torn or have changed, and events that are missing.

A journal's readers rely on sequences without a gap. So a repair puts a warning in the place
of each event that cannot be read any more: the loss is on record where the event was.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from flip_lab.core.clock import now_s
from flip_lab.core.errors import CorruptArtifactError, StoreBusyError, StoreFormatError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.store.doctor import Ailment, Finding, set_aside
from flip_lab.store.frames import Frame, encode, is_sound, parse
from flip_lab.store.journal import journals
from flip_lab.store.layout import LabDir, explained, write_atomic
from flip_lab.store.manifest import Manifest, compacting, read_manifest

_SLACK_S = 86400.0  # hosts' clocks differ, but not by a day
_BATCH = 5000
_LOST = "This event could not be read any more; flip-lab doctor put this in its place."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Line:
    """One line of a journal; equal only to itself, because lines are told twice.

    Attributes:
        number: Its number in the file, from 1.
        raw: Its bytes, without the newline.
        frame: What it says; None when that cannot be read or trusted.
        is_changed: Whether it can be read, but is not what was written.
        is_newer: Whether a newer version wrote it.
        is_last: Whether the file ends with it, without a newline.
    """

    number: int
    raw: bytes
    frame: Frame | None
    is_changed: bool = False
    is_newer: bool = False
    is_last: bool = False


def examine_journals(lab: LabDir, run_id: str) -> list[Finding]:
    """Look through the journals of a run that is not sealed.

    Args:
        lab: The lab.
        run_id: The run; it may be under way.

    Returns:
        What is wrong; of a run under way only what its process will not mend.
    """
    told = {path: _read(path) for path in journals(lab, run_id)}
    # Read after the journals: what was sealed meanwhile is no gap.
    manifest = read_manifest(lab)
    if manifest.home(run_id) is not None:
        return []
    sealed = _sealed(manifest, run_id)
    lines = {path: some for path, some in told.items() if path.name not in sealed}
    findings = [
        Finding(kind=kind, path=path, what=what, run_id=run_id)
        for path, some in lines.items()
        for kind, what in _bad_lines(some, is_written=is_written(lab, run_id))
    ]
    everything = [line for some in lines.values() for line in some]
    folder = lab.live_dir(run_id)
    for kind, what in (*_sequence(everything, manifest, run_id), *_clock(everything)):
        findings.append(Finding(kind=kind, path=folder, what=what, run_id=run_id))
    return findings


def is_written(lab: LabDir, run_id: str) -> bool:
    """Say whether a living process writes a run's journal."""
    try:
        lock = FileIO(lab.live_dir(run_id) / "writer.lock")
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _sealed(manifest: Manifest, run_id: str) -> set[str]:
    return {name for part in manifest.parts(run_id) for name in part.sources}


def _read(path: Path) -> list[_Line]:
    try:
        *whole, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:  # sealed meanwhile
        return []
    lines = [_line(number, raw) for number, raw in enumerate(whole, 1) if raw]
    if tail:
        lines.append(_line(len(whole) + 1, tail, is_last=True))
    return lines


def _line(number: int, raw: bytes, *, is_last: bool = False) -> _Line:
    try:
        frame = parse(raw)
    except StoreFormatError:
        return _Line(number=number, raw=raw, frame=None, is_newer=True)
    is_changed = frame is not None and not is_sound(raw)
    return _Line(
        number=number,
        raw=raw,
        frame=None if is_changed else frame,
        is_changed=is_changed,
        is_last=is_last,
    )


def _bad_lines(
    lines: Sequence[_Line], *, is_written: bool
) -> Iterator[tuple[Ailment, str]]:
    for line in lines:
        if line.is_newer:
            what = f"Line {line.number} was written by a newer version of FLIP Lab."
            yield Ailment.NEWER_FORMAT, what
        elif line.is_changed:
            yield Ailment.CHANGED_LINE, f"Line {line.number} is not what was written."
        elif line.frame is None and not (line.is_last and is_written):
            yield Ailment.TORN_LINE, f"Line {line.number} cannot be read."


def _sequence(
    lines: Sequence[_Line], manifest: Manifest, run_id: str
) -> Iterator[tuple[Ailment, str]]:
    if any(line.is_newer for line in lines):
        return  # nobody here knows what those hold
    missing, repeated = _gaps(lines, _first(manifest, run_id))
    for first, last in missing:
        yield Ailment.MISSING_EVENTS, f"Events {first} to {last} are missing."
    for line in repeated:
        yield Ailment.REPEATED_EVENTS, f"Line {line.number} tells events once more."


def _first(manifest: Manifest, run_id: str) -> int:
    return max((part.last for part in manifest.parts(run_id)), default=-1) + 1


def _gaps(
    lines: Iterable[_Line], expected: int
) -> tuple[list[tuple[int, int]], list[_Line]]:
    """Find events that nobody tells, and lines that tell what others have told."""
    told = [(line.frame.first, line.frame.last, line) for line in lines if line.frame]
    missing: list[tuple[int, int]] = []
    repeated: list[_Line] = []
    for first, last, line in sorted(told, key=lambda each: (each[0], -each[1])):
        if last < expected:
            repeated.append(line)
            continue
        if first > expected:
            missing.append((expected, first - 1))
        expected = last + 1
    return missing, repeated


def _clock(lines: Iterable[_Line]) -> Iterator[tuple[Ailment, str]]:
    """Find events that claim to come from the future."""
    limit_s = now_s() + _SLACK_S
    for line in lines:
        if line.frame is None:
            continue
        times = [
            float(time)
            for columns in line.frame.tables.values()
            for time in columns["time_s"]
        ]
        if times and max(times) > limit_s:
            what = f"Line {line.number} has events of the future: a clock was wrong."
            yield Ailment.CLOCK, what
            return


def repair_journals(lab: LabDir, run_id: str) -> None:
    """Set aside the lines of a run that are no good, and fill the gaps.

    Does nothing for a run that a living process writes, or that a newer version wrote.

    Args:
        lab: The lab.
        run_id: The run.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
    """
    with compacting(lab), _only_writer(lab, run_id):
        manifest = read_manifest(lab)
        sealed = _sealed(manifest, run_id)
        files = {p: _read(p) for p in journals(lab, run_id) if p.name not in sealed}
        lines = [line for some in files.values() for line in some]
        if any(line.is_newer for line in lines):
            return
        missing, repeated = _gaps(lines, _first(manifest, run_id))
        for path, some in files.items():
            _clean(lab, run_id, path, some, repeated)
        if missing:
            _fill(lab, run_id, missing, lines)


@contextmanager
def _only_writer(lab: LabDir, run_id: str) -> Generator[None]:
    """Keep others from writing a run's journal.

    Raises:
        StoreBusyError: If somebody does.
    """
    path = lab.live_dir(run_id) / "writer.lock"
    with explained(path), FileIO(path, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(
                f"The journal of run {run_id} is being written.",
                fix="Wait until the run has ended, or stop it; then try again.",
            ) from None
        yield


def _clean(
    lab: LabDir,
    run_id: str,
    path: Path,
    lines: Sequence[_Line],
    repeated: Sequence[_Line],
) -> None:
    """Write a journal without its bad lines; they are on the disk elsewhere by then."""
    bad = [line for line in lines if line.frame is None or line in repeated]
    if bad:
        set_aside(lab, (line.raw for line in bad), "live", run_id, path.name)
        good = [line.raw for line in lines if line not in bad]
        write_atomic(path, b"".join(raw + b"\n" for raw in good))


def _fill(
    lab: LabDir, run_id: str, missing: Sequence[tuple[int, int]], lines: Iterable[_Line]
) -> None:
    """Write warnings in the place of missing events, in a journal of their own."""
    times = sorted(
        (event.sequence, event.time_s, event.server_round)
        for line in lines
        if line.frame
        for event in line.frame.events()
    )
    batches: list[bytes] = []
    for first, last in missing:
        before = [each for each in times if each[0] < first] or times
        _, time_s, server_round = before[-1] if before else (0, 0.0, 0)
        for begin in range(first, last + 1, _BATCH):
            end = min(last + 1, begin + _BATCH)
            body = {"code": CorruptArtifactError.code, "message": _LOST}
            events = [
                RunEvent(
                    run_id=run_id,
                    sequence=sequence,
                    time_s=time_s,
                    server_round=server_round,
                    kind=EventKind.WARNING,
                    body=body,
                )
                for sequence in range(begin, end)
            ]
            batches.append(encode(events))
    name = f"doctor-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
    write_atomic(lab.live_dir(run_id) / name, b"".join(batches))
