"""A client's state as bytes of Flower's own wire format: nothing in it can run code."""

from __future__ import annotations

import hashlib

from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from google.protobuf.message import DecodeError

_MAGIC = b"flip-lab state 1\n"
_DIGEST_BYTES = 32


def state_to_bytes(state: RecordDict) -> bytes:
    """Write records, with a checksum before them."""
    content = recorddict_to_proto(state).SerializeToString(deterministic=True)
    return _MAGIC + hashlib.sha256(content).digest() + content


def state_from_bytes(written: bytes) -> RecordDict:
    """Read records again.

    Raises:
        ValueError: If they were not written by ``state_to_bytes``, or are damaged.
    """
    start = len(_MAGIC) + _DIGEST_BYTES
    content = written[start:]
    if not written.startswith(_MAGIC):
        raise ValueError("it is no state of a client")
    if hashlib.sha256(content).digest() != written[len(_MAGIC) : start]:
        raise ValueError("it is damaged")
    try:
        return recorddict_from_proto(ProtoRecordDict.FromString(content))
    except (DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no state of a client ({error!r})") from error
