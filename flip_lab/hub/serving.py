"""A hub's process: one port, TLS, and a wait for the lock on a standby."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import uvicorn

from flip_lab.api.serving import Address, Server, listening, server_config
from flip_lab.core.errors import ApiError
from flip_lab.hub.active import ActiveHub
from flip_lab.hub.own_federation import write_own_federation
from flip_lab.hub.place import HubPlace
from flip_lab.hub.process import HubProcess
from flip_lab.hub.rotation import renew_if_due
from flip_lab.hub.shown_certificate import ShownCertificate
from flip_lab.hub.standby import ActiveLock

_GRACE_S = 10
_PART_S = 0.1


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """Where a hub listens.

    Attributes:
        host: An address of this machine; ``"::"`` and ``"0.0.0.0"`` stand for all.
        port: A port; ``None``: that of ``hub.toml``; 0 takes a free one.
    """

    host: str = "0.0.0.0"  # noqa: S104  # devices are elsewhere, and every path has a door
    port: int | None = None


class ReadyHook(Protocol):
    """Hears that a hub listens."""

    def __call__(self, url: str, /, *, is_active: bool) -> None:
        """Take it up.

        Args:
            url: The hub's address.
            is_active: Whether it is the active hub.
        """
        ...


def serve_hub(
    place: HubPlace,
    address: HubAddress,
    *,
    is_standby: bool = False,
    on_ready: ReadyHook,
) -> None:
    """Serve a hub until a signal ends it: open requests are answered, nodes come back.

    Args:
        place: Its directory.
        address: Where to listen.
        is_standby: Whether to wait for another process to end that is the active hub.
        on_ready: Called once it listens, and again when it becomes the active hub, with
            its address and whether it is active.

    Raises:
        HubStateError: If the directory is not set up, or is damaged.
        HubBusyError: If another process is the active hub, and this shall be no standby.
        ApiError: If nobody can listen there.
    """
    _quiet_flower()
    renew_if_due(place)
    settings = place.settings()
    port = settings.port if address.port is None else address.port
    lock = ActiveLock(place.active_lock)
    with lock.opened() as file:
        if not is_standby:
            lock.take(file)
        with listening(Address(host=address.host, port=port)) as door:
            host = settings.hosts[0]
            shown = f"[{host}]" if ":" in host else host
            url = f"https://{shown}:{door.getsockname()[1]}"
            until_free = partial(lock.wait, file) if is_standby else None
            port = door.getsockname()[1]
            process = HubProcess(place, until_free, partial(on_ready, url))
            process.introduce = partial(_introduce, place, address.host, port)
            shown = ShownCertificate(place)
            server = _HubServer(_config(process, shown), process, shown)
            server.run(sockets=[door])
    if process.trouble is not None:
        raise process.trouble
    if server.has_failed:
        raise ApiError(
            "The hub could not start; what it printed says why.",
            fix="Look at its directory with flip-lab hub status, and start it again.",
        )


def _introduce(place: HubPlace, host: str, port: int, hub: ActiveHub) -> None:
    """Tell the hub's own lab where the hub is."""
    write_own_federation(place, hub.service.database.tokens, host, port)


def _quiet_flower() -> None:
    """Let Flower tell what went wrong, not that a request came."""
    logging.getLogger("flwr").setLevel(logging.WARNING)


class _HubServer(Server):
    """Lets go of those who wait when it is asked to end, and takes up new certificates."""

    def __init__(
        self, config: uvicorn.Config, process: HubProcess, shown: ShownCertificate
    ) -> None:
        super().__init__(config, on_ready=process.listens)
        self._process = process
        self._shown = shown
        self._looking: asyncio.Task[None] | None = None
        process.end = self._end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and look for new certificates from now on."""
        await super().startup(sockets)
        self._looking = asyncio.create_task(self._shown.follow())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is open, and end."""
        if self._looking is not None:
            self._looking.cancel()
        self._process.drain()
        parting = asyncio.create_task(self._part())
        await super().shutdown(sockets)
        parting.cancel()

    async def _part(self) -> None:
        """Hang up once all is answered: TLS waits for a goodbye that few clients send."""
        while self.server_state.tasks:  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(_PART_S)
        await asyncio.sleep(_PART_S)  # what was answered last is on its way
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _end(self) -> None:
        self.should_exit = True


def _config(process: HubProcess, shown: ShownCertificate) -> uvicorn.Config:
    config = server_config(process)
    config.timeout_graceful_shutdown = _GRACE_S
    config.load()
    config.ssl = shown.context
    return config
