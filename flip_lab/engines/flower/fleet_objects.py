"""Messages as the objects that travel, and back; for nodes of ours."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    no_object_id_recompute,
)

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower.incoming import unpack
from flip_lab.engines.flower.messages import stamp


@dataclass(frozen=True, kw_only=True)
class Deflated:
    """A message as the objects that travel.

    Attributes:
        tree: Which object belongs to which.
        contents: The objects by their ids, each once.
    """

    tree: ObjectTree
    contents: Mapping[str, bytes]

    @property
    def size_bytes(self) -> int:
        """How much there is to send."""
        return sum(map(len, self.contents.values()))


def deflated(message: Message) -> Deflated:
    """Give a message as objects, and the message its id."""
    with no_object_id_recompute():
        stamp(message, message.object_id)
        tree = get_object_tree(message)
        objects = get_all_nested_objects(message)
        contents = {object_id: each.deflate() for object_id, each in objects.items()}
    return Deflated(tree=tree, contents=contents)


def inflated(tree: ObjectTree, contents: dict[str, bytes]) -> Message:
    """Build a message of its objects, its arrays without a copy.

    This process must have called ``install_fast_arrays``.

    Args:
        tree: Which object belongs to which.
        contents: The objects by their ids.

    Raises:
        ValueError: If an object is not what its id says, or they make no message.
    """
    for object_id, content in contents.items():
        if get_object_id(content) != object_id:
            raise ValueError(f"object {object_id} is damaged")
    try:
        message = unpack(tree.object_id, contents, limit_bytes=sys.maxsize)
    except ReplyRefusedError as error:
        raise ValueError(f"its objects make no message: {error.what}") from error
    stamp(message, tree.object_id)
    return message


def bare_message(answer: PullMessagesResponse) -> Message:
    """Give the message of an answer without its content: enough to answer it."""
    return message_from_proto(answer.messages_list[0])
