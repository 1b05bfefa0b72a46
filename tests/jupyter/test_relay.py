"""What comes through: everything of the API's, nothing of Jupyter's secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flip_lab.jupyter.api_supervisor import ApiSupervisor


@pytest.fixture(autouse=True)
def _stand_in(stand_in: Path) -> None:
    del stand_in


async def test_a_path_arrives_as_it_was_sent(program: httpx.AsyncClient) -> None:
    """Percent-encoded slashes and umlauts survive the base URL that is taken off."""
    token = program.headers["Authorization"].split()[-1]
    address = f"v1/seen/a%2Fb/%C3%A4?q=%26+x&limit=5&token={token}&_xsrf=y"
    seen = (await program.get(address)).json()
    assert seen["path"] == "/v1/seen/a%2Fb/%C3%A4"
    assert seen["query"] == "q=%26+x&limit=5"


async def test_jupyters_secrets_stay_with_jupyter(page: httpx.AsyncClient) -> None:
    """The API sees neither cookie nor token; the page keeps its own XSRF cookie."""
    token = page.cookies["_xsrf"]
    asked = {"X-XSRFToken": token, "If-Match": '"6"', "Idempotency-Key": "k"}
    answer = await page.post("v1/seen/x", headers=asked)
    headers = answer.json()["headers"]
    assert not headers.keys() & {"cookie", "authorization", "x-xsrftoken", "origin"}
    assert (headers["if-match"], headers["idempotency-key"]) == ('"6"', "k")
    assert headers["host"] == "localhost"
    assert page.cookies["_xsrf"] == token


async def test_answers_keep_their_status_and_headers(program: httpx.AsyncClient) -> None:
    """Location gains the base URL; an ETag is the API's; a problem is a problem."""
    made = await program.post("v1/seen/x", content=b"12345")
    assert (made.status_code, made.json()["body_bytes"]) == (201, 5)
    assert made.headers["Location"] == "/user/j%C3%BCrgen/flip/v1/runs/one"
    assert made.headers["ETag"] == '"7"'
    known = await program.get("v1/unchanged", headers={"If-None-Match": '"7"'})
    assert (known.status_code, known.content) == (304, b"")
    stale = await program.patch("v1/problem")
    assert (stale.status_code, stale.json()) == (412, {"code": "FLIP-705"})
    assert stale.headers["Content-Type"] == "application/problem+json"
    head = await program.head("v1/seen/x")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0


async def test_nothing_acts_with_jupyters_cookies(program: httpx.AsyncClient) -> None:
    """A report or artifact that is opened is a stranger to Jupyter's pages."""
    answer = await program.get("v1/seen/x")
    policies = answer.headers.get_list("Content-Security-Policy")
    assert any("sandbox" in each and "same-origin" not in each for each in policies)


async def test_a_large_answer_is_streamed(program: httpx.AsyncClient) -> None:
    """Who reads only the beginning of an endless answer gets it."""
    async with program.stream("GET", "v1/endless") as answer:
        pieces = answer.aiter_raw()
        assert sum([len(await anext(pieces)) for _ in range(50)]) > 0
    assert (await program.get("v1/seen/x")).status_code == 200


async def test_websockets_go_both_ways_and_end_as_the_api_ends_them(
    program: httpx.AsyncClient, live: str, dial: Callable[..., connect]
) -> None:
    """Texts come back; the close code and its reason are the API's."""
    token = {"Authorization": program.headers["Authorization"]}
    async with dial(f"{live}v1/echo", additional_headers=token) as socket:
        for text in ("ä", "x" * 100_000):
            await socket.send(text)
            assert await socket.recv() == text
        await socket.send("end")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert (socket.close_code, socket.close_reason) == (4404, "No such run.")


async def test_the_api_hears_that_a_page_has_gone(
    program: httpx.AsyncClient, live: str, dial: Callable[..., connect]
) -> None:
    """A subscriber that leaves is none any more."""
    token = {"Authorization": program.headers["Authorization"]}
    async with dial(f"{live}v1/echo", additional_headers=token) as socket:
        await socket.send("here")
        await socket.recv()
        assert (await program.get("v1/listeners")).json() == 1
    while (await program.get("v1/listeners")).json():
        pass


async def test_a_refused_websocket_is_refused(
    program: httpx.AsyncClient, live: str, dial: Callable[..., connect]
) -> None:
    """What the API does not accept is not accepted before."""
    token = {"Authorization": program.headers["Authorization"]}
    with pytest.raises(InvalidStatus, match="403"):
        await dial(f"{live}v1/refused", additional_headers=token)


async def test_a_process_that_ends_in_the_middle(
    program: httpx.AsyncClient,
    live: str,
    dial: Callable[..., connect],
    supervisor: ApiSupervisor,
) -> None:
    """A change is not repeated, its answer says so; views are told to connect again."""
    token = {"Authorization": program.headers["Authorization"]}
    async with dial(f"{live}v1/echo", additional_headers=token) as socket:
        answer = await program.post("v1/dies")
        assert answer.status_code == 502
        assert "whether what you asked for has happened" in answer.json()["fix"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
    assert (await program.get("v1/dies")).status_code == 502  # repeated, once
    assert (await program.get("v1/seen/x")).status_code == 200
    assert supervisor.pid is not None
