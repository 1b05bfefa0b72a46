"""Messages in Flower's own way: each object by a call of its own.

So it is with a stock SuperLink always, and with a hub of ours for messages that are too
large to be sent in one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node

from flip_lab.core.clock import tick_s
from flip_lab.engines.flower.fleet_wire import FleetWire

_OBJECT_WAIT_S = 600.0  # a driver sends a message first, and its arrays after it
_PAUSES_S = (0.05, 1.0)


class Pieces:
    """The calls of one node that bring and take messages piece by piece.

    Args:
        wire: What they are sent with.
        node: Whose they are.
    """

    def __init__(self, wire: FleetWire, node: Node) -> None:
        """Nothing is sent yet."""
        self._wire = wire
        self._node = node

    async def messages(self) -> PullMessagesResponse:
        """Ask for a message without its objects."""
        request = PullMessagesRequest(node=self._node)
        return await self._wire.call("pull-messages", request, PullMessagesResponse)

    async def pull(self, run_id: int, object_id: str) -> bytes:
        """Fetch one object, which may still be on its way to the hub.

        Raises:
            ValueError: If it is not there.
        """
        request = PullObjectRequest(node=self._node, run_id=run_id, object_id=object_id)
        end_s, pause_s = tick_s() + _OBJECT_WAIT_S, _PAUSES_S[0]
        while True:
            answer = await self._wire.call("pull-object", request, PullObjectResponse)
            if answer.object_available:
                return answer.object_content
            if not answer.object_found or tick_s() > end_s:
                raise ValueError(f"the hub has no object {object_id}")
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _PAUSES_S[1])

    async def confirm(self, run_id: int, message_id: str) -> None:
        """Say that all of a message is here."""
        confirmed = ConfirmMessageReceivedRequest(
            node=self._node, run_id=run_id, message_object_id=message_id
        )
        await self._wire.call(
            "confirm-message-received", confirmed, ConfirmMessageReceivedResponse
        )

    async def push(
        self, request: PushMessagesRequest, contents: Mapping[str, bytes]
    ) -> None:
        """Send a reply, and then its objects.

        Args:
            request: The reply.
            contents: Its objects by their ids.
        """
        answer = await self._wire.call("push-messages", request, PushMessagesResponse)
        run_id = request.messages_list[0].metadata.run_id
        for object_id in answer.objects_to_push:
            pushed = PushObjectRequest(
                node=self._node,
                run_id=run_id,
                object_id=object_id,
                object_content=contents[object_id],
                session_id=answer.session_id,
            )
            await self._wire.call("push-object", pushed, PushObjectResponse)
