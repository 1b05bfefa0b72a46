"""A node's connection to the Fleet API of a hub, or of a stock SuperLink.

Flower's own connection ends the process when it is refused, interrupts it when a heartbeat
is, and repeats for ever in between. This one raises, and its owner decides. It needs no
thread: one event loop serves a hundred nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto, user_config_from_proto
from flwr.proto.fab_pb2 import GetFabRequest, GetFabResponse
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import NodeLimitError
from flip_lab.engines.flower.fleet_frames import (
    GOT_HEADER,
    MOST_INLINE_BYTES,
    PULL_PATH,
    PUSH_PATH,
    framed,
    object_ids,
    unframed,
)
from flip_lab.engines.flower.fleet_objects import bare_message, deflated, inflated
from flip_lab.engines.flower.fleet_wire import (
    FleetWire,
    RunOverError,
    parsed,
    read_node_key,
)

__all__ = [
    "FleetConnection",
    "Pulled",
    "RunApp",
    "RunOverError",
    "read_node_key",
    "told_too_large",
]

REPLY_LESS = "Reply with less, or let the site raise message-mb in its node.toml."
"""What helps when a reply is too large."""

_HEARTBEAT_S = 10  # the shortest that Flower takes; two missed, and the node counts as away
_OBJECT_WAIT_S = 600.0  # a driver sends a message first, and its arrays after it


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What came of asking for a message.

    Attributes:
        message: The message with its content; ``None`` when there is none.
        problem: Why the message came without its content; empty when all is well.
        was_held: Whether the hub held the question until there might be something: then
            the next one may follow at once.
        is_coming: Whether a message is there whose arrays are still on their way.
    """

    message: Message | None = None
    problem: str = ""
    was_held: bool = False
    is_coming: bool = False


@dataclass(frozen=True, kw_only=True)
class RunApp:
    """The app of a run, as the hub has it.

    Attributes:
        fab: The bundle.
        overrides: Values of the run configuration that the run was started with.
    """

    fab: bytes
    overrides: Mapping[str, bool | int | float | str]


