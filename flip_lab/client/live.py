"""A run's events as they happen, over a WebSocket that may break at any time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect, unix_connect

from flip_lab.client.answers import Event
from flip_lab.client.events import event_of
from flip_lab.client.patience import pause_s
from flip_lab.client.problems import error_of, stranger, unreachable
from flip_lab.client.wire import Wire
from flip_lab.core.clock import tick_s
from flip_lab.core.events import RunEvent

Read: TypeAlias = Callable[[int], Sequence[RunEvent]]
"""Gives the events after a sequence that are there by now."""

_SILENCE_S = 30.0
"""The server says something every 10 s; after three times that it is gone."""

_LONGEST_MESSAGE_BYTES = 2**26
_REFUSED = frozenset({401, 403})


class Course:
    """Where a reader stands in a run's events; no network inside.

    Args:
        after: Leave out events up to this sequence.

    Attributes:
        reached: Sequence of the last event given.
    """

    def __init__(self, after: int) -> None:
        """Stand before the event that follows ``after``."""
        self.reached = after

    def new(self, events: Sequence[RunEvent], read: Read) -> list[RunEvent]:
        """Give what is new among events, and first what is missing before them.

        Args:
            events: Events in order; some may have been given before.
            read: Asked where there is a gap.
        """
        fresh = [event for event in events if event.sequence > self.reached]
        if fresh and fresh[0].sequence != self.reached + 1:
            fresh = [*read(self.reached)]
        if fresh:
            self.reached = fresh[-1].sequence
        return fresh


class LiveEvents:
    """Iterates over a run's events, each once and in order, until the run has ended.

    When the connection breaks it is opened again, from the last event on.

    Args:
        wire: Whom to ask.
        run_id: The run.
        place: Its WebSocket: the path after ``/v1``.
        after: Leave out events up to this sequence.
        read: Asked for what went missing.
    """

    def __init__(
        self, wire: Wire, run_id: str, *, place: str, after: int, read: Read
    ) -> None:
        """Open nothing yet."""
        self._wire = wire
        self._run_id = run_id
        self._place = place
        self._read = read
        self._course = Course(after)
        self._has_ended = False
        self._attempt = 0
        self._heard_s = tick_s()

    def __iter__(self) -> Iterator[RunEvent]:
        """Give event after event, and wait for the next one.

        Raises:
            FlipLabError: What the lab has against it.
            LabUnreachableError: If the lab is away for longer than a request may take.
        """
        return (event for event in self.with_beats() if event is not None)

    def with_beats(self) -> Iterator[RunEvent | None]:
        """Give the same, and ``None`` at least every 10 s or so while nothing happens."""
        self._heard_s = tick_s()
        while not self._has_ended:
            yield from self._connected()
            if not self._has_ended:
                time.sleep(pause_s(self._attempt))
                yield None

    def _connected(self) -> Iterator[RunEvent | None]:
        """Give events for as long as the connection holds."""
        try:
            for message in self._messages():
                self._attempt, self._heard_s = 0, tick_s()
                yield from self._told(message) or [None]
        except (OSError, ConnectionClosed, InvalidHandshake) as error:
            self._attempt += 1
            self._lost(error)

    def _told(self, message: dict[str, Any]) -> list[RunEvent]:
        match message.get("type"):
            case "events":
                told = [Event.model_validate(each) for each in message["events"]]
                events = [event_of(self._run_id, each) for each in told]
                return self._course.new(events, self._read)
            case "end":
                self._has_ended = True
                return self._course.new(self._read(self._course.reached), self._read)
            case "problem":
                raise error_of(message)
            case _:  # a heartbeat; or what only a newer server says
                return []

    def _messages(self) -> Iterator[dict[str, Any]]:
        url = self._wire.url(self._place, {"after": self._course.reached})
        with _opened(self._wire, url) as socket:
            while not self._has_ended:
                message: dict[str, Any] = json.loads(socket.recv(timeout=_SILENCE_S))
                yield message
                if message.get("type") == "reload":
                    return

    def _lost(self, error: Exception) -> None:
        """Raise what will not pass by itself, or has lasted for too long."""
        line = self._wire.line
        is_refused = (
            isinstance(error, InvalidStatus) and error.response.status_code in _REFUSED
        )
        if is_refused:
            raise stranger(line.address.url) from error
        if tick_s() - self._heard_s > line.timeout_s:
            raise unreachable(error, url=line.address.url) from error


@contextmanager
def _opened(wire: Wire, url: str) -> Generator[Any]:
    """Open a WebSocket."""
    line, address = wire.line, wire.line.address
    uri = address.origin.replace("http", "ws", 1) + url
    options: dict[str, Any] = {
        "additional_headers": line.headers,
        "user_agent_header": None,  # it is among the headers
        "max_size": _LONGEST_MESSAGE_BYTES,
        "open_timeout": line.timeout_s,
        "ssl": line.tls if uri.startswith("wss") else None,
    }
    opening = cast(
        "Any",
        connect(uri, proxy=None if address.is_here else True, **options)
        if address.socket is None
        else unix_connect(address.socket, uri, **options),
    )
    with opening as socket:
        yield socket
