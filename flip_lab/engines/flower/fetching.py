"""Fetching replies: announced first, then whole, object by object.

A node announces its reply and then pushes its objects. Flower waits for each in turn, a
second or more at a time; here nobody waits for one slow node while others are ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower.incoming import FORGED, unpack
from flip_lab.engines.flower.objects import ObjectCalls

NODE_AWAY = int(ErrorCode.NODE_UNAVAILABLE)
"""Code of the error that a SuperLink gives for a node that fell silent."""
REPLY_GONE = frozenset(
    {int(ErrorCode.MESSAGE_UNAVAILABLE), int(ErrorCode.REPLY_MESSAGE_UNAVAILABLE)}
)
"""Codes of the errors for messages and replies that it does not have any more."""
_MOST_KEPT_BYTES = 2**20  # of replies that are here and that the hub keeps even so


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What came in answer to a message.

    Attributes:
        message_id: The message.
        reply: The reply; ``None`` if it was lost on its way, or refused.
        refusal: Why it was refused, if it was.
    """

    message_id: str
    reply: Message | None = None
    refusal: ReplyRefusedError | None = None

    @property
    def is_node_away(self) -> bool:
        """Whether the SuperLink answers for a node that it misses."""
        reply = self.reply
        return reply is not None and reply.has_error() and reply.error.code == NODE_AWAY


@dataclass(kw_only=True)
class _Underway:
    """A reply of which not all objects are here yet."""

    proto: MessageProto
    missing: list[str]
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    size: int = 0
    is_lost: bool = False
    is_slow: bool = False

    def next(self) -> list[str]:
        """Name the objects to ask for; one, while the node has not pushed them."""
        return self.missing[:1] if self.is_slow else list(self.missing)

    def take(self, object_id: str, answer: PullObjectResponse) -> None:
        """Note what the SuperLink said of one object."""
        self.is_lost |= not answer.object_found
        self.is_slow = answer.object_found and not answer.object_available
        if answer.object_available:
            self.contents[object_id] = answer.object_content
            self.size += len(answer.object_content)
            self.missing.remove(object_id)

    def is_done(self, limit: int) -> bool:
        """Whether there is nothing more to fetch."""
        return self.is_lost or not self.missing or self.size > limit


class Fetcher:
    """Fetches the replies of one run; one thread at a time.

    Args:
        objects: Pulls what replies are made of.
    """

    def __init__(self, objects: ObjectCalls) -> None:
        """Begin with none under way."""
        self._objects = objects
        self._underway: dict[str, _Underway] = {}
        self._whole: dict[str, Arrival] = {}
        self._received: list[str] = []  # which the hub keeps until it hears of it
        self._received_bytes = 0

    @property
    def is_underway(self) -> bool:
        """Whether a reply was announced that is not whole yet."""
        return bool(self._underway or self._whole)

    def has(self, message_id: str) -> bool:
        """Whether the reply to this message was announced: it is announced only once."""
        return message_id in self._underway or message_id in self._whole

    def announce(self, answer: PullAppMessagesResponse) -> None:
        """Take note of replies that have come."""
        trees: list[ObjectTree] = list(answer.message_object_trees)
        for proto, tree in zip(answer.messages_list, trees, strict=True):
            ids = dict.fromkeys(each.object_id for each in iterate_object_tree(tree))
            # An error stands in the message itself.
            missing = [] if proto.HasField("error") else list(ids)
            key = proto.metadata.reply_to_message_id
            self._underway[key] = _Underway(proto=proto, missing=missing)

    def collect(self, limits: Mapping[str, int]) -> list[Arrival]:
        """Fetch what is there by now, and give the replies that are complete.

        Args:
            limits: The largest reply to take, bytes, by the id of the message.
        """
        self._complete(limits)
        while wanted := [
            (each, object_id)
            for key, each in self._underway.items()
            if not each.is_done(limits.get(key, 0))
            for object_id in each.next()
        ]:
            answers = self._objects.pull([object_id for _, object_id in wanted])
            for (each, object_id), answer in zip(wanted, answers, strict=False):
                each.take(object_id, answer)
            # Put together as they come: the bytes of one large reply are enough at a time.
            self._complete(limits)
            if not any(answer.object_available for answer in answers):
                break
        arrivals, self._whole = list(self._whole.values()), {}
        if len(arrivals) == len(limits) or self._received_bytes > _MOST_KEPT_BYTES:
            self._confirm()
        return arrivals

    def _confirm(self) -> None:
        """Say which replies are here; of small ones many at once."""
        if self._received:
            self._objects.confirm(self._received)
        self._received, self._received_bytes = [], 0

    def _complete(self, limits: Mapping[str, int]) -> None:
        """Put aside what is whole: if the next request fails, it is not lost."""
        for key, each in list(self._underway.items()):
            limit = limits.get(key, 0)
            if each.is_done(limit):
                self._whole[key] = self._arrival(key, each, limit)
                del self._underway[key]

    def _arrival(self, message_id: str, each: _Underway, limit: int) -> Arrival:
        self._received.append(each.proto.metadata.message_id)
        self._received_bytes += each.size
        if each.is_lost:
            return Arrival(message_id=message_id)
        try:
            return Arrival(message_id=message_id, reply=_read(each, limit))
        except ReplyRefusedError as error:
            return Arrival(message_id=message_id, refusal=error)


def _read(each: _Underway, limit: int) -> Message:
    """Put a reply together.

    Raises:
        ReplyRefusedError: If it is too large, or not what it says it is.
    """
    if each.proto.HasField("error"):
        return message_from_proto(each.proto)
    if each.size > limit:
        raise ReplyRefusedError(f"it has more than {limit:,} bytes", fix=FORGED)
    message_id = each.proto.metadata.message_id
    reply = unpack(message_id, each.contents, limit_bytes=limit)
    # What the SuperLink has checked counts, not what the reply says of itself.
    vars(reply)["_metadata"] = message_from_proto(each.proto).metadata
    return reply
