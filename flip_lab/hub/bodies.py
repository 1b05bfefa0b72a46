"""Bodies in, answers out: plain ASGI, with limits on size and patience."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from flip_lab.api.problems import MEDIA_TYPE, problem_of
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError, RequestError, TooLargeError, TooSlowError

PROTOBUF = "application/protobuf"

_PIECE_S = 10.0  # longest time between two pieces
_BODY_S = 30.0  # longest time for all of it, besides a second for each 64 KiB


class GoneError(Exception):
    """The other side closed its connection before its request was whole."""


async def read_body(scope: Scope, receive: Receive, most_bytes: int) -> bytes:
    """Read all of a body.

    Args:
        scope: The request.
        receive: Gives the pieces.
        most_bytes: The largest that is taken; a larger one is refused before it comes.

    Raises:
        TooLargeError: If it is larger.
        TooSlowError: If it comes too slowly.
        RequestError: If its length is no number.
        GoneError: If the other side does not send the rest.
    """
    told = Headers(scope=scope).get("content-length", "0")
    if not (told.isascii() and told.isdigit()):
        raise RequestError(
            f"Content-Length is {told!r:.100}.", fix="Send the body's length."
        )
    _see_that_it_fits(int(told), most_bytes)
    pieces, came, begin_s = list[bytes](), 0, tick_s()
    while True:
        left_s = _BODY_S + came / 2**16 - (tick_s() - begin_s)
        try:
            async with asyncio.timeout(min(_PIECE_S, max(left_s, 0.001))):
                message = await receive()
        except TimeoutError:
            raise TooSlowError(
                f"After {came:,} bytes the body came too slowly.",
                fix="Send it again over a better connection.",
            ) from None
        if message["type"] == "http.disconnect":
            raise GoneError
        piece = message.get("body", b"")
        came += len(piece)
        _see_that_it_fits(came, most_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _see_that_it_fits(length: int, most_bytes: int) -> None:
    if length > most_bytes:
        raise TooLargeError(
            f"The body has more than the {most_bytes:,} bytes that this call takes.",
            fix="Send arrays in pieces of 5 MiB, as Flower does.",
        )


async def answer(
    send: Send,
    status: int,
    content: bytes,
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a whole answer."""
    length = {"content-length": str(len(content))}
    await begin(send, status, media_type=media_type, headers={**length, **(headers or {})})
    await send({"type": "http.response.body", "body": content})


async def begin(
    send: Send, status: int, *, media_type: str, headers: Mapping[str, str]
) -> None:
    """Send the head of an answer whose content may take a while."""
    told = {"content-type": media_type, "cache-control": "no-store", **headers}
    raw = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def refuse(
    send: Send,
    error: FlipLabError,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer with an error of ours, as problem details (RFC 9457).

    The connection is closed, so that the rest of a body is not waited for.
    """
    problem = problem_of(error)
    problem["status"] = status or problem["status"]
    await answer(
        send,
        problem["status"],
        orjson.dumps(problem),
        media_type=MEDIA_TYPE,
        headers={"connection": "close", **(headers or {})},
    )
