"""The life of a hub's process: a standby that becomes the active hub, until the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from anyio import to_thread
from starlette.types import Receive, Scope, Send

from flip_lab.core.errors import FlipLabError, HubStateError
from flip_lab.hub.active import ActiveHub, active_hub
from flip_lab.hub.front import Front
from flip_lab.hub.place import HubPlace

_LOG = logging.getLogger(__name__)


class HubProcess:
    """The app that uvicorn runs: a standby that becomes the active hub.

    Args:
        place: The hub's directory.
        until_free: Returns once this process holds the lock; ``None``: it does already.
        on_ready: Told that it listens, and that it is active.

    Attributes:
        place: The hub's directory.
        trouble: Why it could not become, or stay, the active hub; ``None`` while well.
        end: Asks the server to end; set by whoever runs it.
        introduce: Called with the active hub before it answers anybody.
    """

    def __init__(
        self,
        place: HubPlace,
        until_free: Callable[[], Coroutine[None, None, None]] | None,
        on_ready: Callable[..., None],
    ) -> None:
        """Wait for the server to begin."""
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
            if free.done():
                free.result()  # a disk that answers with an error has not given the lock
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
