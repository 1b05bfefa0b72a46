"""Bodies: none too large, none too slow, none half of one; and numbers JSON lacks."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from flip_lab.api.app import create_app
from flip_lab.api.limits import Doorman, Limits
from flip_lab.api.replies import plain, to_json
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

SMALL = Limits(body_bytes=1000, upload_bytes=5000, wait_s=60.0, body_s=60.0)
HURRIED = replace(SMALL, wait_s=0.2, body_s=0.3)


class Told:
    """Collects what an ASGI app answers."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.messages: list[dict[str, Any]] = []

    async def __call__(self, message: Any) -> None:  # noqa: ANN401  # an ASGI message
        """Take a message."""
        self.messages.append(message)

    @property
    def status(self) -> int:
        """Give the status; there is one answer only."""
        starts = [m for m in self.messages if m["type"] == "http.response.start"]
        assert len(starts) == 1
        return starts[0]["status"]

    @property
    def problem(self) -> dict[str, Any]:
        """Give the problem."""
        return json.loads(b"".join(m.get("body", b"") for m in self.messages))


async def reader(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  # ASGI
    """Read the whole body and answer its length; as frameworks do, hide what goes wrong."""
    del scope
    size, status = 0, 200
    try:
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
    except Exception:  # noqa: BLE001  # FastAPI does so
        status = 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def asked(
    pieces: Callable[[], AsyncGenerator[bytes]],
    path: str = "/flip/v1/runs",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    limits: Limits = SMALL,
) -> Told:
    """Send a body in pieces through the door."""

    async def whole() -> Told:
        told, coming = Told(), pieces()

        async def receive() -> dict[str, Any]:
            try:
                piece = await anext(coming)
            except StopAsyncIteration:
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.request", "body": piece, "more_body": True}

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"host", b"localhost"), *headers],
        }
        await Doorman(reader, limits)(scope, receive, told)
        return told

    return asyncio.run(whole())


async def endless() -> AsyncGenerator[bytes]:
    """Send without end."""
    while True:
        yield b"x" * 300


async def trickling() -> AsyncGenerator[bytes]:
    """Send a byte from time to time, without end."""
    while True:
        await asyncio.sleep(0.05)
        yield b"x"


async def silent() -> AsyncGenerator[bytes]:
    """Begin, and never go on."""
    yield b"{"
    await asyncio.sleep(60)


async def little() -> AsyncGenerator[bytes]:
    """Send a little."""
    yield b"x" * 900


async def more() -> AsyncGenerator[bytes]:
    """Send what is too much for all but a piece of an upload."""
    yield b"x" * 900
    yield b"x" * 900


def test_a_body_that_fits_gets_through() -> None:
    """Nothing is taken from it."""
    told = asked(little)
    assert (told.status, told.problem) == (200, 900)


def test_an_endless_body_is_cut_off() -> None:
    """It is counted as it comes, whatever it says of its length."""
    told = asked(endless)
    assert (told.status, told.problem["code"]) == (413, "FLIP-707")


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    """Its length alone is enough."""
    told = asked(silent, headers=((b"content-length", b"1001"),))
    assert (told.status, told.problem["code"]) == (413, "FLIP-707")


def test_a_length_that_is_none_is_refused() -> None:
    """Neither words nor a minus sign make a length."""
    for length in (b"-1", b"ten", b"1e3", "٣".encode()):
        told = asked(little, headers=((b"content-length", length),))
        assert (told.status, told.problem["code"]) == (422, "FLIP-703")


def test_pieces_of_uploads_may_be_larger() -> None:
    """But they have an end, too."""
    assert asked(more).status == 413
    assert asked(more, path="/flip/v1/uploads/abc").status == 200
    assert asked(endless, path="/flip/v1/uploads/abc").status == 413
    assert asked(more, path="/flip/v1/uploadsandmore").status == 413


@pytest.mark.parametrize("slow", [silent, trickling])
def test_a_slow_body_is_not_waited_for(slow: Callable[[], AsyncGenerator[bytes]]) -> None:
    """Neither one that stops nor one that trickles keeps a worker busy."""
    told = asked(slow, limits=HURRIED)
    assert (told.status, told.problem["code"]) == (408, "FLIP-708")


def test_the_app_hides_nothing_of_it(
    lab_dir: LabDir, ask: Callable[..., TestClient]
) -> None:
    """FastAPI turns what goes wrong with a body into 400; our answer stands."""
    client = ask("ada", create_app(Lab(lab_dir.root), _Anybody(), limits=SMALL))

    def pieces() -> Generator[bytes]:
        for _ in range(10):
            yield b"x" * 300

    found = client.post("/runs", content=pieces())
    assert (found.status_code, found.json()["code"]) == (413, "FLIP-707")


class _Anybody:
    """Knows everybody."""

    def who(self, headers: object) -> Any:  # noqa: ANN401  # a person
        """Give somebody."""
        from flip_lab.api.access import OwnerAccess

        del headers
        return OwnerAccess(name="ada").who({})

    known = who


def test_what_is_no_json_is_told_so(client: TestClient) -> None:
    """Broken JSON, another type, half a character: problems all of them, never a fault."""
    kind = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff", b"[]", b'{"scenario": "\\ud800"}', b'{"\\ud800": 1}', b""):
        found = client.post("/runs", content=body, headers=kind)
        assert (body, found.status_code) == (body, 400 if body == b"\xff" else 422)
        assert found.headers["content-type"] == "application/problem+json"
        assert found.json()["code"] == "FLIP-703"


def test_numbers_that_json_lacks_are_texts() -> None:
    """They come back as what JavaScript calls them; large ones are not rounded."""
    value = {"a": [math.nan, math.inf, -math.inf, 1.5], "b": 2**64, "c": 2**64 - 1}
    assert json.loads(to_json(value)) == {
        "a": ["NaN", "Infinity", "-Infinity", 1.5],
        "b": str(2**64),
        "c": 2**64 - 1,
    }
    assert plain((1, {2: None})) == [1, {"2": None}]


def test_times_are_utc_and_bytes_are_told() -> None:
    """A time ends in Z; what JSON has no form for has one of ours."""
    moment = datetime(2026, 11, 22, 9, 30, 0, 250, tzinfo=UTC)
    assert json.loads(to_json([moment])) == ["2026-11-22T09:30:00.000250Z"]
    assert json.loads(to_json({"x": b"\x00\xff"})) == {"x": {"$base64": "AP8="}}
