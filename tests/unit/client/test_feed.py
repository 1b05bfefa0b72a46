"""Asking again and again for events: nothing is missed, and little is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Queue

import httpx
import pytest

from flip_lab.client import feed
from flip_lab.client.remote_run import RemoteRun
from flip_lab.core.errors import LabUnreachableError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.testing.desk import RUN, Desk


def _event(sequence: int) -> RunEvent:
    kind = EventKind.WARNING
    return RunEvent(
        run_id="one", sequence=sequence, time_s=0.0, server_round=0, kind=kind, body={}
    )


class _Live:
    """Plays the lab: events that are there, and those that come by WebSocket."""

    def __init__(self) -> None:
        self.there = [_event(0)]
        self.coming: Queue[RunEvent | Exception | None] = Queue()
        self.asked: list[int] = []
        self.opened: list[int] = []

    def read(self, after: int) -> list[RunEvent]:
        self.asked.append(after)
        return self.there[after + 1 :]

    def live(self, after: int) -> _Live:
        self.opened.append(after)
        return self

    def with_beats(self) -> Iterator[RunEvent | None]:
        while (news := self.coming.get()) is not None:
            if isinstance(news, Exception):
                raise news
            yield news


@pytest.fixture
def lab_side(run: RemoteRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Live]:
    """Give what stands behind the run."""
    side = _Live()
    monkeypatch.setattr(run, "_events", side.read)
    monkeypatch.setattr(run, "_live", side.live)
    yield side
    side.coming.put(None)


def _until(is_so: Callable[[], bool]) -> None:
    tick = threading.Event()
    while not is_so():
        tick.wait(0.001)


def test_who_asks_once_opens_nothing(run: RemoteRun, lab_side: _Live) -> None:
    """A script that reads all events needs no WebSocket."""
    assert [event.sequence for event in run.events()] == [0]
    assert [event.sequence for event in run.events()] == [0]
    assert lab_side.opened == []


def test_who_asks_on_is_told_by_websocket(run: RemoteRun, lab_side: _Live) -> None:
    """From the second time on; what is there by then is given at once."""
    run.events()
    lab_side.there.append(_event(1))
    assert [event.sequence for event in run.events(after=0)] == [1]
    assert (lab_side.asked, lab_side.opened) == ([-1, 0], [1])
    found: list[RunEvent] = []
    lab_side.coming.put(_event(2))
    _until(lambda: bool(found.extend(run.events(after=1)) or found))
    assert [event.sequence for event in found] == [2]
    assert lab_side.asked == [-1, 0]


def test_a_line_that_ended_is_asked_anew(run: RemoteRun, lab_side: _Live) -> None:
    """What it had not given yet is read from the lab."""
    run.events()
    run.events(after=0)
    lab_side.there.append(_event(1))
    lab_side.coming.put(LabUnreachableError("gone", fix=""))
    _until(lambda: run._feed is not None and run._feed.is_over)
    assert [event.sequence for event in run.events(after=0)] == [1]


def test_who_knows_of_news_is_not_put_off(
    desk: Desk, run: RemoteRun, lab_side: _Live
) -> None:
    """A state that was seen, or a command that was taken, stands among the events."""
    run.events()
    run.events(after=0)
    lab_side.there.append(_event(1))  # the WebSocket has not told it yet
    desk.tell("GET", "/runs/one", httpx.Response(200, json={**RUN, "state": "completed"}))
    assert run.state.is_final
    assert [event.sequence for event in run.events(after=0)] == [1]


def test_whoever_left_costs_nothing(
    run: RemoteRun, lab_side: _Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ends at the next sign of life of the lab."""
    run.events()
    run.events(after=0)
    collecting = run._feed
    assert collecting is not None
    monkeypatch.setattr(feed, "_UNUSED_S", 0.0)
    lab_side.coming.put(_event(1))
    _until(lambda: collecting.is_over)
