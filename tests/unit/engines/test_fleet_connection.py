"""What a node makes of messages that come while lines break and runs end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.supercore.error import ApiErrorCode

from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.fleet import FleetConnection
from flip_lab.engines.flower.fleet_frames import GOT_HEADER, framed
from flip_lab.engines.flower.fleet_objects import deflated
from flip_lab.engines.flower.messages import become_server

Connect = Callable[[str], FleetConnection]
Story = Callable[[Connect], Awaitable[None]]


class Hub:
    """Has one message, whose objects must be fetched one by one.

    Attributes:
        got: What the node said to have in hand, with each question.
        is_over: Whether the message's run has ended.
        is_deaf: Whether answers to confirmations get lost.
    """

    def __init__(self) -> None:
        """Make the message."""
        install_fast_arrays()
        become_server(5)
        content = RecordDict({"arrays": ArrayRecord([np.arange(3.0)])})
        message = Message(content, 77, "train")
        self.parts = deflated(message)
        self.head = PullMessagesResponse(
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[self.parts.tree],
        )
        self.got: list[str] = []
        self.is_over = False
        self.is_deaf = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as a hub does."""
        name = request.url.path.rpartition("/")[2]
        if name == "flip-pull":
            self.got.append(request.headers.get(GOT_HEADER, ""))
            return httpx.Response(200, content=framed([self.head.SerializeToString()]))
        if self.is_over:
            code = int(ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED)
            told = {"code": code, "detail": "The run is over."}
            return httpx.Response(HTTPStatus.FORBIDDEN, json=told)
        if name == "pull-object":
            object_id = PullObjectRequest.FromString(request.content).object_id
            found = PullObjectResponse(
                object_found=True,
                object_available=True,
                object_content=self.parts.contents[object_id],
            )
            return httpx.Response(200, content=found.SerializeToString())
        if self.is_deaf:
            raise httpx.ReadError("The line broke.")
        return httpx.Response(
            200, content=ConfirmMessageReceivedResponse().SerializeToString()
        )

    def play(self, story: Story) -> None:
        """Let a node ask, over as many connections as it likes."""

        async def told() -> None:
            transport = httpx.MockTransport(self.answer)
            async with httpx.AsyncClient(transport=transport) as http:
                key = ec.generate_private_key(ec.SECP256R1())

                def connect(got: str) -> FleetConnection:
                    return FleetConnection(http, "hub:1", key, most_bytes=2**20, got=got)

                await story(connect)

        asyncio.run(told())


@pytest.fixture
def hub() -> Hub:
    """Give a hub."""
    return Hub()


def test_a_new_line_is_told_what_came_over_the_one_before(hub: Hub) -> None:
    """The client works on it for an hour: given again, it would be done twice."""

    async def story(connect: Connect) -> None:
        first = connect("")
        assert (await first.pull(wait_s=1)).message is not None
        assert first.got == hub.parts.tree.object_id
        await connect(first.got).pull(wait_s=1)
        assert hub.got == ["", first.got]

    hub.play(story)


def test_a_run_that_ends_while_its_message_comes_ends_no_node(hub: Hub) -> None:
    """Nobody waits for it any more; the next message is asked for."""

    async def story(connect: Connect) -> None:
        hub.is_over = True
        pulled = await connect("").pull(wait_s=1)
        assert (pulled.message, pulled.problem, pulled.is_coming) == (None, "", False)

    hub.play(story)


def test_a_message_that_is_whole_counts_although_its_confirmation_got_lost(
    hub: Hub,
) -> None:
    """The hub let go of it: it could not be asked for again."""

    async def story(connect: Connect) -> None:
        hub.is_deaf = True
        connection = connect("")
        assert (await connection.pull(wait_s=1)).message is not None
        assert connection.got

    hub.play(story)
