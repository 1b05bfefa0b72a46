"""What comes before the endpoint answers: the token, and how large and slow a body may be.

Pure ASGI, so that a request without the token costs next to nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FlipLabError,
    NotAuthenticatedError,
    PredictionError,
    TooSlowError,
)
from flip_lab.node.serving.problems import problem_response
from flip_lab.node.serving.telemetry import Telemetry

PUBLIC = frozenset({"/health", "/ready"})
_BEARER = "bearer "
_STRANGERS_BYTES = 0  # they ask whether it is up, and fill no memory by that


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """How much one caller may ask for.

    Attributes:
        body_bytes: The largest body.
        body_s: Longest time that a body may take to come, seconds.
        examples: Most examples in one request.
        side_by_side: Predictions that are computed at the same time.
        waiting: Most requests for predictions that are dealt with at the same time.
    """

    body_bytes: int = 2**23
    body_s: float = 30.0
    examples: int = 1024
    side_by_side: int = 2
    waiting: int = 128


class Guard:
    """Looks at who asks, reads the body within limits, and counts the answers.

    Args:
        app: The endpoint.
        token: What callers send as ``Authorization: Bearer …``.
        limits: How much is let in.
        telemetry: Where answers are counted.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, limits: ServingLimits, telemetry: Telemetry
    ) -> None:
        """Guard the app."""
        self._app = app
        self._token = token.encode()
        self._limits = limits
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or tell why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counted = self._counted(scope, send)
        try:
            self._require_token(scope)
            body = await self._body(scope, receive)
        except FlipLabError as error:
            refusal = problem_response(error)
            refusal.headers["Connection"] = "close"  # the rest of a body is not waited for
            await refusal(scope, receive, counted)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), counted)

    def _require_token(self, scope: Scope) -> None:
        """Check who asks, in constant time.

        Raises:
            NotAuthenticatedError: If the token is missing or wrong.
        """
        if scope["path"] in PUBLIC:
            return
        told = Headers(scope=scope).get("authorization", "")
        shown = told[len(_BEARER) :].strip() if told.lower().startswith(_BEARER) else ""
        if not secrets.compare_digest(shown.encode(), self._token):
            raise NotAuthenticatedError(
                "This endpoint does not know who asks.",
                fix="Send 'Authorization: Bearer <token>'; the node's token file has it.",
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read the body, if it is not too large or too slow; ``None``: the caller left."""
        length = Headers(scope=scope).get("content-length", "0")
        is_stranger = scope["path"] in PUBLIC
        most = _STRANGERS_BYTES if is_stranger else self._limits.body_bytes
        if length.isascii() and length.isdigit() and int(length[:20]) > most:
            raise _too_large(most)
        body, end_s = bytearray(), tick_s() + self._limits.body_s
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(end_s - tick_s(), 0.001))
            except TimeoutError:
                raise TooSlowError(
                    f"After {len(body):,} bytes the body came too slowly.",
                    fix="Send it again over a better connection, or fewer examples.",
                ) from None
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(body)

    def _counted(self, scope: Scope, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")  # set by the app; a place it knows
                place = getattr(route, "path", "other")
                self._telemetry.requests.labels(place, str(message["status"])).inc()
            await send(message)

        return counted


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read; after it, what the server has to say."""
    is_told = False

    async def replayed() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _too_large(most: int) -> PredictionError:
    return PredictionError(
        f"The body has more than {most:,} bytes.",
        fix="Send fewer examples at a time.",
    )
