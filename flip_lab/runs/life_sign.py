"""A lock file that a run process holds while it lives: the kernel frees it at any death.

The launcher takes the lock before the run process exists and hands it over as an open
file, so there is no moment at which a living run looks dead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE = "run.lock"
_ENDED = "ended"
_held: list[int] = []


@contextmanager
def held_lock(run_dir: Path) -> Generator[int]:
    """Take the lock and give its descriptor, to be inherited by the run process.

    The lock stays held after the block for as long as an inheritor keeps it open: a program
    that was given it, not a child that somebody forks meanwhile.
    """
    descriptor = os.open(run_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    _held.append(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        if descriptor in _held:  # a child that was forked meanwhile has closed it
            let_go(descriptor)


def keep(descriptor: int) -> None:
    """Hold an inherited lock in this process only, not in what it starts or forks."""
    os.set_inheritable(descriptor, False)
    _held.append(descriptor)


def let_go(descriptor: int) -> None:
    """Give a lock up that this process holds; it goes on without the run."""
    _held.remove(descriptor)
    os.close(descriptor)


def _let_go() -> None:
    """Close in a forked child what would make a dead run look alive."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


def mark_ended(run_dir: Path) -> None:
    """Note that the run's end is in its journal, so that nobody need look there again.

    Only saves time: a lab that cannot be written is read without it. A run whose lock is
    held may be about to go on; one whose lock is free cannot meanwhile, or the note would
    outlive what it says.
    """
    with suppress(OSError), _seen(run_dir) as is_alive:
        if not is_alive:
            (run_dir / _ENDED).touch()


def forget_end(run_dir: Path) -> None:
    """Take the note back: the run goes on."""
    (run_dir / _ENDED).unlink(missing_ok=True)


def needs_a_look(run_dir: Path) -> bool:
    """Say whether a run may be dead without its end having been written."""
    return not is_marked_ended(run_dir) and not is_alive(run_dir)


def is_marked_ended(run_dir: Path) -> bool:
    """Say whether somebody noted that the run has ended."""
    return (run_dir / _ENDED).exists()


def is_alive(run_dir: Path) -> bool:
    """Say whether the run's process still lives."""
    with _seen(run_dir) as is_there:
        return is_there


@contextmanager
def _seen(run_dir: Path) -> Generator[bool]:
    """Give whether the run's process lives; if not, none begins to in the block."""
    try:
        descriptor = os.open(run_dir / _FILE, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _is_held(descriptor)
    finally:
        os.close(descriptor)


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
