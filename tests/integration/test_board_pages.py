"""A page of the API and a real run: launched, watched, paused and taken up by a board."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flip_lab.api.access import TokenAccess
from flip_lab.api.app import create_app
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab

PATIENCE_S = 240.0
Client = Any
Socket = Any


@pytest.fixture
def client(shared_lab: Lab) -> Iterator[Client]:
    """Give a client of the API of a lab."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP client
        from starlette.testclient import TestClient
    app = create_app(shared_lab, TokenAccess("secret", name="ada"))
    headers = {"Authorization": "Bearer secret"}
    with TestClient(app, base_url="http://localhost", headers=headers) as made:
        yield made


def read_until(socket: Socket, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read until a message says what is waited for; give all parts that came by then."""
    parts: dict[str, Any] = {}
    while True:
        message = socket.receive_json()
        parts |= message.get("parts", {})
        if is_so(message) or is_so(parts):
            return parts | message


def is_in(state: str) -> Callable[[dict[str, Any]], bool]:
    """Wait for a state of the run."""
    return lambda parts: parts.get("head", {}).get("state") == state


def test_a_run_is_launched_watched_and_steered_from_a_page(
    client: Client,
    shared_lab: Lab,
    until: Callable[[Callable[[], bool]], None],
) -> None:
    """What the page does is on record in its person's name; a reload shows it all."""
    edits = {"train.num_rounds": "1000000", "on": "in_process"}  # it does not end by itself
    launch = {"type": "ask", "ask": "launch", "edits": edits, "press": "p", "ticket": 1}
    with client.websocket_connect("/flip/v1/boards/launcher?scenario=digits-iid") as form:
        form.send_json(launch)
        run_id = read_until(form, lambda message: message.get("type") == "answer")["run"]
    run = shared_lab.run(run_id)
    address = f"/flip/v1/boards/run?run_id={run_id}"
    pause = {"type": "ask", "command": "pause", "ticket": 2}
    with client.websocket_connect(address) as page:
        read_until(page, is_in("running"))
        page.send_json(pause)
        parts = read_until(page, is_in("paused"))
        assert parts["head"]["state_words"] == "by ada"
    with client.websocket_connect(address) as page:
        again = read_until(page, is_in("paused"))
        assert again["can_steer"] is True
        assert {"curves", "clients", "cells", "nodes", "story"} <= again.keys()
        page.send_json({"type": "ask", "command": "stop", "ticket": 3})
        read_until(page, is_in("stopped"))
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    question = "SELECT action FROM audit WHERE author = 'ada'"  # told after it is done
    until(lambda: {"launch", "pause", "stop"} <= {*shared_lab.sql(question)["action"]})
