"""How a message and all its objects stand in one request; see ``fleet_exchange``."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

PULL_PATH = "/v1/fleet/flip-pull"
PUSH_PATH = "/v1/fleet/flip-push"
GOT_HEADER = "x-flip-got"
"""Ids of messages that a node has in hand: they need not be given again."""
NEXT_HEADER = "x-flip-next"
"""Of the answer to a push that asked to wait: its body is that of the next pull."""
MOST_INLINE_BYTES = 4 * 2**20
"""Larger messages go in Flower's way, object by object, so that nobody holds all of one."""
LITTLE_BYTES = 2**18
"""A message of that size is put together sooner than a thread has its turn."""

_LENGTH = Struct(">Q")


class ExchangeError(ValueError):
    """A request that no node of ours would send."""


def framed(parts: Iterable[bytes]) -> bytes:
    """Join parts, each behind its length."""
    return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))


def unframed(body: bytes) -> list[bytes]:
    """Take joined parts apart.

    Raises:
        ExchangeError: If they were not joined by ``framed``.
    """
    parts: list[bytes] = []
    start = 0
    while start < len(body):
        if start + _LENGTH.size > len(body):
            raise ExchangeError("The request ends in the middle of a length.")
        [length] = _LENGTH.unpack_from(body, start)
        start += _LENGTH.size
        if start + length > len(body):
            raise ExchangeError("The request ends in the middle of a part.")
        parts.append(body[start : start + length])
        start += length
    return parts


def object_ids(tree: ObjectTree) -> list[str]:
    """List the objects of a message, each once, children before parents."""
    return [*dict.fromkeys(each.object_id for each in iterate_object_tree(tree))]
