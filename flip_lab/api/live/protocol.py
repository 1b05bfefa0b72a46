"""WebSockets that notice when the other side takes nothing.

uvicorn's protocol (0.49, ``websockets-sansio``) writes whatever it is given: what a slow
page does not take piles up in memory, and a connection that is half open stays until TCP
gives up. Here a sender waits while there is too much, and who takes nothing is cut off.
"""

from __future__ import annotations

import resource
from asyncio import TimerHandle

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CUT_AFTER_S = 15.0
"""Longest time for which the other side may take nothing."""


_MOST_FILES = 65_536


def make_room() -> None:
    """Let this process have as many connections as the system grants: each is a file.

    Many systems let a process open a thousand files unless it asks for more.
    """
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    if usual < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One connection; the transport calls its methods."""

    _cutting: TimerHandle | None = None

    def pause_writing(self) -> None:
        """Let senders wait: there is more than 64 KiB that nobody took."""
        self.writable.clear()
        self._cutting = self.loop.call_later(CUT_AFTER_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._spare()
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait for a connection that is gone.

        Args:
            exc: Why it broke; ``None`` where it was closed.
        """
        self._spare()
        super().connection_lost(exc)
        self.writable.set()

    async def send(self, message: ASGISendEvent) -> None:
        """Send, as soon as there is room.

        Args:
            message: What the app sends.

        Raises:
            ClientDisconnected: If the connection is gone; else the app would go on.
        """
        await self.writable.wait()
        if message["type"] == "websocket.send" and self.transport.is_closing():
            raise ClientDisconnected
        await super().send(message)

    def _spare(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting = None
