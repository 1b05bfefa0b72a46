"""A site's endpoint: where it listens, and until when.

Predictions need the models that are in the node's directory and nothing else: they go on
while the hub is away.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import torch
import uvicorn
from starlette.types import ASGIApp

from flip_lab.core.errors import InvalidValueError, NotAllowedError, PredictionError
from flip_lab.core.servers import bound_socket, wishes_to_end
from flip_lab.node.config import NodeConfig, ServeSettings
from flip_lab.node.serving.app import create_app
from flip_lab.node.serving.guard import ServingLimits
from flip_lab.node.serving.hub_key import open_shelf
from flip_lab.node.serving.patience import LOOK_EVERY_S, Patience
from flip_lab.node.serving.served import ServedModels
from flip_lab.node.serving.site_token import site_token

_GRACE_S = 5
_BACKLOG = 512


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an endpoint listens.

    Attributes:
        url: Its address.
        token_file: The file with the token that callers send.
        process_id: Of the process that answers.
    """

    url: str
    token_file: Path
    process_id: int


def serve(
    config: NodeConfig,
    *,
    on_ready: Callable[[Place], None],
    limits: ServingLimits | None = None,
) -> None:
    """Answer predictions until a signal ends it; requests under way are answered.

    Args:
        config: The node's settings; ``serve`` says where.
        on_ready: Called once it listens.
        limits: How much one caller may ask for.

    Raises:
        NotAllowedError: If others would read the token off the network.
        InvalidValueError: If only one of certificate and key is given.
        HubStateError: If the node's directory lacks something.
        PredictionError: If nobody can listen there.
    """
    settings = config.serve or ServeSettings()
    _require_safe(settings)
    token_file = settings.token_file or config.directory / "serve.token"
    token = site_token(token_file)
    torch.set_num_threads(1)  # as in training: the same bits, and cores left for clients
    app = create_app(ServedModels(config, open_shelf(config)), token=token, limits=limits)
    with _listening(settings) as door:
        place = Place(
            url=_url(settings, door), token_file=token_file, process_id=os.getpid()
        )
        _Server(_uvicorn(app, settings), on_ready=lambda: on_ready(place)).run(
            sockets=[door]
        )


def _require_safe(settings: ServeSettings) -> None:
    """Check that nobody reads the token off the network.

    Raises:
        NotAllowedError: If somebody could.
        InvalidValueError: If only one of certificate and key is given.
    """
    if (settings.certificate is None) != (settings.key is None):
        raise InvalidValueError(
            "The endpoint was given a certificate or a key, not both.",
            fix="Give --certificate and --key, or neither.",
        )
    if settings.certificate is None and not _is_loopback(settings.host):
        raise NotAllowedError(
            f"{settings.host!r} is no loopback address: without TLS, whoever reads the "
            "network reads the token, and what is asked.",
            fix="Give --certificate and --key, or keep --host 127.0.0.1.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _listening(settings: ServeSettings) -> Generator[socket.socket]:
    """Listen where the settings say.

    Raises:
        PredictionError: If nobody can.
    """
    try:
        door = bound_socket(settings.host, settings.port)
    except OSError as error:
        raise PredictionError(
            f"Nobody can listen at {settings.host}:{settings.port}: {error.strerror}.",
            fix="Give another --port (0 takes a free one), or end what is there.",
        ) from error
    with door:
        yield door


def _url(settings: ServeSettings, door: socket.socket) -> str:
    scheme = "http" if settings.certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{door.getsockname()[1]}"


def _uvicorn(app: ASGIApp, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing that a proxy adds is believed
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
    )


class _Server(uvicorn.Server):
    """Says when it is ready, and ends without an error when it is asked to."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._looking = asyncio.create_task(self._look())
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is open, and end."""
        if self._looking is not None:
            self._looking.cancel()
        await super().shutdown(sockets)

    async def _look(self) -> None:
        patience = Patience()
        while True:  # connections that say nothing tell nobody
            await asyncio.sleep(LOOK_EVERY_S)
            patience.look(list(self.server_state.connections))

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take signals as the wish to end."""
        with wishes_to_end(self.handle_exit):
            yield
