"""One run as its subscribers see it: followed once for all of them, while there are any."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from flip_lab.api.live.audience import Audience
from flip_lab.api.live.marks import Mark
from flip_lab.api.live.ring import Message, Ring, Written, first_of, message_of, written
from flip_lab.api.live.roster import Roster
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import RunNotFoundError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign
from flip_lab.store.events import EventTail
from flip_lab.store.layout import LabDir

T = TypeVar("T")

_MOST_HISTORY = 20_000
_MOST_HISTORIES = 2
_KEPT_S = 30.0
_LISTED_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """Events that the ring has no more, being read or there.

    Attributes:
        after: The sequence that they follow.
        events: The events, as many as are read at once.
    """

    after: int
    events: asyncio.Task[list[Written]]


class RunFeed(Audience):
    """The events of one run; to be used from the event loop.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        roster: Says where runs stand; it writes the ends of those that died.
        threads: Limits how many runs are read at once.
        after: What the first subscriber has reached.

    Attributes:
        ended: The state that the run ended in, once all events are there and its process
            is gone.
    """

    def __init__(
        self,
        lab: LabDir,
        run_id: str,
        *,
        roster: Roster,
        threads: CapacityLimiter,
        after: int,
    ) -> None:
        """Read nothing yet."""
        super().__init__()
        self.ended: str | None = None
        self._lab, self._run_id, self._roster = lab, run_id, roster
        self._threads = threads
        begin = max(-1, after - 1)  # so that what was reached is seen to be there
        self._tail = EventTail(lab, run_id, after=begin)
        self._mark = Mark(lab, run_id)
        self._ring = Ring(begin)
        self._is_begun = self._is_listed = False
        self._begun_s = tick_s()
        self._state: str | None = None
        self._histories: deque[_History] = deque(maxlen=_MOST_HISTORIES)

    async def take(self, after: int) -> Message | None:
        """Give what follows a sequence, from the store where it is older than the ring.

        Raises:
            FlipLabError: If the run cannot be read any more.
        """
        if not self._ring.holds(after):
            return await self._from_history(after)
        message = self._ring.after(after)
        if message is None:
            self.check()
        return message

    async def _look(self) -> bool:
        # Asked before the journals are read: who died after that is seen next time.
        is_alive = life_sign.is_alive(self._lab.run_dir(self._run_id))
        if self._mark.differs():
            await self._read()
        state = self._state_now()
        if is_alive or not state.is_final:
            return True
        self.ended = state.value
        return False

    def _state_now(self) -> RunState:
        """Give the state that the events tell, or else the list.

        Raises:
            RunNotFoundError: If the run was deleted.
        """
        row = self._roster.row(self._run_id)
        if row is not None:
            self._is_listed = True
            return RunState(self._state or row["state"])
        if not self._is_listed and tick_s() - self._begun_s < _LISTED_WITHIN_S:
            return RunState.PENDING  # it was launched just now
        raise RunNotFoundError(
            f"Run {self._run_id} was deleted.", fix="lab.runs() lists those there are."
        )

    async def _read(self) -> None:
        begin_s = tick_s()
        was_begun = self._is_begun
        events, new = await self._aside(self._poll)
        self._ring.add(new)
        if not was_begun:
            self._ring.live_from = self._ring.reached
        for event in events:
            if event.kind is EventKind.STATE:
                self._state = str(event.body["state"])
        if new:
            self._tell()
        # Much at once, at the beginning: others shall have their turn.
        await asyncio.sleep(min(0.1, tick_s() - begin_s))

    def _poll(self) -> tuple[list[RunEvent], list[Written]]:
        events = self._tail.poll()
        if not events and self._ring.begin >= 0 and not self._is_begun:
            # Nobody can have reached that far: it was another run, or a lab of another day.
            self._tail = EventTail(self._lab, self._run_id)
            self._ring = Ring(-1)
            events = self._tail.poll()
        self._is_begun = True
        return events, written(events)

    async def _from_history(self, after: int) -> Message | None:
        for known in [*self._histories]:  # others come while one waits
            if known.after <= after:
                events = await asyncio.shield(known.events)
                if events and events[-1].sequence > after:
                    return message_of(first_of(e for e in events if e.sequence > after))
        events = await asyncio.shield(self._read_history(after))
        return message_of(first_of(events)) if events else None

    def _read_history(self, after: int) -> asyncio.Task[list[Written]]:
        """Read old events: once for all who come for them within half a minute."""
        reading = asyncio.create_task(self._aside(lambda: self._old(after)))
        history = _History(after=after, events=reading)
        self._histories.append(history)  # the deque drops the oldest
        asyncio.get_running_loop().call_later(_KEPT_S, self._forget, history)
        return reading

    def _forget(self, history: _History) -> None:
        with suppress(ValueError):
            self._histories.remove(history)

    def _old(self, after: int) -> list[Written]:
        events = EventTail(self._lab, self._run_id, after=after).poll()
        return written(events[:_MOST_HISTORY])

    async def _aside(self, work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=self._threads)
