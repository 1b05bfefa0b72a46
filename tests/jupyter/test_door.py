"""Who gets in: nobody without Jupyter's login, and no foreign page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import httpx
import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp
from tornado.web import Application
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.relay import Relay
from flip_lab.jupyter.relay_live import LiveRelay

EVIL = Origin("http://evil.example")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PLACES = ("v1/health", "v1/runs", "v1/nowhere", "")


def our_handlers(application: Application) -> Iterator[type]:
    """Give every handler that our package has added to Jupyter."""
    for rule in application.default_router.rules:
        for inner in getattr(rule.target, "rules", []):
            if getattr(inner.target, "__module__", "").startswith("flip_lab."):
                yield inner.target


def test_only_two_handlers_are_at_the_door(jp_serverapp: ServerApp) -> None:
    """Every handler of ours is one of the two that the tests below try."""
    assert set(our_handlers(jp_serverapp.web_app)) == {Relay, LiveRelay}


@pytest.mark.parametrize("is_lax", [False, True])
async def test_a_stranger_reaches_nothing(
    stranger: httpx.AsyncClient,
    live: str,
    dial: Callable[..., connect],
    supervisor: ApiSupervisor,
) -> None:
    """Each method at each place is refused, and starts nothing."""
    for method, place in product(METHODS, PLACES):
        answer = await stranger.request(method, place)
        assert answer.status_code == 403, (method, place)
        assert answer.headers["content-type"] == "application/problem+json"
        if method != "HEAD":
            assert answer.json()["code"] == "FLIP-701"
    with pytest.raises(InvalidStatus, match="403"):
        await dial(f"{live}v1/live")
    assert supervisor.pid is None


async def test_a_page_reads(page: httpx.AsyncClient, stand_in: Path) -> None:
    """A browser's cookie is enough to look."""
    del stand_in
    assert (await page.get("v1/seen/x")).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_foreign_page_changes_nothing(
    page: httpx.AsyncClient, supervisor: ApiSupervisor, method: str
) -> None:
    """The cookie alone, as a form on a foreign page would send it, is refused."""
    refused = await page.request(method, "v1/seen/x")
    assert (refused.status_code, refused.json()["code"]) == (403, "FLIP-702")
    stolen = {"X-XSRFToken": page.cookies["_xsrf"], "Origin": EVIL}
    foreign = await page.request(method, "v1/seen/x", headers=stolen)
    assert foreign.status_code == 404  # as Jupyter's own handlers answer foreign pages
    assert supervisor.pid is None


async def test_jupyters_own_page_changes_things(
    page: httpx.AsyncClient, stand_in: Path
) -> None:
    """With the XSRF token, and from Jupyter's own origin, a change gets through."""
    del stand_in
    own = {
        "X-XSRFToken": page.cookies["_xsrf"],
        "Origin": f"http://{page.base_url.netloc.decode()}",
    }
    assert (await page.post("v1/seen/x", headers=own)).status_code == 201


async def test_a_foreign_page_opens_no_websocket(
    page: httpx.AsyncClient, live: str, dial: Callable[..., connect], stand_in: Path
) -> None:
    """A browser sends cookies with a foreign page's WebSocket; the origin tells."""
    del stand_in
    cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    known = {"Cookie": cookies}
    with pytest.raises(InvalidStatus, match="403"):
        await dial(f"{live}v1/echo", additional_headers=known, origin=EVIL)
    while (await page.get("v1/listeners")).json():
        pass  # what was opened behind the door is closed
    own = Origin(f"http://{page.base_url.netloc.decode()}")
    async with dial(f"{live}v1/echo", additional_headers=known, origin=own) as socket:
        await socket.send("here")
        assert await socket.recv() == "here"


async def test_a_foreign_name_reaches_nothing(page: httpx.AsyncClient) -> None:
    """A name that an attacker made point here is not this Jupyter's."""
    answer = await page.get("v1/seen/x", headers={"Host": "evil.example"})
    assert answer.status_code == 403


async def test_jupyters_authorizer_decides(
    jp_serverapp: ServerApp,
    program: httpx.AsyncClient,
    live: str,
    dial: Callable[..., connect],
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody who may only read cannot write, nor hold a WebSocket that steers."""
    del stand_in
    asked: list[str] = []

    class ReadersOnly(Authorizer):
        def is_authorized(
            self, handler: JupyterHandler, user: object, action: str, resource: str
        ) -> bool:
            del handler, user
            asked.append(f"{action} {resource}")
            return action == "read"

    authorizer = ReadersOnly(parent=jp_serverapp)
    monkeypatch.setitem(jp_serverapp.web_app.settings, "authorizer", authorizer)
    assert (await program.get("v1/seen/x")).status_code == 200
    assert (await program.post("v1/seen/x")).status_code == 403
    token = {"Authorization": program.headers["Authorization"]}
    with pytest.raises(InvalidStatus, match="403"):
        await dial(f"{live}v1/echo", additional_headers=token)
    assert asked == ["read flip_lab", "write flip_lab", "execute flip_lab"]
