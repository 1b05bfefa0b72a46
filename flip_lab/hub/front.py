"""The front of a hub: every request is sent by its path to one door, or to none.

What is not named here does not exist: Flower's own API has calls that would let anybody
who reaches the port run code on every node, and no route of it can be reached by accident.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import flip_lab
from flip_lab.core.clock import now_s
from flip_lab.core.errors import HubBusyError, NoSuchPlaceError, TooManyError
from flip_lab.engines.flower.superlink_wire import FLOWER_VERSION
from flip_lab.hub.active import ActiveHub
from flip_lab.hub.bodies import answer, refuse

_JSON = "application/json"
_RETRY = {"retry-after": "1"}
_UNAUTHORIZED = 401
_ENROLMENT = ("/flip/v1/device/enroll", 409)  # a wrong token, or a used one


class Front:
    """The ASGI app of the one port.

    Args:
        find: Gives the active hub of this process; ``None`` on a standby, and while it
            ends.
    """

    def __init__(self, find: Callable[[], ActiveHub | None]) -> None:
        """Send nobody anywhere yet."""
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request on by its path."""
        hub, path = self._find(), scope["path"]
        if path in {"/health", "/ready"} and scope["type"] == "http":
            await (_health if path == "/health" else _ready)(hub, send)
        elif hub is None:
            await _later(scope, send)
        elif (door := _door(hub, path)) is None:
            await _nowhere(scope, send)
        elif door in {hub.own, hub.lab} and scope["type"] == "http":
            await _watched(hub, door, scope, receive, send)
        else:
            await door(scope, receive, send)


async def _health(hub: ActiveHub | None, send: Send) -> None:
    content = {
        "status": "ok",
        "role": "standby" if hub is None else "active",
        "time_s": now_s(),
        "version": flip_lab.__version__,
        "flower": FLOWER_VERSION,
        "flip": 1,
    }
    await answer(send, 200, orjson.dumps(content), media_type=_JSON)


async def _ready(hub: ActiveHub | None, send: Send) -> None:
    content = {"status": "standby" if hub is None else "ready"}
    status = 503 if hub is None else 200
    headers = _RETRY if hub is None else {}
    await answer(send, status, orjson.dumps(content), media_type=_JSON, headers=headers)


def _door(hub: ActiveHub, path: str) -> ASGIApp | None:
    """Decide by the path alone where a request goes."""
    if path.startswith("/v1/fleet/"):
        return hub.fleet
    if path.startswith(("/v1/control/", "/v1/runtime/")):
        return hub.drivers
    for own in ("/flip/v1/hub", "/flip/v1/device"):
        if path == own or path.startswith(f"{own}/"):
            return hub.own
    return hub.lab if path.startswith("/flip/v1/") else None


async def _watched(
    hub: ActiveHub, door: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Count wrong tokens, and let addresses wait that keep showing them."""
    if not _is_known(hub, scope):
        try:
            hub.admission.see_that_it_may(scope)
        except TooManyError as error:
            return await refuse(send, error, headers={"retry-after": "5"})

    async def counted(message: Message) -> None:
        is_begin = message["type"] == "http.response.start"
        if is_begin and _is_failure(scope["path"], message["status"]):
            hub.admission.failed(scope)
        await send(message)

    return await door(scope, receive, counted)


def _is_known(hub: ActiveHub, scope: Scope) -> bool:
    """Say whether somebody asks, as far as is known yet, who was let in before.

    A node's key is a claim until its signature is checked, and counts where nodes ask.
    """
    headers = Headers(scope=scope)
    if hub.service.access.known(headers) is not None:
        return True
    is_of_nodes = scope["path"].startswith("/flip/v1/device/")
    return is_of_nodes and hub.service.keys.lets_in(headers.get("x-flip-key", ""))


def _is_failure(path: str, status: int) -> bool:
    return status == _UNAUTHORIZED or (path, status) == _ENROLMENT


async def _later(scope: Scope, send: Send) -> None:
    """Say that another process is the active hub, or none is yet."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    error = HubBusyError(
        "This hub is not the active one.",
        fix="Try again soon: it takes over when the active one ends, or is about to end.",
    )
    await refuse(send, error, status=503, headers=_RETRY)


async def _nowhere(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    error = NoSuchPlaceError(
        f"{scope['method']} {scope['path']!r:.100}: there is nothing here.",
        fix="A hub serves /flip/v1, /health, /ready, and what nodes and drivers need.",
    )
    await refuse(send, error)
