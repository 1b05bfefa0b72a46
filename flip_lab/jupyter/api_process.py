"""The process that serves a lab to Jupyter, on a socket that only its owner can open.

Its first line on standard output says that it is ready, or why it cannot be. It ends when
its standard input does, which Jupyter holds.
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

from flip_lab.api.access import OwnerAccess
from flip_lab.api.app import create_app
from flip_lab.api.problems import problem_of
from flip_lab.core.errors import FlipLabError
from flip_lab.runs.lab import Lab
from flip_lab.store.audit_writer import author

_GRACE_S = 3
"""How long open requests may go on when the end has come."""


class _Server(uvicorn.Server):
    """Says when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            _tell({"is_ready": True})


def main() -> None:
    """Serve until Jupyter ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--lab", type=Path, required=True)
    place = parser.parse_args()
    try:
        app = create_app(Lab(place.lab), OwnerAccess(name=author()), prefix="")
    except FlipLabError as error:
        _tell(problem_of(error))
        raise SystemExit(1) from error
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
    threading.Thread(target=_end_with_jupyter, args=(server,), daemon=True).start()
    server.run(sockets=[_listening(place.socket)])


def _listening(path: Path) -> socket.socket:
    """Listen at a path; what a process before us left there goes."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    return listening


def _end_with_jupyter(server: uvicorn.Server) -> None:
    """Wait for the end of standard input, then end, if need be the hard way."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True
    time.sleep(2 * _GRACE_S)
    os._exit(1)


def _tell(message: Mapping[str, Any]) -> None:
    """Write the one line, and send whatever is printed later to the log."""
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
        sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
