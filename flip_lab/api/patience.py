"""Connections that say nothing are not kept: the head of a request has some seconds."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 15.0
"""Longest time that the head of a request may take, from its first byte or the start."""


class PromptProtocol(HttpToolsProtocol):
    """Speaks HTTP with whoever comes to the point.

    uvicorn waits for a head as long as it takes; enough connections that send a byte now
    and then would keep everybody else out. Bodies have limits of their own.
    """

    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head, also of a later request."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Be content: the head is there."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        self._alarm = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
