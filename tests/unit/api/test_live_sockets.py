"""Live by WebSocket: what a page is told, and when it is closed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocketDisconnect

from flip_lab.api import service as service_module
from flip_lab.api.live import subscriber as subscriber_module
from flip_lab.api.live.hub import Hub
from flip_lab.api.live.ring import Message
from flip_lab.api.live.roster import Roster
from flip_lab.api.live.subscriber import MOST_MESSAGES, Subscriber
from flip_lab.api.live.telemetry import Telemetry
from flip_lab.api.pages import page as page_module
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient, WebSocketTestSession

MakeRun = Callable[..., Run]
Ask = Callable[..., "TestClient"]

V1 = "/flip/v1"


@contextmanager
def _opened(client: TestClient, path: str) -> Iterator[WebSocketTestSession]:
    """Open a WebSocket; its address holds the host, as a browser's does."""
    with client.websocket_connect(f"ws://localhost{V1}{path}") as socket:
        yield socket


def _closed(socket: WebSocketTestSession) -> int:
    """Read until it is closed, and give the code."""
    while True:
        try:
            socket.receive_json()
        except WebSocketDisconnect as closed:
            return closed.code


def test_an_ended_run_is_told_and_the_socket_closed(ask: Ask, make_run: MakeRun) -> None:
    """All its events, its end, and code 1000; a part of the id is enough."""
    run = make_run("run-a")
    client = ask("guest")
    with _opened(client, "/runs/run/live") as socket:
        first = socket.receive_json()
        assert [e["sequence"] for e in first["events"]] == [
            e.sequence for e in run.events()
        ]
        assert first["reached"] == run.events()[-1].sequence
        assert "superseded" not in first
        assert socket.receive_json() == {"type": "end", "state": "completed"}
        assert _closed(socket) == 1000
    with _opened(client, f"/runs/run-a/live?after={first['reached'] - 1}") as socket:
        assert len(socket.receive_json()["events"]) == 1


def test_strangers_and_unknown_runs_are_told_why(ask: Ask, make_run: MakeRun) -> None:
    """A problem, and then the code of its status."""
    make_run("run-a")
    for name, path, code, problem in (
        (None, "/live", 4401, "FLIP-701"),
        (None, "/runs/run-a/live", 4401, "FLIP-701"),
        ("guest", "/runs/nobody/live", 4404, "FLIP-301"),
    ):
        with _opened(ask(name), path) as socket:
            told = socket.receive_json()
            assert (told["type"], told["code"]) == ("problem", problem)
            assert _closed(socket) == code


