"""A lab behind a desk that answers as the API does, without a server."""

from __future__ import annotations

import httpx
import pytest

from flip_lab.client import patience
from flip_lab.client.address import read_address
from flip_lab.client.line import Line
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.client.wire import Wire
from flip_lab.testing.desk import RUN, Desk


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a desk; whoever asks again does so without a pause."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "_wait", lambda _: 0.0)
    return Desk()


@pytest.fixture
def wire(desk: Desk) -> Wire:
    """Give a wire to the desk."""
    address = read_address("http://127.0.0.1:8765", "secret")
    return Wire(Line(address, timeout_s=0.3, transport=desk))


@pytest.fixture
def lab(wire: Wire) -> RemoteLab:
    """Give a lab behind the desk."""
    return RemoteLab(wire)


@pytest.fixture
def run(desk: Desk, lab: RemoteLab) -> RemoteRun:
    """Give a run under way of that lab; the desk has forgotten being asked for it."""
    desk.tell("GET", "/runs/one", httpx.Response(200, json=dict(RUN)))
    found = lab.run("one")
    desk.asked.clear()
    return found
