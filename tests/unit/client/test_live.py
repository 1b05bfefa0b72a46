"""Events as they happen: each once and in order, whatever the line does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from flip_lab.client import live
from flip_lab.client.live import Course
from flip_lab.client.remote_run import RemoteRun
from flip_lab.core import errors
from flip_lab.core.events import EventKind, RunEvent


def _event(sequence: int) -> RunEvent:
    return RunEvent(
        run_id="one",
        sequence=sequence,
        time_s=0.0,
        server_round=0,
        kind=EventKind.WARNING,
        body={"code": "", "message": str(sequence)},
    )


ALL = [_event(sequence) for sequence in range(30)]


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 30)), max_size=20))
def test_any_pieces_give_each_event_once(pieces: list[tuple[int, int]]) -> None:
    """Pieces may overlap, come twice, come late, or leave something out."""
    course, found = Course(-1), list[RunEvent]()
    for begin, end in pieces:
        reached = max(end - 1, course.reached)

        def read(after: int, until: int = reached) -> Sequence[RunEvent]:
            return ALL[after + 1 : until + 1]

        found += course.new(ALL[begin:end], read)
    assert [event.sequence for event in found] == [*range(len(found))]
    assert course.reached == len(found) - 1
    assert course.reached >= max(
        (end - 1 for begin, end in pieces if begin < end), default=-1
    )


class _Line:
    """Plays connections one after another: messages, or what breaks them."""

    def __init__(self, connections: Iterable[Sequence[object]]) -> None:
        self._connections = iter(connections)
        self.opened: list[str] = []

    @contextmanager
    def open(self, _: object, url: str) -> Iterator[Any]:
        self.opened.append(url)
        messages = iter(next(self._connections))

        def recv(timeout: float) -> str:
            assert timeout > 10  # a heartbeat comes every 10 s
            message = next(messages)
            if isinstance(message, Exception):
                raise message
            return json.dumps(message)

        yield SimpleNamespace(recv=recv)


def _events(*sequences: int) -> dict[str, object]:
    told = [
        {
            "sequence": event.sequence,
            "time_s": event.time_s,
            "server_round": event.server_round,
            "kind": event.kind.value,
            "body": dict(event.body),
        }
        for event in (ALL[sequence] for sequence in sequences)
    ]
    return {"type": "events", "events": told, "reached": sequences[-1]}


def _follow(
    run: RemoteRun,
    monkeypatch: pytest.MonkeyPatch,
    connections: Iterable[Sequence[object]],
) -> tuple[list[int], list[str]]:
    line = _Line(connections)
    monkeypatch.setattr(live, "_opened", line.open)
    monkeypatch.setattr(run, "_events", lambda after: ALL[after + 1 : 6])
    return [event.sequence for event in run.follow()], line.opened


BROKEN = ConnectionClosedError(None, None)
END: dict[str, object] = {"type": "end", "state": "completed"}


def test_a_broken_line_is_opened_again_where_it_was(
    run: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts anew in between, and says some of it twice."""
    found, opened = _follow(
        run,
        monkeypatch,
        [
            [_events(0, 1), {"type": "heartbeat", "time_s": 1.0}, BROKEN],
            [ConnectionRefusedError()],
            [_events(1, 2), {"type": "reload"}],
            [_events(5), END],
        ],
    )
    assert found == [0, 1, 2, 3, 4, 5]
    assert [url.rpartition("=")[2] for url in opened] == ["-1", "1", "1", "2"]


def test_what_came_last_is_asked_for_at_the_end(
    run: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end may be told before the last events."""
    assert _follow(run, monkeypatch, [[_events(0), END]])[0] == [0, 1, 2, 3, 4, 5]


def test_a_problem_ends_it(run: RemoteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised as the error that it was."""
    told = {
        "type": "problem",
        "code": "FLIP-301",
        "detail": "gone",
        "fix": "",
        "status": 404,
    }
    with pytest.raises(errors.RunNotFoundError, match="gone"):
        _follow(run, monkeypatch, [[_events(0), told]])


def test_a_stranger_is_told_at_once(
    run: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is refused is refused again."""
    refused = InvalidStatus(SimpleNamespace(status_code=403))  # pyright: ignore[reportArgumentType]  # all that is looked at
    with pytest.raises(errors.NotAuthenticatedError):
        _follow(run, monkeypatch, [[refused]])


@pytest.mark.usefixtures("hurrying_clock")
def test_a_lab_that_stays_away_is_told_of(
    run: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends after the time that a request may take."""
    always = repeat([ConnectionRefusedError("refused")])
    with pytest.raises(errors.LabUnreachableError, match="refused"):
        _follow(run, monkeypatch, always)
