"""A lock file that a run process holds while it lives: the kernel frees it at any death.

The launcher takes the lock before the run process exists and hands it over as an open
file, so there is no moment at which a living run looks dead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FILE = "run.lock"


@contextmanager
def held_lock(run_dir: Path) -> Generator[int]:
    """Take the lock and give its descriptor, to be inherited by the run process.

    The lock stays held after the block for as long as an inheritor keeps it open.
    """
    descriptor = os.open(run_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def keep(descriptor: int) -> None:
    """Hold an inherited lock in this process only, not in its own children."""
    os.set_inheritable(descriptor, False)


def is_alive(run_dir: Path) -> bool:
    """Say whether the run's process still lives."""
    try:
        descriptor = os.open(run_dir / _FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