class FleetConnection:
    """One node's calls; each may raise what ``httpx`` raises.

    Attributes:
        is_ours: Whether a hub of ours answers; true until a stock SuperLink does.

    Args:
        http: The client to call with; nodes of one process share one.
        address: ``host:port``.
        key: The node's private key.
        most_bytes: Size of the largest message to fetch.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        address: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        most_bytes: int,
    ) -> None:
        """Nothing is sent yet."""
        self._wire = FleetWire(http, address, key)
        self._most_bytes = most_bytes
        self._node = Node()
        self._seen = ""  # the hub's word on how far we have heard
        self._got = ""
        self.is_ours = True  # until a stock SuperLink does not know our paths

    @property
    def node_id(self) -> int:
        """Flower's id of the node; 0 before ``activate``."""
        return self._node.node_id

    async def activate(self) -> int:
        """Come online; gives the node's id, the same each time."""
        request = ActivateNodeRequest(
            public_key=self._wire.public_key, heartbeat_interval=_HEARTBEAT_S
        )
        answer = await self._wire.call("activate-node", request, ActivateNodeResponse)
        self._node = Node(node_id=answer.node_id)
        self._seen, self.is_ours = "", True
        return answer.node_id

    async def beat(self, *, hold_s: float) -> bool:
        """Say that the node lives.

        Args:
            hold_s: How long a hub of ours shall hold its answer: while it does, it notices
                at once when this process is gone. A stock SuperLink answers at once.

        Returns:
            Whether the hub knows the node; one that was restarted does not.
        """
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=_HEARTBEAT_S)
        answer = await self._wire.call(
            "send-node-heartbeat", request, SendNodeHeartbeatResponse, wait_s=hold_s
        )
        return answer.success

    async def deactivate(self) -> None:
        """Say goodbye: from now on the node counts as away."""
        request = DeactivateNodeRequest(node_id=self._node.node_id)
        await self._wire.call("deactivate-node", request, DeactivateNodeResponse)

    async def app_of(self, run_id: int) -> RunApp:
        """Fetch the app of a run.

        Raises:
            RunOverError: If the run is over.
        """
        asked = GetRunRequest(node=self._node, run_id=run_id)
        run = (await self._wire.call("get-run", asked, GetRunResponse)).run
        wanted = GetFabRequest(node=self._node, hash_str=run.fab_hash, run_id=run_id)
        fab = (await self._wire.call("get-fab", wanted, GetFabResponse)).fab
        return RunApp(
            fab=fab.content, overrides=user_config_from_proto(run.override_config)
        )

    async def pull(self, *, wait_s: float) -> Pulled:
        """Ask for the next message, and wait for one where the hub lets us.

        Args:
            wait_s: How long a hub of ours may hold the question.

        Raises:
            HTTPStatusError: If the hub refuses.
        """
        if not self.is_ours:
            return await self._pull_stock()
        headers = {
            "x-flip-wait": f"{wait_s:.0f}",
            "x-flip-seen": self._seen,
            GOT_HEADER: self._got,
        }
        body = PullMessagesRequest(node=self._node).SerializeToString()
        try:
            response = await self._wire.post(
                PULL_PATH, body, headers=headers, wait_s=wait_s
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in {404, 405}:
                raise
            self.is_ours = False
            return await self._pull_stock()
        frames = unframed(response.content)
        if not frames:
            return Pulled(is_coming=True)
        self._seen = response.headers.get("x-flip-news", "")
        answer = parsed(PullMessagesResponse, frames[0])
        pulled = await self._message(answer, frames[1:], was_held=bool(self._seen))
        if answer.messages_list:
            self._got = answer.messages_list[0].metadata.message_id
        return pulled

    async def _pull_stock(self) -> Pulled:
        request = PullMessagesRequest(node=self._node)
        answer = await self._wire.call("pull-messages", request, PullMessagesResponse)
        return await self._message(answer, [], was_held=False)

    async def _message(
        self, answer: PullMessagesResponse, contents: list[bytes], *, was_held: bool
    ) -> Pulled:
        """Build the message of its objects, those that came and those to be fetched."""
        if not answer.messages_list:
            return Pulled(was_held=was_held)
        try:
            message, problem = await self._whole(answer, contents), ""
        except ValueError as error:
            message, problem = bare_message(answer), str(error)
        return Pulled(message=message, problem=problem, was_held=was_held)

    async def _whole(self, answer: PullMessagesResponse, contents: list[bytes]) -> Message:
        """Fetch what did not come along, and build the message.

        Raises:
            ValueError: If that cannot be, or the message is larger than the site allows.
        """
        tree = answer.message_object_trees[0]
        run_id = answer.messages_list[0].metadata.run_id
        ids = object_ids(tree)
        found = dict(zip(ids, contents, strict=False))
        room = self._most_bytes - sum(map(len, contents))
        for object_id in ids[len(contents) :]:
            found[object_id] = await self._object(run_id, object_id)
            room -= len(found[object_id])
            if room < 0:
                break
        if not contents:
            confirmed = ConfirmMessageReceivedRequest(
                node=self._node, run_id=run_id, message_object_id=tree.object_id
            )
            await self._wire.call(
                "confirm-message-received", confirmed, ConfirmMessageReceivedResponse
            )
        if room < 0:
            most = self._most_bytes / 2**20
            raise ValueError(f"it is larger than the {most:.0f} MiB that the site takes")
        return await asyncio.to_thread(inflated, tree, found)

    async def _object(self, run_id: int, object_id: str) -> bytes:
        """Fetch one object, which may still be on its way to the hub.

        Raises:
            ValueError: If it is not there.
        """
        request = PullObjectRequest(node=self._node, run_id=run_id, object_id=object_id)
        end_s, pause_s = tick_s() + _OBJECT_WAIT_S, 0.05
        while True:
            answer = await self._wire.call("pull-object", request, PullObjectResponse)
            if answer.object_available:
                return answer.object_content
            if not answer.object_found or tick_s() > end_s:
                raise ValueError(f"the hub has no object {object_id}")
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, 1.0)

    async def push(self, reply: Message, *, duration_s: float) -> None:
        """Send a reply, whole or not at all.

        Args:
            reply: The reply.
            duration_s: Seconds that the client took, for Flower's accounts.

        Raises:
            NodeLimitError: If it is larger than the site lets out.
            RunOverError: If nobody waits for it any more.
        """
        parts = await asyncio.to_thread(deflated, reply)
        size = parts.size_bytes
        if size > self._most_bytes:
            raise NodeLimitError(
                told_too_large(size, self._most_bytes // 2**20), fix=REPLY_LESS
            )
        request = PushMessagesRequest(
            node=self._node,
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[parts.tree],
            clientapp_runtime_list=[duration_s],
        )
        if self.is_ours and size <= MOST_INLINE_BYTES:
            body = framed([request.SerializeToString(), *parts.contents.values()])
            await self._wire.post(PUSH_PATH, body)
        else:
            await self._push_stock(request, parts.contents)

    async def _push_stock(
        self, request: PushMessagesRequest, contents: Mapping[str, bytes]
    ) -> None:
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


def told_too_large(size_bytes: int, most_mb: int) -> str:
    """Say that a reply is larger than its site lets out."""
    size_mb = size_bytes / 2**20
    return f"The client's reply has {size_mb:.0f} MiB; its site lets {most_mb} MiB out."
