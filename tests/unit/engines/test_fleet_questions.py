"""How a node asks: one question at a time, with a reply where that saves a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.node_pb2 import Node

from flip_lab.engines.flower.fleet_frames import (
    NEXT_HEADER,
    PULL_PATH,
    PUSH_PATH,
    framed,
)
from flip_lab.engines.flower.fleet_pieces import Pieces
from flip_lab.engines.flower.fleet_questions import Questions
from flip_lab.engines.flower.fleet_wire import FleetWire

NOTHING = framed([PullMessagesResponse().SerializeToString()])


class Later(httpx.AsyncByteStream):
    """The rest of an answer, when the hub has something to say."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Wait for it."""
        await self.is_there.wait()
        yield NOTHING

    async def aclose(self) -> None:
        """Hang up."""
        self.is_closed = True


class Hub:
    """Answers a node, and keeps what it was asked."""

    def __init__(self, *, is_older: bool = False) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.rests: list[Later] = []
        self.is_asked = asyncio.Event()
        self.is_older = is_older

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as a hub does: pulls after a while, pushes at once."""
        path, asks = request.url.path, "x-flip-wait" in request.headers
        self.asked.append((path, asks))
        headers = {"x-flip-news": "1"}
        if path == PUSH_PATH and (self.is_older or not asks):
            return httpx.Response(200, headers=headers, content=b"")
        self.rests.append(rest := Later())
        self.is_asked.set()
        if path == PUSH_PATH:
            headers[NEXT_HEADER] = "1"
        return httpx.Response(200, headers=headers, stream=rest)

    def play(self, story: Callable[[Questions], Awaitable[None]]) -> None:
        """Let a node ask."""

        async def told() -> None:
            transport = httpx.MockTransport(self.answer)
            async with httpx.AsyncClient(transport=transport) as http:
                key = ec.generate_private_key(ec.SECP256R1())
                wire, node = FleetWire(http, "hub:1", key), Node(node_id=3)
                await story(Questions(wire, node, Pieces(wire, node), most_bytes=2**20))

        asyncio.run(told())


def test_a_push_asks_and_the_next_pull_hears_the_answer() -> None:
    """One request where there were two; the push is over before the answer is."""
    hub = Hub()

    async def story(questions: Questions) -> None:
        await questions.push(b"reply", wait_s=20)
        pulling = asyncio.create_task(questions.pull(wait_s=20))
        await asyncio.sleep(0)
        assert not pulling.done()
        hub.rests[0].is_there.set()
        pulled = await asyncio.wait_for(pulling, 60)
        assert pulled.message is None
        assert pulled.was_held
        assert hub.asked == [(PUSH_PATH, True)]
        assert hub.rests[0].is_closed

    hub.play(story)


def test_one_question_is_open_at_a_time() -> None:
    """A hub would answer two of them with the same message."""
    hub = Hub()

    async def story(questions: Questions) -> None:
        pulling = asyncio.create_task(questions.pull(wait_s=20))
        await hub.is_asked.wait()
        await questions.push(b"while a pull waits", wait_s=20)
        hub.rests[0].is_there.set()
        await pulling
        await questions.push(b"asks", wait_s=20)
        await questions.push(b"while that is open", wait_s=20)
        pushes = [asks for path, asks in hub.asked if path == PUSH_PATH]
        assert pushes == [False, True, False]
        await questions.end()

    hub.play(story)


def test_a_node_that_ends_asks_no_more() -> None:
    """What a push asked is let go of, and none asks another."""
    hub = Hub()

    async def story(questions: Questions) -> None:
        await questions.push(b"asks", wait_s=20)
        await questions.end()
        assert hub.rests[0].is_closed
        await questions.push(b"the last", wait_s=20)
        assert hub.asked[-1] == (PUSH_PATH, False)

    hub.play(story)


def test_a_hub_that_does_not_know_how_is_asked_as_before() -> None:
    """One that was not updated takes the reply, and no more."""
    hub = Hub(is_older=True)

    async def story(questions: Questions) -> None:
        await questions.push(b"reply", wait_s=20)
        pulling = asyncio.create_task(questions.pull(wait_s=20))
        await hub.is_asked.wait()
        hub.rests[0].is_there.set()
        assert (await pulling).was_held
        assert [path for path, _ in hub.asked] == [PUSH_PATH, PULL_PATH]

    hub.play(story)
