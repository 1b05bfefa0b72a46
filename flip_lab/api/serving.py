"""A server of a lab: one process, on a port of this machine or on a Unix socket.

Runs are processes of their own: when a server ends, they go on, and the next one finds
them again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from flip_lab.api.access import TokenAccess
from flip_lab.api.app import create_app
from flip_lab.api.limits import Limits, is_loopback
from flip_lab.api.live.protocol import BoundedWebSocket, make_room
from flip_lab.api.patience import PromptProtocol
from flip_lab.api.uploads.kept import LARGEST_BYTES
from flip_lab.core.errors import ApiError, InvalidValueError, NotAllowedError
from flip_lab.core.servers import bound_socket, wishes_to_end
from flip_lab.runs.lab import Lab
from flip_lab.store.audit_writer import author

_GRACE_S = 5
_BACKLOG = 2048  # a thousand pages that come back at once after a restart


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens, and what it is called.

    Attributes:
        host: A name or number of this machine.
        port: A port; 0 takes a free one.
        socket: A Unix socket to be made, in place of both.
        prefix: What paths begin with, before ``/v1``.
        hosts: Names that it is called by behind a proxy that speaks TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    socket: Path | None = None
    prefix: str = "/flip"
    hosts: frozenset[str] = field(default_factory=frozenset[str])

    def checked(self) -> Address:
        """Give the same address, if it is safe to listen there.

        Raises:
            NotAllowedError: If others would read the token off the network.
            InvalidValueError: If the prefix is no path.
        """
        names = frozenset(name.lower() for name in self.hosts)
        if self.socket is None and not is_loopback(self.host) and not names:
            raise NotAllowedError(
                f"{self.host!r} is no loopback address: without TLS, whoever reads the "
                "network reads the token.",
                fix="Keep --host 127.0.0.1, and let a proxy with TLS hand requests on; "
                "--allow-host NAME says what the proxy is called, and that it is there.",
            )
        prefix = self.prefix.strip("/")
        if any(sign in prefix for sign in "?#%\\ {}"):
            raise InvalidValueError(
                f"The prefix {self.prefix!r} is no path.", fix="Give one such as /flip."
            )
        return Address(
            host=self.host,
            port=self.port,
            socket=self.socket,
            prefix=f"/{prefix}" if prefix else "",
            hosts=names,
        )


def serve(
    lab: Lab,
    address: Address,
    token: str,
    *,
    on_ready: Callable[[str], None],
    largest_upload_bytes: int = LARGEST_BYTES,
) -> None:
    """Serve a lab until a signal ends it: open requests are answered, runs go on.

    Args:
        lab: The lab.
        address: Where.
        token: What opens it.
        on_ready: Called once it listens, with the address of the API.
        largest_upload_bytes: The largest upload that is taken.

    Raises:
        NotAllowedError: If it is not safe to listen there.
        InvalidValueError: If the prefix is no path.
        ApiError: If nobody can listen there.
        StoreError: If the lab cannot be read.
    """
    address = address.checked()
    app = create_app(
        lab,
        TokenAccess(token, name=author()),
        prefix=address.prefix,
        limits=Limits(hosts=address.hosts, file_bytes=largest_upload_bytes),
    )
    with listening(address) as door:
        url = _url(address, door)
        server = Server(server_config(app), on_ready=lambda: on_ready(url))
        server.run(sockets=[door])
    if server.has_failed:
        raise ApiError(
            "The server could not start; what it printed says why.",
            fix="Look at the lab with flip-lab doctor, and start it again.",
        )


def server_config(app: ASGIApp) -> uvicorn.Config:
    """Give the settings of a server that all doors to the API share."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=PromptProtocol,
        ws=BoundedWebSocket,
        ws_max_size=2**20,
        ws_max_queue=32,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        ws_per_message_deflate=False,  # costs more than loopback saves
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing that a proxy adds is believed
        backlog=_BACKLOG,
        timeout_keep_alive=75,  # longer than a proxy's, so that it is the one to close
        timeout_graceful_shutdown=_GRACE_S,
    )


class Server(uvicorn.Server):
    """Says when it is ready, and ends without an error when it is asked to.

    Args:
        config: Its settings.
        on_ready: Called once it listens.

    Attributes:
        has_failed: Whether it could not start.
    """

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        """Do not listen yet."""
        super().__init__(config)
        self._on_ready = on_ready
        self.has_failed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        make_room()
        await super().startup(sockets)
        self.has_failed = self.should_exit
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take signals as the wish to end."""
        with wishes_to_end(self.handle_exit):
            yield


@contextmanager
def listening(address: Address) -> Generator[socket.socket]:
    """Listen at an address; a Unix socket can be opened by its owner only.

    Args:
        address: Where.

    Raises:
        ApiError: If nobody can listen there.
    """
    path = address.socket
    try:
        door = _at_path(path) if path else bound_socket(address.host, address.port)
    except OSError as error:
        where = path or f"{address.host}:{address.port}"
        raise ApiError(
            f"Nobody can listen at {where}: {error.strerror or error}.",
            fix="Give another --port (0 takes a free one), or end the one that is there.",
        ) from error
    try:
        yield door
    finally:
        door.close()
        if path is not None:
            path.unlink(missing_ok=True)


def _at_path(path: Path) -> socket.socket:
    """Make a Unix socket; one that nobody listens at any more goes."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            if path.is_socket():
                path.unlink()
        else:
            raise FileExistsError(f"{path} is in use")
    door = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # never open to others, not even for a moment
    try:
        door.bind(str(path))
    except BaseException:
        door.close()
        raise
    finally:
        os.umask(before)
    return door


def _url(address: Address, door: socket.socket) -> str:
    if address.socket is not None:
        return f"unix:{address.socket}:{address.prefix}/v1"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{door.getsockname()[1]}{address.prefix}/v1"
