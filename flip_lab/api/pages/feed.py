"""One board for its pages: looked at in a worker thread, written once for all of them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import orjson
from anyio import CapacityLimiter, to_thread

from flip_lab.boards.board import Asked, Board, LiveBoard, Parts
from flip_lab.boards.run.board import Observable, RunBoard
from flip_lab.store.audit_writer import acting_as

T = TypeVar("T")

UPDATES_HZ = 6.0
"""A little more than five updates a second: a look takes its time, too."""

LOOK_AGAIN_S = 5.0
"""Between two looks at a run that has ended: somebody may take it up again."""

_MOST_THREADS = 8


class Feed:
    """Keeps the newest parts of a board as JSON, and wakes its pages when they change.

    Args:
        board: The board.
        threads: Limits how many boards are at work at once.

    Attributes:
        board: The same.
        parts: What there is to draw, by name; empty before the first look.
    """

    def __init__(self, board: Board, threads: CapacityLimiter) -> None:
        """Look at nothing yet."""
        self.board = board
        self.parts: Mapping[str, bytes] = {}
        self._threads = threads
        self._drawn: Parts = {}
        self._pages: set[asyncio.Event] = set()
        self._nudge = asyncio.Event()
        self._writing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    # --- what pages ask for ------------------------------------------------------------

    async def change(self, values: Mapping[str, Any]) -> None:
        """Take what a page has chosen; ``parts`` are up to date afterwards."""
        await self._aside(lambda: self.board.change(values))
        await self._refresh()

    async def answer(self, asked: Asked, *, author: str) -> dict[str, Any]:
        """Answer a page; unless the board is live, ``parts`` are up to date afterwards.

        Args:
            asked: Its message.
            author: In whose name it is done.
        """
        answer = await self._aside(lambda: self._act(asked, author))
        if not isinstance(self.board, LiveBoard):
            await self._refresh()
        elif self.board.is_deed(asked):
            self._nudge.set()
        return answer

    def _act(self, asked: Asked, author: str) -> dict[str, Any]:
        with acting_as(author):
            return self.board.answer(asked)

    # --- who looks on ------------------------------------------------------------------

    @asynccontextmanager
    async def looked_at(self) -> AsyncGenerator[asyncio.Event]:
        """Let a page look on; the first starts to follow a live board, the last ends it.

        Yields:
            Set whenever there is something new.
        """
        news = asyncio.Event()
        self._pages.add(news)
        if len(self._pages) == 1:
            self.parts, self._drawn = {}, {}  # of a time when nobody looked
            self._following = asyncio.create_task(self._follow())
            self._following.add_done_callback(self._wake)
        try:
            yield news
        finally:
            self._pages.discard(news)
            if self._following is not None and not self._pages:
                self._following.cancel()

    def check(self) -> None:
        """Raise what ended the following, if anything did: a fault of ours."""
        if self._following is not None and self._following.done():
            self._following.result()

    def _wake(self, _: object = None) -> None:
        for page in self._pages:
            page.set()

    # --- looking -----------------------------------------------------------------------

    async def _follow(self) -> None:
        board = self.board
        if not isinstance(board, LiveBoard):
            return await self._refresh()
        while True:
            await self._aside(board.poll)
            await self._refresh()
            pause_s = LOOK_AGAIN_S if board.is_done else board.pause_s
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), pause_s)
            self._nudge.clear()

    async def _refresh(self) -> None:
        async with self._writing:
            self.parts = await self._aside(self._written)
        self._wake()

    def _written(self) -> Mapping[str, bytes]:
        """Write what is not the very same as before."""
        before, self._drawn = self._drawn, self.board.parts()
        return {
            name: self.parts[name] if part is before.get(name, self) else written(part)
            for name, part in self._drawn.items()
        }

    async def _aside(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._threads)


class Feeds:
    """The boards that are looked at now; a run has one for all of its pages."""

    def __init__(self) -> None:
        """Nobody looks at anything."""
        self._threads = CapacityLimiter(_MOST_THREADS)
        self._runs: WeakValueDictionary[str, Feed] = WeakValueDictionary()

    def of_run(self, run: Observable) -> Feed:
        """Give the feed of a run's board, which all its pages share."""
        feed = self._runs.get(run.run_id)
        if feed is None:
            feed = Feed(RunBoard(run, interval_s=1 / UPDATES_HZ), self._threads)
            self._runs[run.run_id] = feed
        return feed

    async def alone(self, make: Callable[[], Board]) -> Feed:
        """Give the feed of a board that is one page's own.

        Args:
            make: Makes the board, in a worker thread; raises what is wrong with what was
                asked for.
        """
        board = await to_thread.run_sync(make, limiter=self._threads)
        return Feed(board, self._threads)


def written(part: object) -> bytes:
    """Give a part as JSON; bytes as ``{"$base64": …}``, NaN and infinities as null."""
    if isinstance(part, bytes):
        part = {"$base64": base64.b64encode(part).decode("ascii")}
    try:
        return orjson.dumps(part)
    except TypeError:  # halves of a character, which processes print at times
        return json.dumps(part).encode("ascii")
