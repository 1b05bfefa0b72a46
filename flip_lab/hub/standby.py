"""One active hub for a directory: whoever holds its lock, and nobody else.

The system lets go of a lock when its process ends, however that ends. So a standby that
waits for it takes over within a second of a crash, and two hubs are never active at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import HubBusyError
from flip_lab.store.layout import explained

_LOOK_S = 0.25


class ActiveLock:
    """The lock of a hub's directory.

    Args:
        path: The file; it is made where there is none, and never goes.
    """

    def __init__(self, path: Path) -> None:
        """Not hold it yet."""
        self._path = path

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open the file; closing it lets go of the lock.

        Raises:
            StoreNotWritableError: If it cannot be opened.
        """
        with explained(self._path), self._path.open("a+b") as file:
            self._path.chmod(0o600)
            yield file

    def take(self, file: BinaryIO) -> None:
        """Take the lock now.

        Raises:
            HubBusyError: If another process holds it.
        """
        if not _try(file):
            file.seek(0)
            who = file.read(200).decode(errors="replace").strip()
            raise HubBusyError(
                f"{self._path.parent} has an active hub already ({who or 'unknown'}).",
                fix="End that one first, or start this one with --standby: it takes over.",
            )

    async def wait(self, file: BinaryIO) -> None:
        """Take the lock as soon as nobody holds it.

        Raises:
            StoreNotWritableError: If the disk cannot say whether somebody does.
        """
        with explained(self._path):
            while not _try(file):  # noqa: ASYNC110  # the kernel tells nobody
                await asyncio.sleep(_LOOK_S)


def _try(file: BinaryIO) -> bool:
    """Take the lock if nobody holds it, and write down who does now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    since = f"{at_utc(now_s()):%Y-%m-%d %H:%M:%S} UTC"
    told = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
    with suppress(OSError):  # a full disk keeps nobody from taking over
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), told.encode())
    return True
