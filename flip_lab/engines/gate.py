"""The gate that every client call passes: while it is closed, no client starts.

One byte of shared memory: the run process opens and closes it, worker processes look at it
before each client, so a pause reaches them at once and without a message. A worker that
finds it closed gives back what it has not begun; nobody waits in a worker, and a client's
time limit runs only while that client works.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from threading import Condition
from typing import TypeAlias

_OPEN, _CLOSED = 0, 1
Listener: TypeAlias = Callable[[], None]


class Gate:
    """Whether clients may start; open at first.

    Args:
        descriptor: Of another process's gate, to look at; owned from now on. ``None``
            makes a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Map the byte."""
        self._page: bytearray | mmap.mmap = bytearray(1)
        self._descriptor = descriptor
        if descriptor is not None:
            self._map(descriptor)
        self._news = Condition()
        self._listeners: list[Listener] = []
        self._closings = 0

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)

    @property
    def descriptor(self) -> int:
        """What another process makes its own ``Gate`` of; open as long as this one.

        Raises:
            OSError: If there is no memory to share.
        """
        with self._news:
            descriptor = self._descriptor
            if descriptor is None:  # a run in one process never shares it
                now, descriptor = self._page[0], os.memfd_create("flip-gate")
                os.truncate(descriptor, mmap.PAGESIZE)
                self._map(descriptor)
                self._page[0] = now
            return descriptor

    @property
    def is_open(self) -> bool:
        """Whether a client may start now."""
        return self._page[0] == _OPEN

    @property
    def closings(self) -> int:
        """How often it was closed by this process."""
        return self._closings

    def ticket(self) -> int | None:
        """Give what admits clients until the gate is closed the next time.

        Returns:
            The number of closings so far, for those who cannot see the byte and learn of
            later closings by their number; ``None`` while it is closed.
        """
        with self._news:
            return self._closings if self.is_open else None

    def open(self) -> None:
        """Let clients start; wakes who waits in this process."""
        self._move(_OPEN)

    def close(self) -> None:
        """Let no client start from now on; those at work go on."""
        self._move(_CLOSED)

    def _move(self, to: int) -> None:
        with self._news:
            if self._page[0] == to:
                return
            self._page[0] = to
            self._closings += to == _CLOSED
            self._news.notify_all()
            for listener in self._listeners:
                listener()

    def wait(self, timeout_s: float) -> bool:
        """Wait in the run process until the gate is open.

        Args:
            timeout_s: How long at most, seconds.

        Returns:
            Whether it is open.
        """
        with self._news:
            return self._news.wait_for(lambda: self.is_open, timeout_s)

    def watch(self, listener: Listener) -> None:
        """Call somebody each time that the gate was opened or closed by this process.

        Args:
            listener: Called in the thread that moved the gate; must neither block nor
                raise.
        """
        with self._news:
            self._listeners.append(listener)

    def unwatch(self, listener: Listener) -> None:
        """Call somebody no more; when this returns, no call is under way."""
        with self._news, suppress(ValueError):
            self._listeners.remove(listener)


class Bell:
    """Wakes a thread of this process that waits for descriptors."""

    def __init__(self) -> None:
        """Make it, silent."""
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Give the descriptor to wait on; it can be read while the bell rings."""
        return self._descriptor

    def ring(self) -> None:
        """Wake who waits."""
        os.eventfd_write(self._descriptor, 1)

    def silence(self) -> None:
        """Ring no more."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Take it down; may be called once."""
        os.close(self._descriptor)
