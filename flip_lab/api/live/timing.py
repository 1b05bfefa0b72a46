"""Measures every request: by the template of its route, so that ids do not count apart."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flip_lab.api.live.telemetry import Telemetry
from flip_lab.core.clock import tick_s

_ELSEWHERE = "other"
_SERVER_ERROR = 500


class Timing:
    """Counts requests and how long they take; pure ASGI, so that it costs microseconds.

    Args:
        app: The app.
        telemetry: Where it counts.
        prefix: What paths begin with; templates are told without it.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, prefix: str) -> None:
        """Count nothing yet."""
        self._app, self._telemetry, self._prefix = app, telemetry, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin_s, status = tick_s(), _SERVER_ERROR

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def counted() -> Message:
            message = await receive()
            if body := message.get("body"):
                self._telemetry.received.inc(len(body))
            return message

        try:
            await self._app(scope, counted, told)
        finally:
            labels = (scope["method"], self._template(scope), str(status))
            self._telemetry.requests.labels(*labels).observe(tick_s() - begin_s)

    def _template(self, scope: Scope) -> str:
        route: Any = scope.get("route")
        path: str = getattr(route, "path", _ELSEWHERE)
        return path.removeprefix(self._prefix)
