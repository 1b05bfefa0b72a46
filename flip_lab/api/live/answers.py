"""Answers that are kept as long as they are good, and made once for all who ask at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from flip_lab.api.etags import is_known
from flip_lab.api.live.states import State

ANSWER_BYTES = 2**13
"""What an answer takes besides its body: its address, headers, state, and their objects."""

_KEPT_BYTES = 2**25
_LONGEST_BYTES = 2**21
_AT_ONCE = 4
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An answer and what it was made of.

    Attributes:
        state: What it depends on, from before it was made.
        response: The answer; it may be sent any number of times.
        tag: Its entity tag.
    """

    state: State
    response: Response
    tag: str

    @property
    def size(self) -> int:
        """What it takes in memory, bytes, roughly."""
        return len(self.response.body) + ANSWER_BYTES

    def to(self, request: Request) -> Response:
        """Give it to somebody, who may have it already (304)."""
        if not is_known(request, self.tag):
            return self.response
        told = {
            name: value
            for name, value in self.response.headers.items()
            if name not in {"content-length", "content-type"}
        }
        return Response(status_code=304, headers=told)


class Answers:
    """Keeps answers by address; to be used from the event loop.

    Args:
        most_bytes: What they may take together.
    """

    def __init__(self, *, most_bytes: int = _KEPT_BYTES) -> None:
        """Keep nothing yet."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Answer] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, asyncio.Event] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)  # more at once only take longer, each

    async def give(
        self,
        request: Request,
        state_now: Callable[[], State | None],
        make: Callable[[Request], Awaitable[Response]],
        *,
        is_costly: bool = True,
    ) -> Response:
        """Answer a GET.

        Args:
            request: What was asked; answers are the same to all who may ask.
            state_now: Gives what the answer depends on; ``None``: it must not be kept.
            make: Makes the answer where none is kept.
            is_costly: Whether making takes so long that only some are made at once.

        Raises:
            FlipLabError: As ``make``.
        """
        key = f"{request.url.path}?{request.url.query}"
        while (state := state_now()) is not None:
            known = self._kept.get(key)
            if known is not None and known.state == state:
                self._kept.move_to_end(key)
                return known.to(request)
            if (under_way := self._making.get(key)) is None:
                room = self._room if is_costly else nullcontext()
                return await self._made(key, state, request, make, room)
            await under_way.wait()
        return await make(request)

    async def _made(
        self,
        key: str,
        state: State,
        request: Request,
        make: Callable[[Request], Awaitable[Response]],
        room: AbstractAsyncContextManager[None],
    ) -> Response:
        done = self._making[key] = asyncio.Event()
        try:
            async with room:
                response = await make(_without_condition(request))
        finally:
            del self._making[key]
            done.set()
        tag = response.headers.get("etag")
        if response.status_code != _OK or tag is None:
            return response
        answer = _Answer(state=state, response=response, tag=tag)
        self._keep(key, answer)
        return answer.to(request)

    def _keep(self, key: str, answer: _Answer) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= old.size
        if len(answer.response.body) > _LONGEST_BYTES:
            return
        self._kept[key] = answer
        self._bytes += answer.size
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size


def _without_condition(request: Request) -> Request:
    """Ask for the whole answer, which is kept, whatever this one has already."""
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"if-none-match"]
    return Request({**request.scope, "headers": headers}, request.receive)
