"""An app on a Unix socket, for as long as the process lives that asked for it.

The first line on standard output says that it is ready, or why it cannot be. The process
ends when its standard input does, a pipe that the other one holds.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from starlette.types import ASGIApp

from flip_lab.api.serving import Address, Server, listening, server_config

_LAST_S = 8.0
"""When a process that still answers old requests is ended the hard way."""


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

    Raises:
        ApiError: If nobody can listen there.
    """
    with listening(Address(socket=path)) as door:
        server = Server(server_config(app), on_ready=lambda: tell({"is_ready": True}))
        threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
        server.run(sockets=[door])


def _end_with_input(server: Server) -> None:
    """Wait for the end of standard input, then end the process, if need be the hard way."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True
    time.sleep(_LAST_S)
    os._exit(1)


def tell(message: Mapping[str, Any]) -> None:
    """Write the first line, and send whatever is printed later to the log."""
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
        sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
