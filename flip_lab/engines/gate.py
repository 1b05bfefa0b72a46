"""The gate that every client call passes: while it is closed, no client starts.

One byte of shared memory: the run process opens and closes it, worker processes look at it
before each client, so a pause reaches them within a moment and without a message.
"""

from __future__ import annotations

import mmap
import os
import time
from threading import Condition

from flip_lab.core.clock import tick_s

_OPEN, _CLOSED = b"\x00", b"\x01"
_LOOK_EVERY_S = 0.01


class Gate:
    """Whether clients may start; open at first.

    Args:
        descriptor: Of another process's gate, to look at; ``None`` makes a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Map the byte."""
        if descriptor is None:
            descriptor = os.memfd_create("flip-gate")
            os.truncate(descriptor, mmap.PAGESIZE)
        self.descriptor = descriptor
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)
        self._news = Condition()

    @property
    def is_open(self) -> bool:
        """Whether a client may start now."""
        return self._page[:1] == _OPEN

    def open(self) -> None:
        """Let clients start; wakes who waits in this process."""
        with self._news:
            self._page[:1] = _OPEN
            self._news.notify_all()

    def close(self) -> None:
        """Let no client start from now on; those at work go on."""
        self._page[:1] = _CLOSED

    def wait(self, timeout_s: float) -> bool:
        """Wait in the run process until the gate is open.

        Args:
            timeout_s: How long at most, seconds.

        Returns:
            Whether it is open.
        """
        with self._news:
            return self._news.wait_for(lambda: self.is_open, timeout_s)

    def pass_through(self) -> float:
        """Wait in a worker process until the gate is open.

        Returns:
            Seconds that it took; 0 when it was open.
        """
        if self.is_open:
            return 0.0
        begin_s = tick_s()
        while not self.is_open:
            time.sleep(_LOOK_EVERY_S)
        return tick_s() - begin_s
