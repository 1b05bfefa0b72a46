"""A message with all that belongs to it in one request, between a node of ours and a hub.

Flower fetches and sends each array, each record and each message by a request of its own:
some twenty for a small model, each signed and checked. Here one request brings a message
with its objects, and one takes a reply with its own. Both sides keep Flower's objects as
they are, so everything behind is Flower's: state, object store, traffic counts.

A message is given again until the node says that it has it: a connection that breaks in
the wrong moment loses nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError

from flip_lab.engines.flower.fleet_frames import (
    GOT_HEADER,
    MOST_INLINE_BYTES,
    NEXT_HEADER,
    PULL_PATH,
    PUSH_PATH,
    ExchangeError,
    framed,
    object_ids,
    unframed,
)
from flip_lab.engines.flower.superlink_state import HubLinkState

__all__ = [
    "GOT_HEADER",
    "NEXT_HEADER",
    "PULL_PATH",
    "PUSH_PATH",
    "ExchangeError",
    "FleetDesk",
]

_Request = TypeVar("_Request", PullMessagesRequest, PushMessagesRequest)


@dataclass(frozen=True, kw_only=True)
class _Given:
    """A message that a node was given and has not acknowledged.

    Attributes:
        response: What Flower's handler answered.
        run_id: The run it belongs to.
        message_id: Its id.
    """

    response: PullMessagesResponse
    run_id: int
    message_id: str


class FleetDesk:
    """The hub's side; safe to call from several threads.

    Args:
        state: The state of the SuperLink in this process.
    """

    def __init__(self, state: HubLinkState) -> None:
        """Nothing is given out yet."""
        self._state = state
        self._given: dict[int, _Given] = {}
        self._lock = Lock()

    @staticmethod
    def see_that_it_asks(node_id: int, body: bytes) -> None:
        """Read what a node asks with.

        Args:
            node_id: The node that signed the request.
            body: A ``PullMessagesRequest``.

        Raises:
            ExchangeError: If the request is malformed, or names another node.
        """
        _check_node(_parsed(PullMessagesRequest, body).node.node_id, node_id)

    def next_call(self, node_id: int, *, got: str = "") -> bytes:
        """Give a node its next message, with its objects where they are small.

        Args:
            node_id: The node.
            got: Ids of messages that the node has in hand, separated by commas.

        Returns:
            Frames: the ``PullMessagesResponse``, then each object, in the order of
            ``object_ids``. A message alone: its objects must be fetched one by one. No
            frame at all: a message is there and its objects are not; ask again soon.
        """
        with self._lock:
            given = self._given.get(node_id)
            if given is not None and given.message_id in got.split(","):
                self._settle(node_id, given)
                given = None
        while True:
            if given is None:
                given = self._next(node_id)
            if given is None:
                return framed([PullMessagesResponse().SerializeToString()])
            with suppress(FlowerError):  # its run is over
                content = self._with_objects(node_id, given)
                if content is not None:
                    return content
                self._state.give_up(given.message_id)
            with self._lock:
                self._given.pop(node_id, None)
            given = None

    def owes(self, node_id: int, got: str) -> bool:
        """Say whether a node was given a message that it does not have in hand.

        Args:
            node_id: The node.
            got: As of ``next_call``.
        """
        given = self._given.get(node_id)
        return given is not None and given.message_id not in got.split(",")

    def forget(self, node_id: int) -> None:
        """Drop what a node was given: another process of it asks from now on."""
        with self._lock:
            self._given.pop(node_id, None)

    def _settle(self, node_id: int, given: _Given) -> None:
        del self._given[node_id]
        with suppress(FlowerError):  # the run is over, and its objects with it
            fleet_handlers.confirm_message_received(
                ConfirmMessageReceivedRequest(
                    run_id=given.run_id, message_object_id=given.message_id
                ),
                self._state,
                self._state.object_store,
            )

    def _next(self, node_id: int) -> _Given | None:
        request = PullMessagesRequest(node=Node(node_id=node_id))
        response = fleet_handlers.pull_messages(
            request, self._state, self._state.object_store
        )
        if not response.messages_list:
            return None
        metadata = response.messages_list[0].metadata
        given = _Given(
            response=response, run_id=metadata.run_id, message_id=metadata.message_id
        )
        with self._lock:
            self._given[node_id] = given
        return given

    def _with_objects(self, node_id: int, given: _Given) -> bytes | None:
        """Give a message as of ``next_call``; ``None`` if its objects are here no more."""
        head = given.response.SerializeToString()
        contents: list[bytes] = []
        room = MOST_INLINE_BYTES
        for object_id in object_ids(given.response.message_object_trees[0]):
            request = PullObjectRequest(run_id=given.run_id, object_id=object_id)
            request.node.node_id = node_id
            found = fleet_handlers.pull_object(request, self._state)
            if not found.object_found:  # the node confirmed it, and asks as if it had not
                return None
            if not found.object_available:
                return b""
            room -= len(found.object_content)
            if room < 0:
                return framed([head])
            contents.append(found.object_content)
        return framed([head, *contents])

    def push(self, node_id: int, body: bytes) -> bytes:
        """Take a node's reply with all its objects.

        Args:
            node_id: The node that signed the request.
            body: Frames: a ``PushMessagesRequest``, then the objects, in any order.

        Returns:
            The ``PushMessagesResponse``.

        Raises:
            ExchangeError: If the request is malformed, or speaks for another node.
            FlowerError: If the run is over, or not known since the hub was started again.
        """
        frames = unframed(body)
        if not frames:
            raise ExchangeError("The request is empty.")
        head, *contents = frames
        request = _parsed(PushMessagesRequest, head)
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise ExchangeError("A request takes one reply.")
        metadata = request.messages_list[0].metadata
        _check_node(request.node.node_id, node_id)
        _check_node(metadata.src_node_id, node_id)
        if not self._state.get_run_status({metadata.run_id}):
            raise FlowerError(
                ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED,
                f"Run {metadata.run_id} is not known here.",
            )
        response = fleet_handlers.push_messages(request, self._state)
        wanted = set(response.objects_to_push)
        for content in contents:
            object_id = get_object_id(content)
            if object_id in wanted:
                fleet_handlers.push_object(
                    PushObjectRequest(
                        node=request.node,
                        run_id=metadata.run_id,
                        object_id=object_id,
                        object_content=content,
                        session_id=response.session_id,
                    ),
                    self._state,
                )
        return response.SerializeToString()


def _parsed(kind: type[_Request], body: bytes) -> _Request:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise ExchangeError(f"That is no {kind.__name__}.") from error


def _check_node(said: int, signed: int) -> None:
    if said != signed:
        raise ExchangeError(f"Node {signed} speaks for node {said}.")
