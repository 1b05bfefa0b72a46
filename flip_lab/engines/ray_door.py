"""How a run process and an actor of the same machine meet, past Ray.

An object on its way through Ray passes four processes and some twenty threads. A batch and
its answer cost many times what they do by a socket, with shared memory for what is large.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from uuid import uuid4

from flip_lab.engines.channel import Channel

_CREDENTIALS = struct.Struct("3i")  # process, user and group, see unix(7)


class Door:
    """Waits for one actor.

    Attributes:
        name: What the actor must be told, to knock. It has no file, so nothing is left
            behind, and nothing in other containers or on other machines.
    """

    def __init__(self) -> None:
        """Make the door; who comes is let in later."""
        self.name = f"\0flip-lab/{uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.name)
        self._socket.listen(1)
        self._socket.setblocking(False)

    def open(self) -> Channel | None:
        """Let in who has knocked and close the door; ``None`` when nobody has."""
        with self._socket, suppress(BlockingIOError):
            return _channel(self._socket.accept()[0])
        return None

    def close(self) -> None:
        """Let nobody in."""
        self._socket.close()


def knock(name: str) -> Channel | None:
    """Ask for a connection; ``None`` where the door cannot be seen, as from elsewhere.

    Args:
        name: The door's name.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(name)
    except OSError:
        connection.close()
        return None
    return _channel(connection)


def _channel(connection: socket.socket) -> Channel | None:
    """Talk to processes of this user only: who sends pickles can run code."""
    connection.setblocking(True)
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    _, user, _ = _CREDENTIALS.unpack(credentials)
    if user != os.getuid():
        connection.close()
        return None
    return Channel(connection)
