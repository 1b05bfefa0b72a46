"""A lab behind a desk that answers as the API does, without a server."""

from __future__ import annotations

from functools import partial
from itertools import count
from types import SimpleNamespace

import httpx
import pytest
import tenacity

from flip_lab.client import files, live, patience, uploads
from flip_lab.client.address import read_address
from flip_lab.client.line import Line
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.client.wire import Wire
from flip_lab.testing.desk import RUN, Desk

TIMEOUT_S = 30.0


def _pause_s(state: tenacity.RetryCallState) -> float:
    """Give pauses that use up a request's time in six attempts, however long each takes."""
    return state.attempt_number * TIMEOUT_S / 6


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a desk; the pauses of whoever asks again are counted, not slept."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(patience, "_wait", _pause_s)
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))
    return Desk()


@pytest.fixture
def hurrying_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let five seconds pass with each look at the clock: patience ends soon."""
    for module in (files, live, uploads):
        monkeypatch.setattr(module, "tick_s", partial(next, count(0.0, 5.0)))


@pytest.fixture
def wire(desk: Desk) -> Wire:
    """Give a wire to the desk."""
    address = read_address("http://127.0.0.1:8765", "secret")
    return Wire(Line(address, timeout_s=TIMEOUT_S, transport=desk))


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
