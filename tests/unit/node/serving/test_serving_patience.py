"""An endpoint waits for heads of requests, but not for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from flip_lab.core.servers import bound_socket
from flip_lab.node.config import ServeSettings
from flip_lab.node.serving import listening, patience
from flip_lab.node.serving.app import create_app
from flip_lab.node.serving.served import ServedModels
from flip_lab.testing.serving_site import ServingSite


@pytest.fixture
def port(site: ServingSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the port of an endpoint with little patience."""
    monkeypatch.setattr(patience, "FIRST_S", 0.3)
    monkeypatch.setattr(patience, "NEXT_S", 0.3)
    monkeypatch.setattr(listening, "LOOK_EVERY_S", 0.05)
    app = create_app(ServedModels(site.config, site.shelf), token="t" * 20)
    is_ready = threading.Event()
    config = listening._uvicorn(app, ServeSettings())
    server = listening._Server(config, on_ready=is_ready.set)
    with bound_socket("127.0.0.1", 0) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        assert is_ready.wait(60)
        yield door.getsockname()[1]
        server.should_exit = True
        thread.join(60)


def said(port: int, *parts: bytes) -> bytes:
    """Connect, send something, and give all that comes until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        heard = b""
        for part in parts:
            line.sendall(part)
        while piece := line.recv(4096):
            heard += piece
        return heard


def test_heads_that_do_not_come_end_the_line(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, half a head, and half of a second one; what was whole is answered."""
    assert said(port) == b""
    assert said(port, b"GET /health HTTP/1.1\r\nHost: a") == b""
    monkeypatch.setattr(patience, "FIRST_S", 60.0)  # the first head is in time
    whole = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    assert b'"status": "ok"' in said(port, whole, b"GET /rea")