def test_the_list_is_told_as_it_changes(
    ask: Ask, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """First where it stands, then rows that changed."""
    make_run("run-a")
    client = ask()
    with _opened(client, "/live") as socket:
        hello = socket.receive_json()
        assert (hello["type"], hello["rows"]) == ("runs", [])
        Lab(lab_dir.root).tag("run-a", "good")
        news = socket.receive_json()
        assert [row["tags"] for row in news["rows"]] == [["good"]]
        assert news["position"] > hello["position"]
    with _opened(client, f"/live?after={hello['position']}") as socket:
        assert socket.receive_json()["rows"] == news["rows"]
    with _opened(client, "/live?after=5") as socket:
        assert socket.receive_json() == {"type": "reload"}


def test_silence_is_broken_by_heartbeats(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page can tell a quiet lab from a dead server."""
    monkeypatch.setattr(subscriber_module, "HEARTBEAT_S", 0.05)
    with _opened(ask(), "/live") as socket:
        socket.receive_json()
        beat = socket.receive_json()
        assert beat["type"] == "heartbeat"
        assert beat["time_s"] > 1_000_000_000


@pytest.mark.parametrize("path", ["/live", "/runs/run-a/live", "/boards/run?run_id=run-a"])
def test_who_is_let_in_no_more_looks_no_more(
    app: FastAPI,
    ask: Ask,
    lab_dir: LabDir,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    """A token that is revoked, or ends, also closes what it opened before."""
    make_run("run-a", state=RunState.PAUSED)
    monkeypatch.setattr(service_module, "ADMITTED_S", 0.05)
    for module in (subscriber_module, page_module):
        monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    with life_sign.held_lock(lab_dir.run_dir("run-a")), _opened(ask(), path) as socket:
        socket.receive_json()
        monkeypatch.setattr(type(app.state.service.access), "known", lambda *_: None)
        monkeypatch.setattr(type(app.state.service.access), "who", lambda *_: None)
        told = socket.receive()
        for _ in range(200):  # heartbeats, if it goes on
            if told["type"] == "websocket.close":
                break
            told = socket.receive()
        assert told.get("code") == 4401


@pytest.mark.parametrize("path", ["/live", "/runs/run-a/live"])
def test_a_page_that_floods_is_closed_on(
    ask: Ask, lab_dir: LabDir, make_run: MakeRun, path: str
) -> None:
    """Some messages are borne, more in a second are not."""
    make_run("run-a", state=RunState.PAUSED)
    with life_sign.held_lock(lab_dir.run_dir("run-a")), _opened(ask(), path) as socket:
        for _ in range(3 * MOST_MESSAGES):
            socket.send_text("{}")
        assert _closed(socket) == 4429


def test_there_are_so_many_sockets_and_no_more(app: FastAPI, ask: Ask) -> None:
    """One too many is told so; those that there are go on."""
    service = app.state.service
    few = Hub(service.lab_dir, service.roster, most=1)
    app.state.service = replace(service, hub=few)
    client = ask()
    with _opened(client, "/live") as first:
        first.receive_json()
        with _opened(client, "/live") as second:
            told = second.receive_json()
            assert (told["type"], told["code"]) == ("problem", "FLIP-712")
            assert _closed(second) == 4429


class _Stuck:
    """A WebSocket whose other side takes nothing, and says nothing either."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.closed: list[int] = []

    async def accept(self, **_: object) -> None:
        """Open."""

    async def receive(self) -> dict[str, Any]:
        """Hear nothing."""
        await asyncio.Event().wait()
        return {}

    async def send_text(self, _: str) -> None:
        """Wait for the other side."""
        await asyncio.Event().wait()

    async def close(self, code: int) -> None:
        """Note the code; it does not come through either."""
        self.closed.append(code)
        await asyncio.Event().wait()


class _Endless:
    """A source that always has something."""

    ended: str | None = None

    @property
    def news(self) -> asyncio.Event:
        """Give what nobody needs to wait for."""
        return asyncio.Event()

    async def take(self, after: int) -> Message | None:
        """Give the next."""
        return Message(text="{}", reached=after + 1, count=1)


def test_who_takes_nothing_is_let_go(
    lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is half open ends, although it never says so, and is counted."""
    monkeypatch.setattr(subscriber_module, "SEND_TIMEOUT_S", 0.05)
    roster = Roster(Lab(lab_dir.root))
    telemetry = Telemetry(roster, Hub(lab_dir, roster))
    socket: Any = _Stuck()
    subscriber = Subscriber(socket, _Endless(), after=-1, telemetry=telemetry)
    asyncio.run(asyncio.wait_for(subscriber.serve(), 30))
    assert socket.closed == [4408]
    assert b"flip_subscribers_dropped_total 1.0" in telemetry.text()


def test_what_the_server_counts(ask: Ask, make_run: MakeRun) -> None:
    """Requests by the template of their route, runs by state, what was sent."""
    run = make_run("run-a")
    client = ask()
    for _ in range(3):
        client.get("/runs/run-a")
    client.get("/nowhere/at/all")
    with _opened(client, "/runs/run-a/live") as socket:
        assert _closed(socket) == 1000
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    name = "flip_request_duration_seconds_count"
    labels = 'method="GET",route="/runs/{run_id}",status="200"'
    assert f"{name}{{{labels}}} 3.0" in lines
    assert f'{name}{{method="GET",route="other",status="404"}} 1.0' in lines
    assert 'flip_runs{state="completed"} 1.0' in lines
    assert "flip_roster_rows 1.0" in lines
    assert f"flip_events_sent_total {len(run.events())}.0" in lines
    assert "flip_subscribers 0.0" in lines
    assert ask(None).get("/metrics").status_code == 401
