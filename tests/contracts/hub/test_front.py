"""The front of a hub: which paths there are, and for whom."""

from __future__ import annotations

import asyncio
from itertools import product

import httpx
import pytest
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.main import create_app
from starlette.routing import Route

from flip_lab.engines.flower.superlink_calls import CONTROL, FLEET, RUNTIME
from flip_lab.hub.database_tokens import Role
from flip_lab.hub.front import Front
from flip_lab.testing.hub_probe import Asked, ProbedHub

OPEN = {"/health", "/ready"}
DRIVEN = {*CONTROL, *RUNTIME}
TRICKS = (
    "/v1/fleet",
    "/v1/fleet/",
    "/v1//fleet/pull-messages",
    "//v1/control/start-run",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/pull-messages/",
    "/V1/control/start-run",
    "/v1/control/start-run\x00",
    "/flip/v1",
    "/flip/v1/../../v1/control/start-run",
    "/flip/v2/runs",
    "/flip",
    "/",
    "/docs",
    "/openapi.json",
    "/metrics",
)


def flower_paths() -> list[tuple[str, str]]:
    """List every route of Flower's own app, and every call that it translates."""
    routes = [
        (method, route.path)
        for route in create_app().routes
        if isinstance(route, Route)
        for method in route.methods or ()
    ]
    return sorted({*routes, *PROTOBUF_REQUEST_TYPES})


def test_strangers_reach_nothing_of_flower(hub: ProbedHub) -> None:
    """Whatever Flower serves, a stranger gets 401 or 404, and /health."""

    async def story(asked: Asked) -> None:
        for method, path in flower_paths():
            headers = {"content-type": "application/protobuf"}
            answer = await asked.client.request(method, path, headers=headers)
            if path in OPEN:
                continue
            known = path in DRIVEN or path in FLEET
            wanted = {401, 429} if method == "POST" and known else {404}
            assert answer.status_code in wanted, (method, path, answer.text)

    hub.play(story)


@pytest.mark.parametrize(
    ("role", "refused"), [("viewer", {403, 404}), ("researcher", {404})]
)
def test_people_reach_what_their_role_allows(
    hub: ProbedHub, role: Role, refused: set[int]
) -> None:
    """A viewer drives nothing; a researcher reaches the calls of drivers and no others."""
    token = hub.token(role, f"{role}-of-walls")

    async def story(asked: Asked) -> None:
        for method, path in flower_paths():
            headers = {
                "content-type": "application/protobuf",
                "authorization": f"Bearer {token}",
            }
            answer = await asked.client.request(method, path, headers=headers)
            if path in OPEN:
                continue
            if method != "POST" or path not in {*DRIVEN, *FLEET}:
                assert answer.status_code == 404, (method, path)
            elif path in FLEET:
                assert answer.status_code in {401, 429}, path
            elif role == "viewer":
                assert answer.status_code == 403, path
            else:
                assert answer.status_code not in refused, path

    hub.play(story)


def test_our_own_routes_ask_for_a_role(hub: ProbedHub) -> None:
    """Of the hub's own routes strangers reach the authority and enrolment alone."""
    viewer, researcher = hub.token("viewer", "vera"), hub.token("researcher", "rob")
    public = {("get", "/flip/v1/device/ca"), ("post", "/flip/v1/device/enroll")}

    async def story(asked: Asked) -> None:
        paths = asked.active.own.openapi()["paths"]  # pyright: ignore[reportFunctionMemberAccess]  # a FastAPI app
        assert len(paths) > 10
        routes = [(verb, path) for path, verbs in paths.items() for verb in verbs]
        for verb, path in routes:
            for token in ("", viewer, researcher):
                asked.active.admission._failures.clear()
                headers = {"authorization": f"Bearer {token}"} if token else {}
                answer = await asked.client.request(verb, path, headers=headers)
                if (verb, path) in public:
                    assert answer.status_code in {200, 422}, path
                elif not token or "/device/" in path:
                    assert answer.status_code == 401, (verb, path, answer.text)
                elif token == viewer and verb != "get":
                    assert answer.status_code == 403, (verb, path, answer.text)
                else:
                    assert answer.status_code != 401, (verb, path)

    hub.play(story)


@pytest.mark.parametrize("path", TRICKS)
def test_odd_paths_lead_nowhere(hub: ProbedHub, path: str) -> None:
    """A path is what it says: nothing is cleaned up on the way to a door."""

    async def story(asked: Asked) -> None:
        for method, kind in product(("GET", "POST"), ("application/protobuf", "text/html")):
            headers = {"content-type": kind, "authorization": f"Bearer {hub.admin}"}
            headers["host"] = "hub.example.org"
            assert await asked.raw(method, path, headers) == 404

    hub.play(story)


def test_what_a_hub_says_of_itself(hub: ProbedHub) -> None:
    """Health is public and tells the time; the lab behind needs a token."""

    async def story(asked: Asked) -> None:
        health = (await asked.client.get("/health")).json()
        assert (health["status"], health["role"], health["flip"]) == ("ok", "active", 1)
        assert health["time_s"] > 1.7e9
        assert (await asked.client.get("/ready")).status_code == 200
        assert (await asked.client.get("/flip/v1/runs")).status_code == 401
        headers = {"authorization": f"Bearer {hub.admin}"}
        runs = await asked.client.get("/flip/v1/runs", headers=headers)
        assert runs.json()["items"] == []
        about = (await asked.client.get("/flip/v1/hub", headers=headers)).json()
        assert (about["person"], about["num_online"]) == ("root", 0)

    hub.play(story)


def test_a_standby_says_that_it_is_one() -> None:
    """It is healthy, not ready, and sends everybody away for a moment."""

    async def story() -> None:
        transport = httpx.ASGITransport(Front(lambda: None))
        async with httpx.AsyncClient(
            transport=transport, base_url="https://hub.example.org"
        ) as client:
            assert (await client.get("/health")).json()["role"] == "standby"
            assert (await client.get("/ready")).status_code == 503
            answer = await client.post("/v1/fleet/pull-messages")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["code"] == "FLIP-809"

    asyncio.run(story())


def test_wrong_tokens_are_counted(hub: ProbedHub) -> None:
    """Twenty wrong tokens from one address, and it must wait; right ones still open."""

    async def story(asked: Asked) -> None:
        right = {"authorization": f"Bearer {hub.admin}"}
        assert (await asked.client.get("/flip/v1/hub", headers=right)).status_code == 200
        asked.active.admission._window_s = 1e9  # nothing is forgiven meanwhile
        answers = [
            await asked.client.get(
                "/flip/v1/hub/nodes",
                headers={"authorization": f"Bearer flip_aaaaaaaaaa_{number}"},
            )
            for number in range(25)
        ]
        codes = [answer.status_code for answer in answers]
        assert codes[:20] == [401] * 20
        assert codes[20:] == [429] * 5
        assert "retry-after" in answers[-1].headers
        assert (await asked.client.get("/flip/v1/hub", headers=right)).status_code == 200

    hub.play(story)
