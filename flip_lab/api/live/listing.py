"""The list of runs as its subscribers see it."""

from __future__ import annotations

from flip_lab.api.live.audience import Audience
from flip_lab.api.live.ring import MOST_MESSAGES, Message
from flip_lab.api.live.roster import Roster
from flip_lab.api.live.wire import message_text, runs_text

NOW = -1
"""Position of a subscriber that wants to know only what is to come."""


class ListFeed(Audience):
    """Changes of the list of runs; to be used from the event loop.

    Args:
        roster: The list.

    Attributes:
        ended: A list never ends.
    """

    def __init__(self, roster: Roster) -> None:
        """Tell nothing yet."""
        super().__init__()
        self.ended: str | None = None
        self._roster = roster
        self._position = roster.position  # of which all who wait were told
        self._messages: dict[int, Message] = {}
        self._told_of = self._position  # what those messages lead to

    async def take(self, after: int) -> Message | None:
        """Give what changed since a position; ``NOW`` gives the position.

        Who stands at one that nobody knows is told to read the list again, and stands at
        the newest one.
        """
        position = self._roster.position
        if after == position:
            self.check()
            return None
        if position != self._told_of or len(self._messages) >= MOST_MESSAGES:
            self._told_of = position
            self._messages.clear()
        if (known := self._messages.get(after)) is None:
            known = self._messages[after] = self._told(after, position)
        return known

    def _told(self, after: int, position: int) -> Message:
        if after == NOW:
            return Message(text=runs_text([], [], position), reached=position, count=0)
        if (found := self._roster.changes(after)) is None:
            return Message(text=message_text({"type": "reload"}), reached=position, count=0)
        rows, gone = found
        text = runs_text(rows, gone, position)
        return Message(text=text, reached=position, count=len(rows) + len(gone))

    async def _look(self) -> bool:
        if self._roster.position != self._position:
            self._position = self._roster.position
            self._tell()
        return True
