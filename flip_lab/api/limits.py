"""What is not let in: other hosts' pages, bodies without end, bodies that never come.

Pure ASGI, so that it also guards WebSockets and costs next to nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flip_lab.api.problems import MEDIA_TYPE, problem_of
from flip_lab.api.uploads.kept import LARGEST_BYTES
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FlipLabError,
    NotAllowedError,
    RequestError,
    TooLargeError,
    TooSlowError,
)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_UPLOAD = re.compile(r"/v1/uploads(/|$)")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\](:\d{1,5})?|[^\s\[\]:/?#@]+(:\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is let in.

    Attributes:
        hosts: Names that the server may be called by, besides those of loopback, in lower
            case and without a port; ``None`` for any: something in front looks at them.
        body_bytes: The largest body.
        upload_bytes: The largest body of a piece of an upload.
        file_bytes: The largest upload, all its pieces together.
        wait_s: Longest time between two pieces of a body.
        body_s: Longest time that a whole body may take, besides a second for each 64 KiB.
    """

    hosts: frozenset[str] | None = None
    body_bytes: int = 2**20
    upload_bytes: int = 2**24 + 2**16
    file_bytes: int = LARGEST_BYTES
    wait_s: float = 10.0
    body_s: float = 30.0


class Doorman:
    """Looks at what comes before the app does.

    Args:
        app: The app.
        limits: What is let in.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        """Guard the app."""
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let something in, or tell why not."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            self._look(scope)
        except FlipLabError as error:
            await _refuse(scope, send, error)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._with_body(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        """Look at who is called, from whose page, and for how much.

        Raises:
            NotAllowedError: If another host is called, or a page of another one calls.
            RequestError: If a header is not as HTTP has it.
            TooLargeError: If the body will be too large.
        """
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not _HOST.fullmatch(host):
            raise RequestError(f"Host is {host!r:.100}.", fix="Send one header Host.")
        hosts = self._limits.hosts
        if hosts is not None and not is_loopback(host) and _name(host) not in hosts:
            raise NotAllowedError(
                f"This server is not called {host!r:.100}.",
                fix="Start it with --allow-host and that name if it shall be.",
            )
        is_safe = scope["type"] == "http" and scope["method"] in _SAFE
        origin = headers.get("origin")
        if not is_safe and origin is not None and not _is_same(origin, host):
            raise NotAllowedError(
                f"A page of {origin!r:.100} may not ask {host!r:.100}.",
                fix="Ask from a page of the same host; programs send no Origin.",
            )
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise RequestError(
                f"Content-Length is {length!r:.100}.", fix="Send the body's length."
            )
        self._check_length(scope, int(length))

    def _check_length(self, scope: Scope, length: int) -> None:
        limits = self._limits
        is_piece = bool(_UPLOAD.search(scope.get("path", "")))
        most = limits.upload_bytes if is_piece else limits.body_bytes
        if length > most:
            raise TooLargeError(
                f"The body has more than {most:,} bytes.",
                fix="Send files as an upload, in pieces of up to 16 MiB; the rest fits.",
            )

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app read the body, as long as it comes as it should."""
        trouble: list[FlipLabError] = []
        has_begun = False

        async def told(message: Message) -> None:
            nonlocal has_begun
            if trouble and not has_begun:
                return  # the app answers to a body that it could not read
            has_begun = True
            await send(message)

        watched = self._watched(scope, receive, trouble.append)
        try:
            await self._app(scope, watched, told)
        except FlipLabError:
            if not trouble or has_begun:
                raise
        if trouble and not has_begun:
            await _refuse(scope, send, trouble[0])

    def _watched(
        self, scope: Scope, receive: Receive, tell: Callable[[FlipLabError], None]
    ) -> Receive:
        came, begin_s, is_over = 0, tick_s(), False
        limits = self._limits

        async def watched() -> Message:
            nonlocal came, is_over
            if is_over:  # what comes now is that the client went
                return await receive()
            left_s = limits.body_s + came / 2**16 - (tick_s() - begin_s)
            try:
                wait_s = min(limits.wait_s, max(left_s, 0.001))
                message = await asyncio.wait_for(receive(), wait_s)
                came += len(message.get("body", b""))
                self._check_length(scope, came)
            except TimeoutError:
                error = TooSlowError(
                    f"After {came:,} bytes the body came too slowly.",
                    fix="Send it again over a better connection, or in smaller pieces.",
                )
                tell(error)
                raise error from None
            except TooLargeError as error:
                tell(error)
                raise
            is_over = not message.get("more_body", False)
            return message

        return watched


def is_loopback(host: str) -> bool:
    """Say whether a host, with or without its port, is this very machine."""
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Give a host's name without its port."""
    if host.startswith("["):
        return host[1 : host.index("]")].lower() if "]" in host else host.lower()
    return host.partition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _is_same(origin: str, host: str) -> bool:
    """Say whether a page's origin is the host that it asks; ports count where told."""
    try:
        parts = urlsplit(origin)
        told = urlsplit(f"//{host}")
        port = parts.port or _PORTS.get(parts.scheme)
        asked = told.port
    except ValueError:
        return False
    return parts.hostname == told.hostname and asked in {None, port}


async def _refuse(scope: Scope, send: Send, error: FlipLabError) -> None:
    """Answer in place of the app; a WebSocket is not opened."""
    if scope["type"] == "websocket":  # its door answers 403
        await send({"type": "websocket.close", "code": 4403, "reason": error.code})
        return
    problem = problem_of(error)
    content = orjson.dumps(problem)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),  # the rest of a body is not waited for
    ]
    begin = {"type": "http.response.start", "status": problem["status"], "headers": headers}
    await send(begin)
    await send({"type": "http.response.body", "body": content})
