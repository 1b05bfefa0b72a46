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
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse

from flip_lab.core.errors import NodeLimitError
from flip_lab.engines.flower.fleet_frames import (
    LITTLE_BYTES,
    MOST_INLINE_BYTES,
    framed,
)
from flip_lab.engines.flower.fleet_objects import deflated
from flip_lab.engines.flower.fleet_pieces import Pieces
from flip_lab.engines.flower.fleet_questions import Pulled, Questions
from flip_lab.engines.flower.fleet_wire import FleetWire, RunOverError, read_node_key
from flip_lab.engines.flower.messages import payload_bytes

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

    Args:
        http: The client to call with; nodes of one process share one.
        address: ``host:port``.
        key: The node's private key.
        most_bytes: Size of the largest message to fetch.
        got: What ``got`` of the connection before this one says: a hub gives a message
            again until it hears that it came.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        address: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        most_bytes: int,
        got: str = "",
    ) -> None:
        """Nothing is sent yet."""
        self._wire = FleetWire(http, address, key)
        self._most_bytes = most_bytes
        self._node = Node()
        self._pieces = Pieces(self._wire, self._node)
        self._questions = Questions(
            self._wire, self._node, self._pieces, most_bytes=most_bytes, got=got
        )

    @property
    def is_ours(self) -> bool:
        """Whether a hub of ours answers; true until a stock SuperLink does."""
        return self._questions.is_ours

    @property
    def got(self) -> str:
        """Id of the newest message that came; empty before the first."""
        return self._questions.got

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
        self._node.node_id = answer.node_id
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
        return await self._questions.pull(wait_s=wait_s)

    async def push(self, reply: Message, *, duration_s: float, wait_s: float = 0.0) -> None:
        """Send a reply, whole or not at all.

        Args:
            reply: The reply.
            duration_s: Seconds that the client took, for Flower's accounts.
            wait_s: How long a hub of ours may hold the next message's question, which
                goes along with the reply if nobody asks it already; 0 asks nothing.

        Raises:
            NodeLimitError: If it is larger than the site lets out.
            RunOverError: If nobody waits for it any more.
        """
        is_little = payload_bytes(reply) <= LITTLE_BYTES
        parts = deflated(reply) if is_little else await asyncio.to_thread(deflated, reply)
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
            await self._questions.push(body, wait_s=wait_s)
        else:
            await self._pieces.push(request, parts.contents)

    async def ask_no_more(self) -> None:
        """Let go of the question that a push asked, and let none ask another."""
        await self._questions.end()


def told_too_large(size_bytes: int, most_mb: int) -> str:
    """Say that a reply is larger than its site lets out."""
    size_mb = size_bytes / 2**20
    return f"The client's reply has {size_mb:.0f} MiB; its site lets {most_mb} MiB out."
