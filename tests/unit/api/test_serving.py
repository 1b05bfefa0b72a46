"""A server that would not be safe does not start; its token is for its owner's eyes."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.api.limits import Doorman, Limits
from flip_lab.api.serving import Address, Server, listening, server_config
from flip_lab.api.tokens import token_in
from flip_lab.cli.main import app
from flip_lab.core.errors import ApiError, InvalidValueError, NotAllowedError


def test_a_token_is_made_once_and_kept(tmp_path: Path) -> None:
    """Long, at random, for the owner alone, and the same at the next start."""
    path, other = tmp_path / "api" / "token", tmp_path / "other"
    token = token_in(path)
    assert len(token) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_in(path) == token != token_in(other)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever read it would be let in."""
    path = tmp_path / "token"
    token_in(path)
    path.chmod(mode)
    with pytest.raises(NotAllowedError, match="chmod 600"):
        token_in(path)


@pytest.mark.parametrize(
    "content", ["", "short", "a token with spaces", "tab\there-it-is-so"]
)
def test_what_is_no_token(tmp_path: Path, content: str) -> None:
    """A file that was written by hand must hold one that nobody guesses."""
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InvalidValueError, match="holds no token"):
        token_in(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "lab.example.org"])  # noqa: S104  # that is what is refused
def test_tokens_do_not_travel_in_the_clear(host: str) -> None:
    """Other addresses than loopback need a proxy with TLS, and its name."""
    with pytest.raises(NotAllowedError, match="TLS"):
        Address(host=host).checked()
    behind = Address(host=host, hosts=frozenset({"Flip.Example.org"})).checked()
    assert behind.hosts == {"flip.example.org"}
    assert Address(host=host, socket=Path("api.sock")).checked().host == host


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("/flip", "/flip"), ("flip/", "/flip"), ("", ""), ("/", ""), ("/a/b", "/a/b")],
)
def test_prefixes(prefix: str, expected: str) -> None:
    """With or without strokes; what is no path is refused."""
    assert Address(prefix=prefix).checked().prefix == expected
    for bad in ("/a b", "/{x}", "/a?b", "/a#b", "/%2e"):
        with pytest.raises(InvalidValueError):
            Address(prefix=bad).checked()


def test_a_socket_is_for_its_owner(tmp_path: Path) -> None:
    """One that nobody listens at is replaced; one in use, or a file, is not."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(Address(socket=path)) as door:
        assert path.stat().st_mode & 0o777 == 0o600
        door.listen()
        with pytest.raises(ApiError, match="in use"), listening(Address(socket=path)):
            pass
    assert not path.exists()
    path.write_text("a file of somebody")
    with pytest.raises(ApiError), listening(Address(socket=path)):
        pass
    assert path.read_text() == "a file of somebody"


def test_a_port_that_is_taken_is_told(lab_path: Path) -> None:
    """The command says so with a fix, and as JSON for programs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(
            app, ["serve", "--lab", str(lab_path), "--port", port, "--json"]
        )
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert (error["code"], port in error["what"]) == ("FLIP-700", True)


def test_nothing_that_a_proxy_says_is_believed() -> None:
    """Addresses in headers are made up easily."""

    async def nothing(*_: object) -> None:
        """Serve nothing."""

    config = server_config(nothing)
    assert (config.proxy_headers, config.server_header) == (False, False)
    assert config.ws_max_size == 2**20


async def slow_app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI
    """Answer, but not at once."""
    del receive
    assert scope["type"] == "http"
    await asyncio.sleep(2.5)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def answer_to(address: tuple[str, int], *lines: bytes) -> bytes:
    """Send lines one by one; give the first line of the answer, empty for none."""
    reader, writer = await asyncio.open_connection(*address)
    with closing(writer):
        try:
            for line in lines:
                writer.write(line)
                await asyncio.sleep(0.2)
            return await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


def answers_of(app: Any, *cases: list[bytes]) -> list[bytes]:  # noqa: ANN401  # an ASGI app
    """Serve an app, send it each case over a connection of its own, give what it said."""

    async def story(door: socket.socket) -> list[bytes]:
        config, ready = server_config(app), asyncio.Event()
        config.lifespan = "off"
        server = Server(config, on_ready=ready.set)
        serving = asyncio.create_task(server.serve([door]))
        await ready.wait()
        told = [await answer_to(door.getsockname(), *lines) for lines in cases]
        server.should_exit = True
        await serving
        return told

    with socket.create_server(("127.0.0.1", 0)) as door:
        return asyncio.run(story(door))


def test_a_head_that_never_comes_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither silence nor half a head keeps a connection; an answer may take longer."""
    monkeypatch.setattr("flip_lab.api.patience.HEAD_S", 0.3)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    trickle = [head, *[b"X: y\r\n"] * 5]
    assert answers_of(slow_app, [], [head], trickle) == [b"", b"", b""]
    monkeypatch.setattr("flip_lab.api.patience.HEAD_S", 2.0)  # a whole head is in time
    assert answers_of(slow_app, [head + b"\r\n"]) == [b"HTTP/1.1 204 No Content\r\n"]


def test_a_websocket_of_another_page_is_refused_by_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It gets a 403 before the app hears of it, and nothing goes wrong on the way."""
    head = (
        b"GET /flip/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    told = answers_of(
        Doorman(slow_app, Limits()), [head + b"Origin: http://evil.example.org\r\n\r\n"]
    )
    assert told == [b"HTTP/1.1 403 Forbidden\r\n"]
    assert [record.message for record in caplog.records] == []
