"""The server's side of a WebSocket whose other side takes nothing."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.server import ServerState

from flip_lab.api.live import protocol as protocol_module
from flip_lab.api.live.protocol import BoundedWebSocket

_MEGABYTE = "m" * 2**20
_MUCH = 64  # more than any kernel buffers for one connection


class _Sender:
    """An app that sends much, and notes how far it came and how it ended."""

    def __init__(self) -> None:
        self.num_sent = 0
        self.is_over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # as ASGI
        page = WebSocket(scope, receive, send)
        await page.accept()
        sending = asyncio.create_task(self._send(page))
        while (await page.receive())["type"] != "websocket.disconnect":
            pass
        await asyncio.wait([sending], timeout=60)
        self.is_over.set()

    async def _send(self, page: WebSocket) -> None:
        with suppress(WebSocketDisconnect):
            for _ in range(_MUCH):
                await page.send_text(_MEGABYTE)
                self.num_sent += 1


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket by hand, so that nothing reads it by itself."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=own, limit=4096)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def _served(app: _Sender) -> Any:  # noqa: ANN401  # a maker of protocols
    config = uvicorn.Config(
        app, ws=BoundedWebSocket, ws_ping_interval=None, ws_per_message_deflate=False
    )
    config.load()
    state = ServerState()
    return lambda: BoundedWebSocket(config, state, {})


def test_a_sender_waits_and_who_takes_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Little piles up meanwhile, and the app is told that the page has gone."""
    monkeypatch.setattr(protocol_module, "CUT_AFTER_S", 0.3)

    async def story() -> int:
        app = _Sender()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_served(app), "127.0.0.1", 0)
        async with server:
            _, writer = await _connected(server.sockets[0].getsockname()[1])
            await asyncio.wait_for(app.is_over.wait(), 60)
            writer.close()
        return app.num_sent

    assert asyncio.run(story()) < _MUCH


def test_who_is_slow_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something is taken, all of it arrives."""
    monkeypatch.setattr(protocol_module, "CUT_AFTER_S", 60.0)

    async def story() -> tuple[int, int]:
        app = _Sender()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_served(app), "127.0.0.1", 0)
        async with server:
            reader, writer = await _connected(server.sockets[0].getsockname()[1])
            came, wanted = 0, _MUCH * 2**20
            while came < wanted and (data := await reader.read(2**20)):
                came += len(data)
            async with asyncio.timeout(60):
                while app.num_sent < _MUCH:  # noqa: ASYNC110  # it sets no event
                    await asyncio.sleep(0.01)
            writer.close()
            await asyncio.wait_for(app.is_over.wait(), 60)
        return app.num_sent, came

    num_sent, came = asyncio.run(story())
    assert num_sent == _MUCH
    assert came >= _MUCH * 2**20


def test_a_server_makes_room_for_more_connections_than_usual() -> None:
    """As many as the system grants; a thousand would be gone with a thousand pages."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = (
        "import resource; from flip_lab.api.live.protocol import make_room; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most})); make_room(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == (min(most, 65_536) if most > 0 else 65_536)
