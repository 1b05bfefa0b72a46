"""One WebSocket that reads a source at its own pace, and whom it costs when it is slow."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from anyio import create_task_group, move_on_after
from starlette.websockets import WebSocket, WebSocketDisconnect

from flip_lab.api.live.audience import Source
from flip_lab.api.live.telemetry import Telemetry
from flip_lab.api.live.wire import message_text
from flip_lab.api.sockets import Flood, accept
from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError

HEARTBEAT_S = 10.0
"""A subscriber hears something at least that often."""

SEND_TIMEOUT_S = 10.0
"""Who takes nothing for so long is gone, whatever its connection says."""

MOST_MESSAGES = 20
"""Messages that a subscriber may send in a second; they mean nothing."""

_DONE = 1000
_HALF_OPEN = 4408
_RECEIVED = "websocket.receive"


class Subscriber:
    """Sends one WebSocket what follows a position, until either side goes.

    Nothing is kept for it but its position: one that is slow reads larger messages later.

    Args:
        websocket: Not opened yet.
        source: What it reads.
        after: Where it stands.
        telemetry: Counts what is sent.
    """

    def __init__(
        self, websocket: WebSocket, source: Source, *, after: int, telemetry: Telemetry
    ) -> None:
        """Send nothing yet."""
        self._websocket, self._source = websocket, source
        self._reached, self._telemetry = after, telemetry
        self._flood = Flood(MOST_MESSAGES)

    async def serve(self) -> None:
        """Send and hear until one of us has gone.

        Raises:
            TooManyError: If it floods.
            FlipLabError: If what it reads cannot be read any more.
        """
        await accept(self._websocket)
        trouble: FlipLabError | None = None
        async with create_task_group() as tasks:

            async def tell() -> None:
                """Send, and note the end."""
                nonlocal trouble
                try:
                    await self._tell()
                except FlipLabError as error:  # a group of one would have no code
                    trouble = error
                tasks.cancel_scope.cancel()

            tasks.start_soon(tell)
            try:
                await self._hear()
            except FlipLabError as error:  # as above
                trouble = error
            tasks.cancel_scope.cancel()
        if trouble is not None:
            raise trouble

    async def _tell(self) -> None:
        with suppress(WebSocketDisconnect):
            try:
                await self._send_all()
            except TimeoutError:
                self._telemetry.dropped.inc()
                with move_on_after(0):  # it would not come through either
                    await self._websocket.close(_HALF_OPEN)

    async def _send_all(self) -> None:
        """Send until there is no more to come.

        Raises:
            TimeoutError: If the other side takes nothing.
        """
        source = self._source
        while True:
            news = source.news
            message = await source.take(self._reached)
            if message is not None:
                await self._send(message.text)
                self._reached = message.reached
                self._telemetry.sent(message.count, message.newest_s)
            elif source.ended is not None:
                await self._send(message_text({"type": "end", "state": source.ended}))
                await self._websocket.close(_DONE)
                return
            else:
                with move_on_after(HEARTBEAT_S) as waiting:
                    await news.wait()
                if waiting.cancelled_caught:
                    await self._send(message_text({"type": "heartbeat", "time_s": now_s()}))

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._websocket.send_text(text)

    async def _hear(self) -> None:
        """Count what comes, which means nothing, until it has gone."""
        loop = asyncio.get_running_loop()
        with suppress(WebSocketDisconnect):
            while (await self._websocket.receive())["type"] == _RECEIVED:
                self._flood.count(loop.time())
