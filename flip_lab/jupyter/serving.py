"""An app on a Unix socket, for as long as the process lives that asked for it.

The first line on standard output says that it is ready, or why it cannot be. The process
ends when its standard input does, a pipe that the other one holds.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp

_GRACE_S = 3
"""How long open requests may go on when the end has come."""


class _Server(uvicorn.Server):
    """Says when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            tell({"is_ready": True})


def asked() -> argparse.Namespace:
    """Give what the command line asks for: ``socket`` and ``lab``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--lab", type=Path, required=True)
    return parser.parse_args()


def serve(app: ASGIApp, path: Path) -> None:
    """Serve an app until standard input ends.

    Args:
        app: The app.
        path: Where the socket shall be.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run(sockets=[_listening(path)])


def _listening(path: Path) -> socket.socket:
    """Listen at a path; what a process before us left there goes."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    return listening


def _end_with_input(server: uvicorn.Server) -> None:
    """Wait for the end of standard input, then end the process, if need be the hard way."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True
    time.sleep(2 * _GRACE_S)
    os._exit(1)


def tell(message: Mapping[str, Any]) -> None:
    """Write the first line, and send whatever is printed later to the log."""
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
        sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
