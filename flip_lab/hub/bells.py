"""Bells that end a wait: a request is held until there may be something new for it.

So nobody asks again and again, and what is there for a node or a run is there at once. A
request that waits costs two futures and no thread.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

from starlette.types import Receive

from flip_lab.core.clock import tick_s

LONGEST_WAIT_S = 25.0
"""Longest time that a request is held: shorter than proxies let connections be silent."""

Bell: TypeAlias = tuple[str, int]
"""What one waits for: ``("node", node_id)`` or ``("run", run_id)``."""


class Bells:
    """All bells of a hub; rung from any thread, heard in one event loop.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let nobody wait yet."""
        self._loop = loop
        self._start = secrets.token_hex(4)  # counts begin anew with each start of the hub
        self._turn = Lock()
        self._counts: defaultdict[Bell, int] = defaultdict(int)
        self._rung: set[Bell] = set()
        self._waiting: defaultdict[Bell, set[asyncio.Future[None]]] = defaultdict(set)
        self._is_closed = False

    def node(self, node_id: int) -> None:
        """Ring for a node: it has a call to take."""
        self._ring(("node", node_id))

    def run(self, run_id: int) -> None:
        """Ring for a run: it has a reply to take, or has ended."""
        self._ring(("run", run_id))

    def news(self, bell: Bell) -> str:
        """Say what there is so far: a text that changes whenever the bell is rung."""
        return f"{self._start}.{self._counts[bell]}"

    def forget(self, bell: Bell) -> None:
        """Let go of a bell that nobody will ring again."""
        with self._turn:
            self._counts.pop(bell, None)

    def close(self) -> None:
        """Let everybody go, and nobody wait any more; called in the event loop."""
        self._is_closed = True
        for bell in list(self._waiting):
            self._wake(bell)

    async def wait(
        self, bell: Bell, is_there: Callable[[], bool], wait_s: float, receive: Receive
    ) -> bool:
        """Wait until something is there.

        Args:
            bell: Whose ring may change that.
            is_there: Looks; cheap.
            wait_s: Longest time.
            receive: Tells that the other side is gone; the body has been read.

        Returns:
            Whether the other side is still there.
        """
        end_s = tick_s() + wait_s
        gone = asyncio.ensure_future(_gone(receive))
        try:
            while not self._is_closed and not is_there():
                left_s = end_s - tick_s()
                if left_s <= 0 or gone.done():
                    break
                rung = self._loop.create_future()
                self._waiting[bell].add(rung)
                try:
                    first = asyncio.FIRST_COMPLETED
                    await asyncio.wait({gone, rung}, timeout=left_s, return_when=first)
                finally:
                    self._leave(bell, rung)
            return not gone.done()
        finally:
            gone.cancel()

    def _ring(self, bell: Bell) -> None:
        with self._turn:
            self._counts[bell] += 1
            if bell in self._rung:
                return
            self._rung.add(bell)
        self._loop.call_soon_threadsafe(self._wake, bell)

    def _wake(self, bell: Bell) -> None:
        with self._turn:
            self._rung.discard(bell)
        for waiting in self._waiting.pop(bell, ()):
            if not waiting.done():
                waiting.set_result(None)

    def _leave(self, bell: Bell, rung: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(bell)
        if waiting is None:
            return
        waiting.discard(rung)
        if not waiting:
            del self._waiting[bell]


async def _gone(receive: Receive) -> None:
    """Return once the other side has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
