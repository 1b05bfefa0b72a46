"""The newest events of a run as they are sent; no clock, no files, no tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from flip_lab.api.live.wire import event_bytes, events_text
from flip_lab.core.events import EventKind, RunEvent, superseded_spans

MOST_EVENTS = 500
"""Events of one message, at most."""

MOST_BYTES = 2**18
"""Bytes of the events of one message, unless a single one is longer."""

MOST_MESSAGES = 64
"""Messages that are kept for others who stand where somebody stood."""

_KEPT_BYTES = 2**23


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One event, ready to be sent.

    Attributes:
        sequence: Its position in the run.
        kind: Which fact it is.
        time_s: When it happened, seconds since the Unix epoch.
        text: It as JSON.
        span: What it superseded, see ``superseded_spans``.
    """

    sequence: int
    kind: EventKind
    time_s: float
    text: bytes
    span: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a subscriber is sent at once.

    Attributes:
        text: It as JSON.
        reached: Where the subscriber stands after it.
        count: Events or rows in it.
        newest_s: When the newest of them happened, seconds since the Unix epoch; ``None``
            for what was there before anybody looked.
    """

    text: str
    reached: int
    count: int
    newest_s: float | None = None


def written(events: Sequence[RunEvent]) -> list[Written]:
    """Write events, to be done once and in a thread of one's own."""
    spans = {until: (after, until) for after, until in superseded_spans(events)}
    return [
        Written(
            sequence=event.sequence,
            kind=event.kind,
            time_s=event.time_s,
            text=event_bytes(event),
            span=spans.get(event.sequence),
        )
        for event in events
    ]


def message_of(events: Sequence[Written], *, is_live: bool = False) -> Message:
    """Put events into a message.

    Args:
        events: At least one, in order.
        is_live: Whether they happened just now.
    """
    reached = events[-1].sequence
    text = events_text(
        (event.text for event in events),
        reached=reached,
        superseded=[event.span for event in events if event.span is not None],
    )
    newest_s = max(event.time_s for event in events) if is_live else None
    return Message(text=text, reached=reached, count=len(events), newest_s=newest_s)


def first_of(events: Iterable[Written]) -> list[Written]:
    """Give as many of the first events as fit into a message: one at least."""
    found: list[Written] = []
    size = 0
    for event in islice(events, MOST_EVENTS):
        size += len(event.text)
        if found and size > MOST_BYTES:
            break
        found.append(event)
    return found


class Ring:
    """Keeps the newest events, and the messages made of them.

    Args:
        after: Sequence that the first event will follow.
        most_bytes: What the events may take; the newest is always kept.

    Attributes:
        begin: Who has reached this sequence, or a later one, can go on from here.
        reached: Sequence of the newest event.
        live_from: Events behind this sequence happened while somebody looked.
    """

    def __init__(self, after: int, *, most_bytes: int = _KEPT_BYTES) -> None:
        """Keep nothing yet."""
        self.begin = self.reached = self.live_from = after
        self._most_bytes = most_bytes
        self._kept: list[Written] = []
        self._bytes = 0
        self._messages: dict[int, Message] = {}

    def add(self, events: Sequence[Written]) -> None:
        """Add what followed; the oldest go where there are too many."""
        if not events:
            return
        self._kept += events
        self._bytes += sum(len(event.text) for event in events)
        self.reached = events[-1].sequence
        self._messages.clear()
        gone = 0
        while self._bytes > self._most_bytes and gone < len(self._kept) - 1:
            self._bytes -= len(self._kept[gone].text)
            gone += 1
        if gone:
            self.begin = self._kept[gone - 1].sequence
            del self._kept[:gone]

    def holds(self, after: int) -> bool:
        """Say whether somebody who has reached this sequence can go on from here."""
        return after >= self.begin

    def after(self, after: int) -> Message | None:
        """Give what follows a sequence, as far as it fits; the same to all who ask.

        Args:
            after: What the subscriber has reached; one that ``holds``.

        Returns:
            The message; ``None`` where nothing follows.
        """
        if after >= self.reached:
            return None
        if (known := self._messages.get(after)) is None:
            place = self._place(after)
            events = first_of(islice(self._kept, place, None))
            known = message_of(events, is_live=after >= self.live_from)
            if len(self._messages) >= MOST_MESSAGES:  # anybody may stand anywhere
                self._messages.clear()
            self._messages[after] = known
        return known

    def _place(self, after: int) -> int:
        """Find the first event behind a sequence; usually none is missing in between."""
        place = min(max(0, after - self.begin), len(self._kept))
        while place and self._kept[place - 1].sequence > after:
            place -= 1
        while self._kept[place].sequence <= after:
            place += 1
        return place
