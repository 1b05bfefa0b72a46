"""What every server of ours has: a door, and an end when it is asked for one."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


def bound_socket(host: str, port: int) -> socket.socket:
    """Give a socket that is bound to an address; it listens to nobody yet.

    Args:
        host: A name or an address of this machine, without brackets.
        port: A port; 0 takes a free one.

    Raises:
        OSError: If somebody else has it, or the address is not this machine's.
    """
    door = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((host, port))
    except BaseException:
        door.close()
        raise
    return door


@contextmanager
def wishes_to_end(take: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Take SIGINT and SIGTERM as the wish to end, and as nothing more, in the block.

    A server that was asked so has done as it was told: uvicorn by itself would raise the
    signal once more afterwards, and the process would die of it. In another thread than
    the main one signals are somebody else's.

    Args:
        take: Called with the signal, in place of what was set before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
