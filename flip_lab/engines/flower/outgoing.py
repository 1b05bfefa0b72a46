"""Messages on their way to nodes: each object is written, hashed and pushed once.

All messages of a round share one content. Flower writes and walks it anew for each of them
and holds all its bytes at once; here a model of 100 MB for 100 nodes is written once, and
its chunks are made as they are pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.engines.flower.messages import copy_content, snapshot, stamp


@dataclass(frozen=True, kw_only=True)
class Parcels:
    """Messages as a SuperLink takes them.

    Attributes:
        messages: Without their contents, in the order given.
        trees: Which objects each consists of.
        objects: All objects by id; children before those that hold them.
    """

    messages: list[MessageProto] = field(default_factory=list[MessageProto])
    trees: list[ObjectTree] = field(default_factory=list[ObjectTree])
    objects: dict[str, InflatableObject] = field(
        default_factory=dict[str, InflatableObject]
    )

    @property
    def ids(self) -> list[str]:
        """The ids that the messages were stamped with."""
        return [tree.object_id for tree in self.trees]

    def contents(
        self, wanted: Iterable[str], check: Callable[[], None]
    ) -> Iterator[tuple[str, bytes]]:
        """Write objects, one by one.

        Args:
            wanted: Their ids.
            check: Called before each; may raise to leave.
        """
        missing = set(wanted)
        for object_id, each in self.objects.items():
            if object_id in missing:
                check()
                yield object_id, each.deflate()


def pack(messages: Sequence[Message]) -> Parcels:
    """Stamp messages with their ids and pack them; contents that they share once.

    Args:
        messages: What to send; nobody may change their contents until it is pushed.
    """
    parcels = Parcels()
    contents: dict[int, ObjectTree] = {}
    with no_object_id_recompute():
        for message in messages:
            content = message.content
            if id(content) not in contents:
                parcels.objects.update(get_all_nested_objects(content))
                contents[id(content)] = get_object_tree(content)
            message_id = message.object_id
            stamp(message, message_id)
            parcels.objects[message_id] = message
            tree = ObjectTree(object_id=message_id, children=[contents[id(content)]])
            parcels.trees.append(tree)
            parcels.messages.append(message_to_proto(remove_content_from_message(message)))
    return parcels


def readdressed(messages: Iterable[tuple[Message, int]]) -> list[Message]:
    """Give messages as the run under way sends them, with contents of their own.

    The bytes that are written for them go when they do; contents that messages share stay
    shared, and arrays are not copied.

    Args:
        messages: Each with Flower's id of the node that it goes to now. They are of this
            run, or of one that this run took the place of.
    """
    contents: dict[int, RecordDict] = {}
    twins: list[Message] = []
    for message, node_id in messages:
        key = id(message.content)
        if key not in contents:
            contents[key] = copy_content(message.content)
        twin = snapshot(message, contents[key])
        vars(twin.metadata).update(
            _run_id=TaskIdentity.run_id,
            _src_node_id=TaskIdentity.node_id,
            _src_task_id=TaskIdentity.task_id,
            _dst_node_id=node_id,
            _created_at=now().timestamp(),
            _message_id="",
        )
        twins.append(twin)
    return twins


def readdressed_reply(reply: Message, message_id: str, node_id: int) -> Message:
    """Let a reply say which message it answers and who sent it, as the strategy knows both.

    A SuperLink answers for a lost node in its own name.
    """
    metadata = vars(reply.metadata)
    metadata["_reply_to_message_id"] = message_id
    metadata["_src_node_id"] = node_id
    return reply
