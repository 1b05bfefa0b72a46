"""Jupyter Server in this process, with our extension and a real API process behind it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from jupyter_server.serverapp import ServerApp
from pytest_jupyter.jupyter_server import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]  # its fixtures, for this folder only
from websockets.asyncio.client import connect

from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.extension import FlipLabExtension

PATIENCE_S = 180  # shared machines are slow at times
BASE_URL = "/user/j%C3%BCrgen/"


@pytest.fixture
def jp_base_url() -> str:
    """Serve where JupyterHub would: below a person's name, percent-encoded."""
    return BASE_URL


@pytest.fixture
def is_lax() -> bool:
    """Say whether each handler has to refuse strangers by itself: Jupyter's default."""
    return False


@pytest.fixture
def jp_server_config(monkeypatch: pytest.MonkeyPatch, *, is_lax: bool) -> dict[str, object]:
    """Switch our extension on, and let nobody in without a token."""
    for name in ("FLIP_LAB_HOME", "FLIP_LAB_AUTHOR", "JUPYTERHUB_USER"):
        monkeypatch.setenv(name, "")  # the extension sets some: undone after the test
        monkeypatch.delenv(name)
    extensions = {"flip_lab.jupyter": True, "jupyter_server_terminals": False}
    return {
        "ServerApp": {
            "jpserver_extensions": extensions,
            "allow_unauthenticated_access": is_lax,
        }
    }


@pytest.fixture
def extension(jp_serverapp: ServerApp) -> FlipLabExtension:
    """Give our extension as Jupyter has loaded it."""
    apps = jp_serverapp.extension_manager.extension_apps["flip_lab.jupyter"]
    (ours,) = apps
    assert isinstance(ours, FlipLabExtension)
    return ours


@pytest.fixture
def supervisor(extension: FlipLabExtension) -> ApiSupervisor:
    """Give what supervises the API's process."""
    return extension.supervisor


@pytest.fixture
def stand_in(supervisor: ApiSupervisor) -> Path:
    """Put an API that does what the real one rarely does behind Jupyter."""
    program = Path(__file__).parent / "stand_in.py"
    supervisor._program = (sys.executable, str(program))
    return program


@pytest.fixture
def stranger(
    http_server: object, jp_http_port: int, jp_asyncio_loop: asyncio.AbstractEventLoop
) -> Iterator[httpx.AsyncClient]:
    """Give somebody without a token, standing before ``flip/``."""
    del http_server  # it serves from here on
    address = f"http://127.0.0.1:{jp_http_port}{BASE_URL}flip/"
    client = httpx.AsyncClient(base_url=address, timeout=PATIENCE_S)
    yield client
    jp_asyncio_loop.run_until_complete(client.aclose())


@pytest.fixture
def program(
    stranger: httpx.AsyncClient, jp_auth_header: dict[str, str]
) -> httpx.AsyncClient:
    """Give a program with Jupyter's token."""
    stranger.headers.update(jp_auth_header)
    return stranger


@pytest.fixture
def page(
    stranger: httpx.AsyncClient,
    jp_auth_header: dict[str, str],
    jp_asyncio_loop: asyncio.AbstractEventLoop,
) -> httpx.AsyncClient:
    """Give a page that has logged in; its XSRF token is the cookie ``_xsrf``."""

    async def log_in() -> None:
        await stranger.get("../login")
        await stranger.get("../api/status", headers=jp_auth_header)

    jp_asyncio_loop.run_until_complete(log_in())
    return stranger


@pytest.fixture
def dial() -> Callable[..., connect]:
    """Give what opens a WebSocket: the API, which may have to start first, has time."""
    return partial(connect, open_timeout=PATIENCE_S)


@pytest.fixture
def live(stranger: httpx.AsyncClient) -> str:
    """Give where WebSockets are opened: ``flip/``."""
    return str(stranger.base_url).replace("http://", "ws://")
