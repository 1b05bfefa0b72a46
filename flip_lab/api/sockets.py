"""What every WebSocket of the API does: greets, bears no flood, says why it closes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from flip_lab.core.errors import TooManyError

_CLOSE_CODES = 4000
"""Applications' own close codes begin here; ours are these and the HTTP status."""


async def accept(websocket: WebSocket) -> None:
    """Open a WebSocket, with the first subprotocol that its page offers.

    A page that cannot set headers shows its token as a subprotocol, see ``Access``; a
    browser gives up where a server takes none of those that it offers.
    """
    offered = websocket.scope.get("subprotocols") or [None]
    await websocket.accept(subprotocol=offered[0])


async def close_with(websocket: WebSocket, problem: Mapping[str, Any]) -> None:
    """Tell a page why it is closed on: the problem, then code 4000 + its HTTP status.

    Args:
        websocket: Open, or not opened yet; one that is gone is left alone.
        problem: See ``problem_of``.
    """
    with suppress(WebSocketDisconnect):
        if websocket.client_state is WebSocketState.CONNECTING:
            await accept(websocket)
        if websocket.application_state is WebSocketState.CONNECTED:
            told = orjson.dumps({**problem, "type": "problem"}).decode()
            await websocket.send_text(told)
            await websocket.close(_CLOSE_CODES + problem["status"], problem["code"])


class Flood:
    """Counts what a page sends; no clock inside.

    Args:
        most: Messages that it may send in any second.
    """

    def __init__(self, most: int) -> None:
        """Start with a second's worth of room."""
        self._most = most
        self._room = float(most)
        self._last_s: float | None = None

    def count(self, now_s: float) -> None:
        """Count one message.

        Args:
            now_s: Seconds on a clock that never goes back.

        Raises:
            TooManyError: If it is one too many.
        """
        passed_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        self._room = min(self._most, self._room + passed_s * self._most) - 1
        if self._room < 0:
            raise TooManyError(
                f"More than {self._most} messages a second came from this page.",
                fix="Open the WebSocket again, and send less.",
            )
