"""Nobody gets in who is not known; nobody does what they may not; no page of others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute

from flip_lab.api.access import OwnerAccess, TokenAccess
from flip_lab.api.app import create_app
from flip_lab.api.limits import Doorman, Limits, is_loopback
from flip_lab.core.errors import NotAllowedError, NotAuthenticatedError
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

OPEN = {"/flip/v1/health", "/flip/v1/ready", "/flip/v1/openapi.json"}
"""What strangers may ask: whether it is there, and what it could do."""


@dataclass(frozen=True)
class Way:
    """A route and its whole path."""

    path: str
    route: Any

    @property
    def methods(self) -> frozenset[str]:
        """Give its methods; none for a WebSocket."""
        given = getattr(self.route, "methods", None) or ()
        return frozenset(given)


def all_ways(routes: Iterable[Any], prefix: str = "") -> Iterator[Way]:
    """Give every route, also those of routers within routers."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            more = route.include_context.prefix
            yield from all_ways(router.routes, prefix + more)
        elif (inner := getattr(route, "routes", None)) is not None:
            yield from all_ways(inner, prefix + getattr(route, "path", ""))
        else:
            yield Way(path=prefix + route.path, route=route)


@pytest.fixture
def ways(app: FastAPI) -> list[Way]:
    """Give every route of the app; none that the reference knows is missed."""
    found = list(all_ways(app.routes))
    told = {way.path.replace(":path}", "}") for way in found}
    assert set(app.openapi()["paths"]) <= told
    assert any(isinstance(way.route, APIWebSocketRoute) for way in found)
    return found


def filled(path: str) -> str:
    """Put something in place of each parameter of a path."""
    return re.sub(r"\{[^}]+\}", "x", path)


def test_no_route_answers_a_stranger(
    ways: list[Way], ask: Callable[..., TestClient]
) -> None:
    """Every method of every path, WebSockets too, asks first who is there."""
    stranger = ask(None)
    for way in ways:
        if way.path in OPEN:
            continue
        if isinstance(way.route, APIWebSocketRoute):
            with stranger.websocket_connect(f"ws://localhost{filled(way.path)}") as page:
                told = page.receive_json()
                assert (way.path, told["code"]) == (way.path, "FLIP-701")
                closing = page.receive()
                assert (closing["type"], closing["code"]) == ("websocket.close", 4401)
            continue
        assert way.methods
        for method in way.methods:
            found = stranger.request(method, f"http://localhost{filled(way.path)}")
            assert (way.path, method, found.status_code) == (way.path, method, 401)
            assert method == "HEAD" or found.json()["code"] == NotAuthenticatedError.code


def test_who_may_only_look_changes_nothing(
    ways: list[Way], ask: Callable[..., TestClient]
) -> None:
    """Whatever is not a GET needs a writer, but for questions too long for a path."""
    questions = {"/flip/v1/sql", "/flip/v1/scenarios/check", "/flip/v1/frames"}
    guest = ask("guest")
    for way in ways:
        if way.path in OPEN | questions:
            continue
        for method in way.methods - {"GET", "HEAD", "OPTIONS"}:
            found = guest.request(method, f"http://localhost{filled(way.path)}", json={})
            assert (way.path, method, found.status_code) == (way.path, method, 403)
            assert found.json()["code"] == NotAllowedError.code


def test_a_token_is_compared_whole() -> None:
    """Neither a part of it, nor another, nor none opens anything."""
    access = TokenAccess("s3cret-and-long", name="ada")
    right = access.who({"authorization": "Bearer s3cret-and-long"})
    assert right is not None
    assert right.name == "ada"
    shown = access.who({"sec-websocket-protocol": "json, bearer.s3cret-and-long"})
    assert shown == right
    wrong = ["", "Bearer ", "Bearer s3cret-and-lon", "Bearer s3cret-and-longg", "Basic x"]
    assert [access.who({"authorization": told}) for told in wrong] == [None] * len(wrong)
    assert access.who({"authorization": "Bearer ä€"}) is None
    assert access.who({}) is None


def test_an_owner_is_asked_nothing() -> None:
    """The socket let nobody else in."""
    person = OwnerAccess(name="ada").who({})
    assert (person.name, person.scopes) == ("ada", {"read", "write"}) if person else False


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:8765", True),
        ("lab.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]", True),
        ("[::1]:80", True),
        ("::1", True),
        ("localhost.evil.org", False),
        ("127.0.0.1.evil.org", False),
        ("192.0.2.7", False),
        ("evil.org", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:  # noqa: FBT001  # pytest gives it by name
    """Names that only look like it are not."""
    assert is_loopback(host) is expected


@pytest.fixture
def strict(lab_dir: LabDir, ask: Callable[..., TestClient]) -> TestClient:
    """Give a client of an app that is called localhost or flip.example.org."""
    limits = Limits(hosts=frozenset({"flip.example.org"}))
    served = create_app(Lab(lab_dir.root), OwnerAccess(name="ada"), limits=limits)
    return ask("ada", served)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8765", 200),
        ("flip.example.org", 200),
        ("FLIP.example.org:443", 200),
        ("evil.example.org", 403),
        ("flip.example.org.evil.org", 403),
        ("", 422),
        ("a b", 422),
        ("localhost:port", 422),
    ],
)
def test_only_its_own_names_are_answered(
    strict: TestClient, host: str, status: int
) -> None:
    """A page that points its own name at this machine (DNS rebinding) gets nothing."""
    found = strict.get("/health", headers={"Host": host})
    assert found.status_code == status
    if status != 200:
        assert found.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, "localhost:8765", 422),
        ("http://localhost:8765", "localhost:8765", 422),
        ("https://flip.example.org", "flip.example.org", 422),
        ("https://flip.example.org:8443", "flip.example.org", 422),
        ("http://flip.example.org", "flip.example.org:80", 422),
        ("http://localhost:9999", "localhost:8765", 403),
        ("http://evil.org", "localhost:8765", 403),
        ("null", "localhost:8765", 403),
        ("http://[", "localhost:8765", 403),
        ("http://localhost:99999", "localhost:8765", 403),
    ],
)
def test_pages_of_others_change_nothing(
    strict: TestClient, origin: str | None, host: str, status: int
) -> None:
    """An unsafe request of a page of another host ends at the door; others get on."""
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    found = strict.post("/runs", json={}, headers=headers)
    assert found.status_code == status
    assert strict.get("/health", headers=headers).status_code == 200  # looking is safe


def test_a_websocket_of_another_page_is_not_opened() -> None:
    """It is refused before the app hears of it."""
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/flip/v1/live",
        "headers": [(b"host", b"localhost"), (b"origin", b"http://evil.org")],
    }
    heard: list[dict[str, Any]] = []

    async def app(*_: object) -> None:
        raise AssertionError

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:  # noqa: ANN401  # an ASGI message
        heard.append(message)

    door = Doorman(app, Limits())
    asyncio.run(door(scope, receive, send))
    assert heard == [{"type": "websocket.close", "code": 4403, "reason": "FLIP-702"}]


def test_every_path_is_reached_by_its_own_route(ways: list[Way]) -> None:
    """No path is swallowed by an earlier one with a parameter."""
    for way in ways:
        reached = [
            other
            for other in ways
            if other.methods & way.methods
            and re.fullmatch(pattern_of(other.path), filled(way.path))
        ]
        assert not way.methods or reached[0].path == way.path


def pattern_of(path: str) -> str:
    """Give what a path matches."""
    whole = re.sub(r"\{\w+:path\}", ".*", path)
    return re.sub(r"\{\w+\}", "[^/]+", whole)
