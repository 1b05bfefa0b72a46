"""A hub's process: one port, TLS, and a wait for the lock on a standby."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import uvicorn
from anyio import to_thread
from starlette.types import Receive, Scope, Send

from flip_lab.api.serving import Address, Server, listening, server_config
from flip_lab.core.errors import ApiError, FlipLabError, HubStateError
from flip_lab.hub.active import ActiveHub, active_hub
from flip_lab.hub.front import Front
from flip_lab.hub.own_federation import write_own_federation
from flip_lab.hub.place import HubPlace
from flip_lab.hub.rotation import renew_if_due
from flip_lab.hub.shown_certificate import ShownCertificate
from flip_lab.hub.standby import ActiveLock

_LOG = logging.getLogger(__name__)
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
            process = _Process(place, until_free, partial(on_ready, url))
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


class _Process:
    """The app that uvicorn runs: a standby that becomes the active hub.

    Args:
        place: The hub's directory.
        until_free: Returns once this process holds the lock; ``None``: it does already.
        on_ready: Told that it listens, and that it is active.
    """

    def __init__(
        self,
        place: HubPlace,
        until_free: Callable[[], Coroutine[None, None, None]] | None,
        on_ready: Callable[..., None],
    ) -> None:
        self.place = place
        self._until_free = until_free
        self._on_ready = on_ready
        self._hub: ActiveHub | None = None
        self._front = Front(lambda: self._hub)
        self._over = asyncio.Event()
        self._is_active = asyncio.Event()
        self.trouble: FlipLabError | None = None
        self.end: Callable[[], None] = lambda: None
        self.introduce: Callable[[ActiveHub], None] = lambda _: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or follow the server's own life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._front(scope, receive, send)

    def listens(self) -> None:
        """Tell that requests are answered now."""
        self._on_ready(is_active=self._hub is not None)

    def drain(self) -> None:
        """Let go of all who wait; new requests go elsewhere."""
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.service.bells.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        being = asyncio.create_task(self._be())
        if self._until_free is None:  # nobody is kept waiting by answers of a standby
            await _until(self._is_active, task=being)
        failed = "startup.failed" if self.trouble else "startup.complete"
        await send({"type": f"lifespan.{failed}"})
        if self.trouble:
            return
        await receive()
        self._over.set()
        await asyncio.wait({being})
        await send({"type": "lifespan.shutdown.complete"})

    async def _be(self) -> None:
        """Wait for the lock, and be the active hub until the end."""
        try:
            if await self._holds_the_lock():
                await self._be_active()
        except FlipLabError as error:
            self.trouble = error
            self.end()
        except Exception:  # noqa: BLE001  # it must end, not be a standby for ever
            _LOG.exception("The hub cannot become the active one.")
            self.trouble = HubStateError(
                f"The hub at {self.place.path} cannot become the active one.",
                fix="What it printed says why; this is a fault of FLIP Lab: report it.",
            )
            self.end()

    async def _holds_the_lock(self) -> bool:
        """Wait for the lock; say whether it came before the server was asked to end."""
        if self._until_free is not None:
            free = asyncio.create_task(self._until_free())
            await _until(self._over, task=free)
            free.cancel()
        return not self._over.is_set()

    async def _be_active(self) -> None:
        async with active_hub(self.place) as hub:
            await to_thread.run_sync(self.introduce, hub)
            self._hub = hub
            self._is_active.set()
            if self._until_free is not None:
                self._on_ready(is_active=True)
            await self._over.wait()
            self.drain()


async def _until(*events: asyncio.Event, task: asyncio.Task[None] | None = None) -> None:
    """Wait for the first of several things."""
    looking = [asyncio.create_task(event.wait()) for event in events]
    waiting = {*looking, *([task] if task else [])}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in looking:
            each.cancel()


class _HubServer(Server):
    """Lets go of those who wait when it is asked to end, and takes up new certificates."""

    def __init__(
        self, config: uvicorn.Config, process: _Process, shown: ShownCertificate
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


def _config(process: _Process, shown: ShownCertificate) -> uvicorn.Config:
    config = server_config(process)
    config.timeout_graceful_shutdown = _GRACE_S
    config.load()
    config.ssl = shown.context
    return config
