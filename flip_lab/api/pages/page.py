"""One page at a board: what changed goes out, what it asks for is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import orjson
from anyio import create_task_group, move_on_after
from starlette.websockets import WebSocket, WebSocketDisconnect

from flip_lab.api.access import Person
from flip_lab.api.pages.feed import Feed, written
from flip_lab.api.problems import problem_of
from flip_lab.api.sockets import Flood
from flip_lab.boards.board import LiveBoard, Parts, ticket_of, told
from flip_lab.boards.run.outbox import Outbox
from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FlipLabError, NotAllowedError, RequestError, TooLargeError

HEARTBEAT_S = 10.0
LIVE_BYTES_S = 1_000_000
"""What a live board may send to one page: no kernel's channel has to bear it."""

_CHOSEN_BYTES_S = 1 << 40  # what a page chose itself, it gets at once
_MOST_MESSAGES = 100
_MOST_CHARACTERS = 1 << 20
_RETRY_S = 0.1
_RECEIVED = "websocket.receive"


class Page:
    """Serves one page by its WebSocket, until it goes.

    A page that takes its time gets the newest state of each part, never a backlog.

    Args:
        websocket: The page; open.
        feed: The board that it looks at.
        person: Who looks.
        check: Raises if that person may steer no more; a page stays open for long.
        own: Parts that are this page's alone.
    """

    def __init__(
        self,
        websocket: WebSocket,
        feed: Feed,
        person: Person,
        *,
        check: Callable[[], Awaitable[object]],
        own: Parts | None = None,
    ) -> None:
        """Send nothing yet."""
        board = feed.board
        live = board if isinstance(board, LiveBoard) else None
        self._websocket, self._feed, self._person = websocket, feed, person
        self._check = check
        self._own = {name: written(part) for name, part in (own or {}).items()}
        self._outbox = Outbox(
            urgent=live.urgent if live else frozenset(),
            budget_bytes_s=LIVE_BYTES_S if live else _CHOSEN_BYTES_S,
        )
        self._has_all = False
        self._sending = asyncio.Lock()  # news and answers come from two tasks
        self._flood = Flood(_MOST_MESSAGES)

    async def serve(self) -> None:
        """Send and hear until the page has gone.

        Raises:
            TooManyError: If it floods.
            TooLargeError: If a message is too long.
            NotAuthenticatedError: If it steers with a token that is good no more.
        """
        trouble: FlipLabError | None = None
        async with self._feed.looked_at() as news, create_task_group() as tasks:
            tasks.start_soon(self._tell, news)
            try:
                await self._hear()
            except FlipLabError as error:  # a group of one would have no code
                trouble = error
            tasks.cancel_scope.cancel()
        if trouble is not None:
            raise trouble

    # --- sending -----------------------------------------------------------------------

    async def _tell(self, news: asyncio.Event) -> None:
        with suppress(WebSocketDisconnect):  # whoever hears will know, too
            while True:
                self._feed.check()
                news.clear()
                await self._send_parts()
                wait_s = HEARTBEAT_S if self._outbox.is_empty else _RETRY_S
                with move_on_after(wait_s) as waiting:
                    await news.wait()
                if waiting.cancelled_caught and self._outbox.is_empty:
                    await self._send({"type": "heartbeat", "time_s": now_s()})

    async def _send_parts(self) -> None:
        if not self._feed.parts:
            return
        async with self._sending:
            parts = {**self._feed.parts, **self._own}
            if self._has_all:
                self._outbox.put(parts)
                parts = self._outbox.take(tick_s())
            else:
                self._outbox.begin(parts)
                self._has_all = True
            if parts:
                inner = b",".join(b'"%b":%b' % (key.encode(), parts[key]) for key in parts)
                text = b'{"type":"parts","parts":{%b}}' % inner
                await self._websocket.send_text(text.decode())

    async def _send(self, message: Mapping[str, Any]) -> None:
        async with self._sending:
            await self._websocket.send_text(written(message).decode())

    # --- hearing -----------------------------------------------------------------------

    async def _hear(self) -> None:
        with suppress(WebSocketDisconnect):
            while (message := await self._websocket.receive())["type"] == _RECEIVED:
                self._flood.count(tick_s())
                try:
                    await self._act(_read(message.get("text")))
                except RequestError as error:
                    await self._send({**problem_of(error), "type": "problem"})

    async def _act(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"type": "change", "values": dict()}:
                values = cast("dict[str, Any]", message["values"])
                await self._feed.change(values)
                # The page has these: told again, they would undo what it chose meanwhile.
                known = self._feed.parts.keys() & values.keys()
                self._outbox.begin({name: written(values[name]) for name in known})
                await self._send_parts()
            case {"type": "ask", **asked}:
                answer = await self._answer(asked)
                await self._send_parts()  # first: an answer may speak of the picture
                await self._send({"type": "answer", **answer})
            case _:
                raise RequestError(
                    f"A message of the type {message.get('type')!r:.40} means nothing.",
                    fix='Send {"type": "change", "values": …} or {"type": "ask", …}.',
                )

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._feed.board.is_deed(asked):
            if "write" not in self._person.scopes:
                refusal = NotAllowedError(
                    f"{self._person.name} may only look.",
                    fix="Ask the lab's owner for the role that steers.",
                )
                return {**ticket_of(asked), "error": told(refusal)}
            await self._check()
        return await self._feed.answer(asked, author=self._person.name)


def _read(text: str | None) -> Mapping[str, Any]:
    """Read a message.

    Raises:
        RequestError: If it is no table in JSON.
        TooLargeError: If it is too long.
    """
    if len(text or "") > _MOST_CHARACTERS:
        raise TooLargeError(
            f"A message of {len(text or ''):,} characters is too long.",
            fix=f"Send at most {_MOST_CHARACTERS:,}.",
        )
    try:
        message = orjson.loads(text or "")
    except orjson.JSONDecodeError as error:
        raise RequestError(
            f"A message is no JSON: {error}.", fix="Send each message as one JSON text."
        ) from error
    if not isinstance(message, dict):
        raise RequestError(
            f"A message is {message!r:.60}.", fix='Send a table with a "type".'
        )
    return cast("dict[str, Any]", message)
