"""What subscribers read, and who follows it for them: only while there are any."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Protocol

from flip_lab.api.live.ring import Message

_POLL_S = 0.04
_PACE_S = 0.0002  # to send to one subscriber takes a quarter of that


class Source(Protocol):
    """What a subscriber reads: messages one after the other, at its own pace."""

    @property
    def news(self) -> asyncio.Event:
        """Set when something came after now; take it before you look for messages."""
        ...

    @property
    def ended(self) -> str | None:
        """The state that it ended in; ``None`` while more may come."""
        ...

    async def take(self, after: int) -> Message | None:
        """Give what follows a position; ``None`` where nothing does yet.

        Raises:
            FlipLabError: If it cannot be read any more.
        """
        ...


class Audience(ABC):
    """Counts who reads a source, and follows it in a task as long as anybody does."""

    def __init__(self) -> None:
        """Nobody reads."""
        self.news = asyncio.Event()
        self.num_readers = 0
        self._trouble: Exception | None = None
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def join(self) -> None:
        """Read from now on."""
        self.num_readers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._go_on())

    def leave(self) -> None:
        """Read no more; the last one ends the following."""
        self.num_readers -= 1
        if not self.num_readers and self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes: a new one is needed."""
        return self._is_over

    def check(self) -> None:
        """Raise what ended the following, if anything did."""
        if self._trouble is not None:
            raise self._trouble

    async def _go_on(self) -> None:
        try:
            while await self._look():  # noqa: ASYNC110  # files set no event
                await asyncio.sleep(max(_POLL_S, _PACE_S * self.num_readers))
        except Exception as error:  # noqa: BLE001  # raised again for each reader
            self._trouble = error
        self._is_over = True
        self._tell()

    @abstractmethod
    async def _look(self) -> bool:
        """Look once what is new, ``_tell`` if anything is; False ends it."""

    def _tell(self) -> None:
        told, self.news = self.news, asyncio.Event()
        told.set()
