"""Small JSON messages over a Unix stream socket, with open files beside them."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from flip_lab.core.events import Json

_HEAD = struct.Struct("!I")
_MOST_FDS = 253  # the kernel's SCM_MAX_FD


def send_frame(
    connection: socket.socket, message: Mapping[str, Json], fds: Sequence[int] = ()
) -> None:
    """Send one message; whoever receives it gets copies of the descriptors.

    Args:
        connection: A Unix stream socket, used by one thread at a time.
        message: Anything that JSON can hold, below 4 GiB.
        fds: At most 253 open descriptors; they stay open here.

    Raises:
        OSError: If the other side is gone, or does not take it within the timeout.
    """
    content = json.dumps(message).encode()
    socket.send_fds(connection, [_HEAD.pack(len(content))], fds)
    connection.sendall(content)


def receive_frame(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Wait for one message and the descriptors that came with it.

    Returns:
        The message, and the descriptors in the order they were given; they belong to the
        caller now and are closed on exec.

    Raises:
        EOFError: If the other side has closed the connection.
        OSError: If the connection broke, or the timeout passed.
    """
    head, fds, _, _ = socket.recv_fds(
        connection, _HEAD.size, _MOST_FDS, socket.MSG_CMSG_CLOEXEC
    )
    try:
        head += _exactly(connection, _HEAD.size - len(head))
        return json.loads(_exactly(connection, *_HEAD.unpack(head))), list(fds)
    except BaseException:
        for descriptor in fds:
            os.close(descriptor)
        raise


def _exactly(connection: socket.socket, size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < size_bytes:
        part = connection.recv(min(size_bytes - len(content), 1 << 20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
